"""The pool: commits, adoption of a rival's, foreign inputs, sweep."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from schemas.columns import RAW, REQUESTS, table_of
from schemas.pool import Pool
from schemas.units import Pass, PoolError, ScorerInfo, split_unit
from tests.pools import FILE, make_pool, unit


def raw(*captions: str) -> pa.Table:
    return table_of([{"row": row, "uid": f"{row:032x}", "status": "success", "caption": text} for row, text in enumerate(captions)], RAW)


def tar_of(path, data: bytes):
    path.write_bytes(data)
    return path


def test_a_commit_names_its_tar(tmp_path):
    pool = Pool(tmp_path / "d")
    commit = pool.commit(unit(0), raw("a", "b"), tar=tar_of(tmp_path / "t", b"images"), input_digest="i")
    assert pool.raw_commit(unit(0)) == commit and pool.committed() == {unit(0)}
    assert pool.read_raw(unit(0), ["caption"])["caption"].to_pylist() == ["a", "b"]
    assert commit.tar == f"pool/raw/{unit(0)}-{commit.tar_sha256[:8]}.tar" and commit.statuses == {"success": 2}
    assert pool.read_bytes(unit(0), [2, 0], [2, 1]) == [b"ag", b"i"]


def test_a_rivals_commit_is_adopted_and_ours_discarded(tmp_path):
    pool = Pool(tmp_path / "d")
    first = pool.commit(unit(0), raw("a"), tar=tar_of(tmp_path / "t", b"theirs"), input_digest="i")
    second = pool.commit(unit(0), raw("b"), tar=tar_of(tmp_path / "t", b"ours"), input_digest="i")
    assert second == first and pool.read_raw(unit(0), ["caption"])["caption"].to_pylist() == ["a"]
    assert [path for path, _ in pool.store.list("pool/raw") if path.endswith(".tar")] == [first.tar]


def test_adopting_an_equal_tar_does_not_delete_it(tmp_path):
    pool = Pool(tmp_path / "d")
    for _ in range(2):
        commit = pool.commit(unit(0), raw("a"), tar=tar_of(tmp_path / "t", b"same"), input_digest="i")
    assert pool.store.read(commit.tar) == b"same"


def test_a_commit_from_another_input_is_refused(tmp_path):
    pool = Pool(tmp_path / "d")
    pool.commit(unit(0), raw("a"), tar=None, input_digest="one")
    with pytest.raises(PoolError, match="another input"):
        pool.commit(unit(0), raw("a"), tar=None, input_digest="two")


def test_scores_belong_to_one_raw_commit(tmp_path):
    pool = Pool(tmp_path / "d")
    scores = pa.table({"clip.similarity": [0.1]})
    first = pool.commit_scores("p", unit(0), scores, input_digest="raw")
    assert pool.commit_scores("p", unit(0), scores, input_digest="raw") == first and pool.scored("p") == {unit(0)}
    with pytest.raises(PoolError, match="another commit"):
        pool.commit_scores("p", unit(0), scores, input_digest="other")


def test_sweep_takes_orphans_and_leaves_commits(tmp_path):
    pool = Pool(tmp_path / "d")
    commit = pool.commit(unit(0), raw("a"), tar=tar_of(tmp_path / "t", b"images"), input_digest="i")
    pool.store.put(f"pool/raw/{unit(1)}-00000000.tar", b"orphan")
    (tmp_path / "d/pool/raw/x.parquet#1").write_bytes(b"half")
    assert pool.sweep() == [f"pool/raw/{unit(1)}-00000000.tar", "pool/raw/x.parquet#1"]
    assert pool.store.exists(commit.tar) and pool.sweep() == []


def test_planned_units_and_their_rows(tmp_path):
    pool = make_pool(tmp_path, [[{}, {}, {}], [{}]])
    assert pool.planned_units() == {unit(0): 3, unit(1): 1}


def test_names_of_units():
    assert split_unit(unit(12)) == (FILE, 12)
    with pytest.raises(PoolError, match="no unit's name"):
        split_unit("../etc")


def test_a_pass_is_named_by_its_scorers_and_versions():
    one = Pass.of([ScorerInfo("clip", "m@1", ("clip.similarity",)), ScorerInfo("nsfw", "o@1", ())])
    other = Pass.of([ScorerInfo("clip", "m@2", ("clip.similarity",)), ScorerInfo("nsfw", "o@1", ())])
    assert one.name.startswith("clip+nsfw-") and one.name != other.name
    assert one.scorers[0].calibration == "clip:m"


def test_requests_stand_beside_the_commit_and_the_last_attempt_counts(tmp_path):
    pool = Pool(tmp_path / "d")
    assert pool.read_requests(unit(0)) is None
    began = datetime(2026, 11, 28, 12, tzinfo=UTC)
    for host in ("first.test", "second.test"):
        asked = {"row": 0, "host": host, "began": began, "seconds": 0.5, "requests": 2, "bytes": 1 << 40}
        pool.put_requests(unit(0), table_of([asked, {"row": 1, "requests": 0, "bytes": 0}], REQUESTS))
    commit = pool.commit(unit(0), raw("a", "b"), tar=None, input_digest="i")
    table = pool.read_requests(unit(0))
    assert table.schema.equals(REQUESTS) and pool.read_requests(unit(0), ["host"])["host"].to_pylist() == ["second.test", None]
    assert table.to_pylist()[0] == {**asked, "host": "second.test"} and table["began"].to_pylist() == [began, None]
    assert pool.raw_commit(unit(0)) == commit and pool.committed() == {unit(0)} and pool.sweep() == []
