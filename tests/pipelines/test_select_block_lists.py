"""Block lists that are given after a pool was fetched: pairs on them are dropped first, for that alone, and decisions say nothing of them."""

import hashlib
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.explain import find, lines_of
from pipelines.steps.select_pairs import SelectPairs
from quality.block_lists import ENVIRONMENT, LISTED, BlockLists
from quality.gates import unit_metrics
from quality.rules import Rules
from quality.selection import plan_selection
from schemas.policy import Policy, parse_policy
from schemas.pool import Pool
from schemas.release import Release
from tests.block_lists import lists_of
from tests.pools import make_pool, unit

POLICY = """
name = "test"
[[rule]]
column = "clip.similarity"
top_fraction = 0.5
of = "pool"
reason = "clip:not_in_top"
[[rule]]
column = "caption.words"
min = 1
reason = "caption:too_short"
[[rule]]
column = "url"
not_in = ["http://nowhere.test/"]
reason = "clip:low_similarity"
"""
BLANK = {"status": "blocked", "error_message": LISTED, **dict.fromkeys(["uid", "url", "caption", "license_url", "source_line"])}
SHA256 = hashlib.sha256(b"bytes").hexdigest()


def policy_of(text: str = POLICY) -> Policy:
    return parse_policy(text, where="test.toml")


def select(pool: Pool, lists: BlockLists, *, name: str = "r", text: str = POLICY, in_memory_rows: int = 1000) -> Release:
    release, units, policy = Release(pool.store, name), sorted(pool.committed()), policy_of(text)
    plan = plan_selection(pool, units, policy)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        how = {"rows": 100, "lists": lists.digest, "in_memory_rows": in_memory_rows}
        _ = pipeline | beam.Create(units) | SelectPairs(pool, release, Rules(policy), plan, **how)
    return release


@pytest.fixture
def pool(tmp_path) -> Pool:
    """Best similarities first; row 1 of each unit has the bytes of the row before it."""
    same = {"sha256": SHA256, "image.pdq": bytes(32)}
    return make_pool(
        tmp_path / "data",
        [
            [
                {"clip.similarity": 0.9, **same},
                {"clip.similarity": 0.8, "sha256": SHA256},
                {"clip.similarity": 0.4},
                {"clip.similarity": 0.1},
            ],
            [{"clip.similarity": 0.7, "final_url": "http://cdn.bad.test/x"}, {"clip.similarity": 0.3}, BLANK],
        ],
    )


def decided(release: Release) -> list[dict]:
    return [row for number in range(2) for row in release.read_decisions(unit(number)).to_pylist()]


def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **lists: list[str]) -> BlockLists:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "lists"))
    return lists_of(tmp_path / "lists", **lists)


def test_listed_pairs_are_dropped_for_that_alone_and_blank(pool, tmp_path, monkeypatch):
    lists = listed(tmp_path, monkeypatch, domains=["bad.test"], pdq=[(b"\x03" + bytes(31)).hex()])
    rows = decided(select(pool, lists))
    for place, row in ((0, 0), (4, 0), (6, 2)):
        found = {name: value for name, value in rows[place].items() if value is not None}
        assert found == {"row": row, "verdict": "drop", "reasons": ["list:blocked"], "error": "list"}
    assert "url" in rows[0] and rows[1]["url"] == "http://host.test/0/1.png"
    assert [row["verdict"] for row in rows] == ["drop", "keep", "keep", "drop", "drop", "drop", "drop"]


