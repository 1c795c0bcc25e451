"""Gates over a real release: all hold on a whole one, and each planted fault is named by the rule that is there for it."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from quality.gates import run_gates
from quality.gates.indexes import SHARD_COLUMNS, read_indexes
from quality.gates.metrics import UNIT_COLUMNS, shard_metrics, unit_metrics
from quality.gates.run import check
from quality.gates.suites import SUITES
from quality.gates.tables import Table
from schemas.columns import RAW_ALWAYS
from schemas.pool import Pool
from schemas.release import Release
from tests.damage import put, rewrite_decisions, rewrite_index
from tests.pools import unit
from tests.releases import SHARDS, make_release


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Pool, Release]:
    return make_release(tmp_path)


def failed(pool: Pool, release: Release) -> set[str]:
    results = run_gates(pool, release)
    assert results.passed == all(outcome.severity == "warning" for outcome in results.failed)
    return {outcome.rule for outcome in results.failed}


def test_all_rules_hold_on_a_whole_release(whole):
    results = run_gates(*whole)
    assert results.passed and not results.failed
    held = [outcome for outcome in results.outcomes if outcome.passed]
    assert len(held) > 40 and all(outcome.message == "holds" and outcome.observed == 0 for outcome in held)
    unmeasured = [outcome for outcome in results.outcomes if not outcome.passed]
    assert unmeasured and all(outcome.passed is None and outcome.message.startswith("not measured: ") for outcome in unmeasured)
    assert f"{len(held)} of {len(results.outcomes)} rules hold" in results.text()
    assert "rules not measured: the release has no parent" in results.text()


def test_metrics_are_what_the_files_hold(whole):
    units = unit_metrics(*whole)
    assert tuple(units.columns) == UNIT_COLUMNS and list(units["unit"]) == [unit(chunk) for chunk in range(3)]
    for _, row in units.iterrows():
        assert (row["rows_source"], row["rows_committed"], row["rows_decided"], row["accounted"]) == (12, 12, 12, 12)
        assert (row["keep"], row["review"], row["drop"], row["status.success"], row["status.failed_to_download"]) == (6, 1, 5, 8, 4)
        assert row["state"] == "decided"
    shards = shard_metrics(*whole)
    assert tuple(shards.columns) == SHARD_COLUMNS and list(shards["shard"]) == list(range(SHARDS)) and shards["count"].sum() == 18
    for _, row in shards.iterrows():
        tar = Path(whole[1].store.path_of(whole[1].shard_path(row["shard"], "tar")))
        assert row["tar_bytes"] == row["bytes"] == tar.stat().st_size and row["tar_sha256"] == row["sha256"]
        with tarfile.open(tar) as archive:
            assert len(archive.getmembers()) == 3 * row["count"]


# ---- planted faults


def flip(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def tar_of(release: Release, shard: int = 0) -> str:
    return release.store.path_of(release.shard_path(shard, "tar"))


def test_bit_flip_in_an_image(whole):
    _, release = whole
    first = release.read_index(0).to_pylist()[0]
    flip(tar_of(release), first["offset"] + first["size"] // 2)
    assert {"tars have their sha256", "images have their sha256"} <= failed(*whole)


def test_bit_flip_in_a_caption(whole):
    _, release = whole
    with tarfile.open(tar_of(release)) as tar:
        member = next(member for member in tar.getmembers() if member.name.endswith(".txt"))
    flip(tar_of(release), member.offset_data)
    assert failed(*whole) == {"tars have their sha256", "captions equal the index"}


def test_image_that_does_not_decode(whole):
    """The tar was written so: digests agree, pixels do not."""
    _, release = whole
    first = release.read_index(0).to_pylist()[0]
    with open(tar_of(release), "r+b") as file:
        file.seek(first["offset"])
        file.write(b"no image".ljust(first["size"], b"."))
    data = Path(tar_of(release)).read_bytes()
    image = data[first["offset"] : first["offset"] + first["size"]]
    rewrite_index(release, lambda table: put(table, "sha256", 0, sha256(image)), sha256=sha256(data))
    assert failed(*whole) == {"images decode", "images have their sides"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_tar_cut_short(whole):
    _, release = whole
    os.truncate(tar_of(release), 3000)
    assert {"tars have their size", "tars have their sha256", "offsets lie in the tar", "images decode"} <= failed(*whole)


def test_tar_gone(whole):
    _, release = whole
    os.unlink(tar_of(release, 1))
    assert {"tars have their size", "tars have their sha256", "images decode"} <= failed(*whole)


@pytest.mark.parametrize("shard", [0, SHARDS - 1])
def test_shard_gone(whole, shard):
    _, release = whole
    for suffix in ("tar", "parquet"):
        os.unlink(release.store.path_of(release.shard_path(shard, suffix)))
    assert {"shards are there", "shards add up to keep", "kept pairs are in shards"} <= failed(*whole)


def test_one_shard_too_many(whole):
    pool, release = whole
    release.put_run({**release.run(), "shards": SHARDS - 1})
    assert failed(pool, release) == {"shards are there"}


def test_wrong_offset(whole):
    _, release = whole
    rewrite_index(release, lambda table: put(table, "offset", 0, table["offset"][0].as_py() + 512))
    assert "images decode" in failed(*whole)


def test_offset_outside(whole):
    _, release = whole
    rewrite_index(release, lambda table: put(table, "offset", 0, 10**9))
    assert {"offsets lie in the tar", "images decode"} <= failed(*whole)


def test_wrong_sides_and_another_caption_in_the_index(whole):
    _, release = whole
    rewrite_index(release, lambda table: put(put(table, "width", 0, 1), "caption", 1, "another"))
    assert failed(*whole) == {"images have their sides", "captions equal the index"}


def test_wrong_count_in_an_index(whole):
    _, release = whole
    rewrite_index(release, lambda table: table, count=99)
    assert failed(*whole) == {"indexes have their count", "shards add up to keep"}


def test_index_changed_after_its_digest(whole):
    _, release = whole
    digest = release.shards()[0].content_digest
    rewrite_index(release, lambda table: put(table, "creator", 0, "somebody else"), content_digest=digest)
    assert failed(*whole) == {"indexes have their digest"}


def test_null_and_malformed_uids_in_an_index(whole):
    _, release = whole
    rewrite_index(release, lambda table: put(put(table, "uid", 0, None), "uid", 1, "XYZ"))
    assert {"uids of samples are never null", "uids are hex digits", "kept pairs are in shards"} <= failed(*whole)


def test_uid_twice(whole):
    _, release = whole
    rewrite_index(release, lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    assert {"uids are unique in a shard", "uids are unique over all shards", "shards add up to keep"} <= failed(*whole)


def test_uid_in_two_shards(whole):
    _, release = whole
    other = release.read_index(1).slice(0, 1)
    rewrite_index(release, lambda table: pa.concat_tables([table, other]))
    rules = failed(*whole)
    assert "uids are unique over all shards" in rules and "uids are unique in a shard" not in rules


def test_sample_of_a_pair_that_is_not_kept(whole):
    _, release = whole
    rewrite_index(release, lambda table: put(table, "row", 0, 7))
    assert {"kept pairs are in shards", "samples are kept pairs"} <= failed(*whole)


def test_sample_of_an_unknown_unit(whole):
    _, release = whole
    rewrite_index(release, lambda table: put(table, "unit", 0, "ffffffffffffffff-00000"))
    assert {"samples come from units of the pool", "kept pairs are in shards"} <= failed(*whole)


def test_commits_that_are_older_than_a_column_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("schemas.pool.RAW", RAW_ALWAYS)
    monkeypatch.setattr("tests.releases.RAW", RAW_ALWAYS)
    pool, release = make_release(tmp_path)
    assert pool.raw_schema(unit(0)).names == RAW_ALWAYS.names
    assert not failed(pool, release)


def test_missing_column(whole):
    _, release = whole
    rewrite_index(release, lambda table: table.drop_columns("license_url"))
    rewrite_decisions(release, lambda table: table.drop_columns("duplicate_of"))
    assert {"indexes have our columns", "commits and decisions have our columns"} <= failed(*whole)


@pytest.mark.parametrize("column", ["uid", "verdict"])
def test_null_uid_or_verdict(whole, column):
    _, release = whole
    rewrite_decisions(release, lambda table: put(table, column, 6, None))
    rule = {"uid": "uids are never null", "verdict": "verdicts are never null"}[column]
    results = run_gates(*whole)
    outcome = next(outcome for outcome in results.failed if outcome.rule == rule)
    assert not results.passed and outcome.message == f"1 of 3 rows: unit {unit(1)}: null_{column}s 1"


def test_unknown_verdict(whole):
    _, release = whole
    rewrite_decisions(release, lambda table: put(table, "verdict", 6, "maybe"))
    assert {"verdicts are keep review or drop", "keep review and drop add up to decided rows"} <= failed(*whole)


@pytest.mark.parametrize(
    ("row", "reasons"), [(0, ["clip:low_similarity"]), (0, ["clip:low_similarity", "review:accepted"]), (7, []), (7, ["review:accepted"])]
)
def test_reasons_of_a_kept_and_none_of_a_dropped_pair(whole, row, reasons):
    _, release = whole
    rewrite_decisions(release, lambda table: put(table, "reasons", row, reasons))
    assert failed(*whole) == {"pairs have reasons unless kept"}


def test_a_kept_pair_may_say_that_people_decided_for_it(whole):
    _, release = whole
    rewrite_decisions(release, lambda table: put(table, "reasons", 0, ["review:accepted"]))
    assert failed(*whole) == set()


def test_lost_row(whole):
    _, release = whole
    rewrite_decisions(release, lambda table: table.slice(0, 11), footer={"rows": 11, "drop": 4})
    assert failed(*whole) == {"decided rows are committed rows", "keep review drop and deferred add up to rows in"}


def test_footer_that_says_something_else(whole):
    _, release = whole
    rewrite_decisions(release, lambda table: table, footer={"keep": 7, "drop": 4})
    assert failed(*whole) == {"footers of decisions say what their files hold"}


def test_decisions_that_cannot_be_read(whole):
    _, release = whole
    path = release.store.path_of(f"{release.path}/decisions/{unit(1)}.parquet")
    with open(path, "r+b") as file:
        file.seek(4)
        file.write(b"\xff" * 600)
    rules = failed(*whole)
    assert "commits and decisions can be read" in rules and "decided rows are committed rows" in rules


def test_source_with_another_number_of_rows(whole):
    pool, release = whole
    for path, _ in pool.store.list("pool/files"):
        told = json.loads(pool.store.read(path))
        pool.store.put(path, json.dumps({**told, "rows": 35}).encode())
    assert failed(pool, release) == {"committed rows are the sources rows", "keep review drop and deferred add up to rows in"}


def test_committed_unit_without_decisions(whole):
    pool, release = whole
    pool.store.delete(f"{release.path}/decisions/{unit(2)}.parquet")
    assert {"committed units are decided", "decided rows are committed rows", "shards add up to keep"} <= failed(pool, release)


def test_deferred_units_are_counted_and_told(tmp_path):
    pool, release = make_release(tmp_path, units=2, planned=3)
    assert list(unit_metrics(pool, release)["state"]) == ["decided", "decided", "deferred"]
    assert failed(pool, release) == {"few rows are deferred"}  # a warning


def test_nothing_kept_is_no_release(tmp_path):
    pool, release = make_release(tmp_path, units=0)
    results = run_gates(pool, release)
    assert not results.passed and [(outcome.rule, outcome.severity) for outcome in results.failed] == [("something is kept", "critical")]
    assert "critical: something is kept (volume): 1 of 1 rows: rows_source 0: keep 0" in results.text()


# ---- cost


def test_samples_are_chosen_by_uid_alone(whole):
    indexes = read_indexes(whole[1], samples=6)
    assert len(indexes.samples) == 2 * SHARDS
    for shard, of_shard in indexes.samples.groupby("shard"):
        uids = whole[1].read_index(int(shard))["uid"].to_pylist()
        assert list(of_shard["uid"]) == sorted(uids, key=lambda uid: uid[16:])[:2]


def test_twenty_thousand_units_are_cheap():
    zeros = {name: np.zeros(20_000, np.int64) for name in UNIT_COLUMNS}
    units = pd.DataFrame({**zeros, "unit": [f"{number:016x}-00000" for number in range(20_000)], "state": "decided"}, columns=UNIT_COLUMNS)
    suites = [suite for suite in SUITES if suite.table == "units"]
    results = check({"units": Table(units)}, suites)
    assert results.passed and len(results.outcomes) == sum(len(suite.rules) for suite in suites)
    results = check({"units": Table(units.assign(null_uids=1))}, suites)
    (outcome,) = results.failed
    assert outcome.observed == 20_000 and len(outcome.message) < 300


def test_gates_leave_no_files_and_need_no_network(tmp_path):
    """In a process with an empty home and sockets that raise."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir(), work.mkdir()
    script = f"""
import socket
def refuse(*args, **kwargs): raise AssertionError("network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from pathlib import Path
from tests.releases import make_release
from quality.gates import run_gates
results = run_gates(*make_release(Path({str(work)!r})))
assert results.passed
"""
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": os.getcwd(), "TMPDIR": str(tmp_path / "work")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=work)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    assert [path for path in home.rglob("*") if path.is_file()] == []