def test_a_listed_pair_beats_no_duplicate_and_counts_in_no_fraction(pool, tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    before = decided(select(pool, BlockLists({}), name="before"))
    assert [row["verdict"] for row in before] == ["keep", "drop", "drop", "drop", "keep", "drop", "drop"]
    assert before[1]["reasons"] == ["duplicate:exact"] and before[6]["reasons"] == ["list:blocked"]
    after = decided(select(pool, listed(tmp_path, monkeypatch, urls=["host.test/0/0.png", "cdn.bad.test/x"]), name="after"))
    assert [row["verdict"] for row in after] == ["drop", "keep", "keep", "drop", "drop", "drop", "drop"]
    assert after[1]["duplicate_of"] is None and after[1]["reasons"] == []


@pytest.mark.parametrize("in_memory_rows", [0, 1000])
def test_a_listed_pair_beats_no_near_one_and_its_caption_does_not_count(tmp_path, monkeypatch, in_memory_rows):
    text = """
    name = "test"
    [duplicates]
    near = true
    [[rule]]
    column = "caption.repeats"
    max = 1
    reason = "caption:common"
    """
    near, common = {"image.pdq": b"\x0f" * 32}, {"caption": "a photo"}
    pool = make_pool(tmp_path / "data", [[{**near, "clip.similarity": 0.9}, common], [near, common, {}]])
    lists = listed(tmp_path, monkeypatch, urls=["host.test/0/0.png", "host.test/0/1.png"])
    rows = decided(select(pool, lists, text=text, in_memory_rows=in_memory_rows))
    assert [row["reasons"] for row in rows] == [["list:blocked"], ["list:blocked"], [], [], []]
    assert [row["caption.repeats"] for row in rows] == [None, None, 1, 1, 1]
    monkeypatch.delenv(ENVIRONMENT)
    rows = decided(select(pool, BlockLists({}), name="without", text=text, in_memory_rows=in_memory_rows))
    assert [row["reasons"] for row in rows] == [[], ["caption:common"], ["duplicate:near"], ["caption:common"], []]


def test_by_the_digest_of_stored_bytes(pool, tmp_path, monkeypatch):
    rows = decided(select(pool, listed(tmp_path, monkeypatch, sha256=[SHA256], md5=["0" * 32])))
    assert [row["uid"] is None for row in rows] == [True, True, False, False, False, False, True]


def test_lists_without_a_hit_change_no_byte(pool, tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    select(pool, BlockLists({}), name="before")
    select(pool, listed(tmp_path, monkeypatch, domains=["nowhere.test"], pdq=["ff" * 16 + "00" * 16]), name="after")
    for number in range(2):
        before, after = (pool.store.read(f"releases/{name}/decisions/{unit(number)}.parquet") for name in ("before", "after"))
        assert before == after


def test_a_worker_without_the_launchers_lists_stops(pool, tmp_path, monkeypatch):
    lists = listed(tmp_path, monkeypatch, domains=["bad.test"])
    monkeypatch.delenv(ENVIRONMENT)
    with pytest.raises(Exception, match="not those that the job was started with"):
        select(pool, lists)
    assert not list(pool.store.list("releases"))


def test_explain_and_gates_know_pairs_without_a_uid(pool, tmp_path, monkeypatch):
    release = select(pool, listed(tmp_path, monkeypatch, domains=["bad.test"]))
    metrics = unit_metrics(pool, release)
    assert metrics["null_uids"].tolist() == [0, 0] and metrics["reason_errors"].tolist() == [0, 0]
    assert metrics["status.blocked"].tolist() == [0, 1]
    [found] = find(pool, release, uid=None, url="http://cdn.bad.test/x")
    assert lines_of(pool, release, found, policy_of()) == [
        f"unit {unit(1)}, row 0: the pair is on a block list, or was removed on request; nothing else is told of it"
    ]
    assert list(find(pool, release, uid=pool.read_raw(unit(0))["uid"][1].as_py(), url=None))


@pytest.mark.parametrize("lists", [{"domains": ["bad.test"]}, {"sha256": [SHA256]}, {"pdq": [(b"\x03" + bytes(31)).hex()]}])
def test_explain_tells_nothing_of_a_pair_that_was_listed_since(pool, tmp_path, monkeypatch, lists):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    release = select(pool, BlockLists({}))
    url = "http://cdn.bad.test/x" if "domains" in lists else pool.read_raw(unit(0))["url"][0].as_py()
    [found] = find(pool, release, uid=None, url=url)
    assert not found.listed
    listed(tmp_path, monkeypatch, **lists)
    [found] = find(pool, release, uid=None, url=url)
    assert lines_of(pool, release, found, policy_of())[0].endswith("a block list, or was removed on request; nothing else is told of it")
