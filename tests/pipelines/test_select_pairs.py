"""Select: rules, duplicates and top fractions over real Parquet, on the pinned runner."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.steps.select_pairs import SelectPairs
from quality.rules import Rules
from quality.selection import plan_selection
from schemas.policy import Policy, parse_policy
from schemas.pool import Pool
from schemas.release import Release
from tests.pools import make_pool, thumbnail, unit

POLICY = """
name = "test"
[[rule]]
column = "clip.similarity"
scorer = "clip:pigment-embedded"
min = 0.25
reason = "clip:low_similarity"
[[rule]]
column = "nsfw.open_nsfw"
max = 0.5
do = "review"
missing = "review"
reason = "nsfw:possible"
"""


def policy_of(text: str = POLICY) -> Policy:
    return parse_policy(text, where="test.toml")


def select(pool: Pool, policy: Policy, *, release: str = "r", order: int = 1) -> Release:
    found = Release(pool.store, release)
    units = sorted(pool.committed())[::order]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        names = pipeline | beam.Create(units)
        _ = names | SelectPairs(pool, found, Rules(policy), plan_selection(pool, units, policy), rows=100)
    return found


def decisions(release: Release, units: Sequence[str]) -> dict[tuple[int, int], dict[str, Any]]:
    return {(n, row["row"]): row for n, name in enumerate(units) for row in release.read_decisions(name).to_pylist()}


def run(root: Path, rows: Sequence[Sequence[Mapping[str, Any]]], text: str = POLICY) -> dict[tuple[int, int], dict[str, Any]]:
    pool = make_pool(root, rows)
    return decisions(select(pool, policy_of(text)), [unit(n) for n in range(len(rows))])


def reasons(found: Mapping[tuple[int, int], Mapping[str, Any]]) -> dict[tuple[int, int], tuple[str, ...]]:
    return {place: (row["verdict"], *row["reasons"]) for place, row in found.items()}


def test_rules_at_below_and_without_the_bound(tmp_path):
    found = run(
        tmp_path,
        [
            [
                {"clip.similarity": 0.25, "nsfw.open_nsfw": 0.5},
                {"clip.similarity": 0.2499},
                {"clip.similarity": None},
                {"clip.similarity": float("nan")},
                {"nsfw.open_nsfw": 0.51},
                {"nsfw.open_nsfw": None},
                {"clip.similarity": 0.1, "nsfw.open_nsfw": 0.9},
                {"status": "failed_to_download", "error_message": "http_404: Not Found"},
                {"status": "invalid", "error_message": "no_caption", "caption": None},
                {"image.error": "undecodable: truncated", "clip.similarity": None},
                {"image.error": "crashed: it ended the process", "clip.similarity": None},
            ]
        ],
    )
    assert reasons(found) == {
        (0, 0): ("keep",),
        (0, 1): ("drop", "clip:low_similarity"),
        (0, 2): ("drop", "clip:missing"),
        (0, 3): ("drop", "clip:missing"),
        (0, 4): ("review", "nsfw:possible"),
        (0, 5): ("review", "nsfw:missing"),
        (0, 6): ("drop", "clip:low_similarity", "nsfw:possible"),
        (0, 7): ("drop", "fetch:failed_to_download"),
        (0, 8): ("drop", "source:no_caption"),
        (0, 9): ("drop", "image:undecodable"),
        (0, 10): ("drop", "image:crashed"),
    }
    assert found[0, 7]["error"] == "http_404"
    assert found[0, 1]["clip.similarity"] == pytest.approx(0.2499)


def test_equal_pairs_keep_the_first_place(tmp_path):
    same = {"url": "http://a.test/x.png", "caption": "a cat"}
    found = run(tmp_path, [[{}, same], [{**same, "clip.similarity": 0.9, "image.width": 500}, same]])
    assert found[0, 1]["verdict"] == "keep"
    assert "duplicate:pair" in found[1, 0]["reasons"] and "duplicate:pair" in found[1, 1]["reasons"]
    assert found[1, 0]["duplicate_of"] == found[0, 1]["uid"]


def test_of_equal_bytes_the_best_ranked_stays(tmp_path):
    same = {"sha256": "ab" * 32}
    found = run(
        tmp_path,
        [
            [
                {**same, "nsfw.open_nsfw": 0.9, "image.width": 900},
                {**same, "license_url": None, "image.width": 800},
                {**same, "image.width": 200},
                {**same, "image.width": 200, "clip.similarity": 0.6},
                {**same, "clip.similarity": 0.1, "image.width": 1000},
            ]
        ],
    )
    assert [row["verdict"] for row in found.values()] == ["drop", "drop", "drop", "keep", "drop"]
    assert {found[0, n]["duplicate_of"] for n in range(3)} == {found[0, 3]["uid"]}
    assert found[0, 4]["duplicate_of"] is None, "what rules dropped takes no part"


HEARTS = {"image.pdq": b"\x5a" * 32, "caption": "heart"}
RED, DARK_RED, BLUE, GREEN = (136, 208, 195), (133, 207, 193), (82, 207, 20), (224, 42, 211)


def test_red_blue_and_green_hearts_stay_apart(tmp_path):
    found = run(
        tmp_path,
        [
            [
                {**HEARTS, "image.thumbnail": thumbnail(RED), "clip.similarity": 0.9},
                {**HEARTS, "image.thumbnail": thumbnail(BLUE)},
                {**HEARTS, "image.thumbnail": thumbnail(GREEN)},
                {**HEARTS, "image.thumbnail": thumbnail(DARK_RED), "caption": "  HEART "},
                {**HEARTS, "image.thumbnail": thumbnail(RED), "caption": "a red heart"},
                {**HEARTS, "image.thumbnail": thumbnail(RED), "image.pdq_quality": 49},
            ]
        ],
    )
    assert reasons(found) == {
        (0, 0): ("keep",),
        (0, 1): ("keep",),
        (0, 2): ("keep",),
        (0, 3): ("drop", "duplicate:picture"),
        (0, 4): ("keep",),
        (0, 5): ("keep",),
    }


def test_no_exact_duplicates_when_the_policy_says_so(tmp_path):
    found = run(tmp_path, [[{"sha256": "ab" * 32}, {"sha256": "ab" * 32}]], POLICY + "[duplicates]\nexact = false\n")
    assert [row["verdict"] for row in found.values()] == ["keep", "keep"]


# Of the pool's 10 the best 4 are three at .95, which another rule drops, and .9. Of the 7 passing the best 3 end within the tie at .7.
@pytest.mark.parametrize(("of", "kept"), [("pool", 1), ("passing", 4)])
def test_top_fraction_keeps_the_best_share_and_its_ties(tmp_path, of, kept):
    text = f"""
name = "top"
[[rule]]
column = "nsfw.open_nsfw"
max = 0.5
reason = "nsfw:high"
[[rule]]
column = "clip.similarity"
top_fraction = 0.4
of = "{of}"
reason = "clip:not_in_top"
"""
    values = [0.9, 0.8, 0.7, 0.7, 0.5, 0.4, 0.3]
    rows = [{"clip.similarity": value} for value in values] + [{"clip.similarity": 0.95, "nsfw.open_nsfw": 0.9}] * 3
    found = run(tmp_path, [rows[:4], rows[4:]], text)
    assert [row["verdict"] for row in found.values()] == ["keep"] * kept + ["drop"] * (10 - kept)


def test_order_of_units_and_running_twice_change_no_byte(tmp_path):
    rows = [[{"sha256": f"{n % 3:064x}", "clip.similarity": 0.2 + n * 0.1} for n in range(u, u + 5)] for u in range(6)]
    pool = make_pool(tmp_path, rows)
    first, second = select(pool, policy_of(), release="a"), select(pool, policy_of(), release="b", order=-1)
    for n in range(6):
        name = unit(n)
        assert pool.store.read(f"{first.path}/decisions/{name}.parquet") == pool.store.read(f"{second.path}/decisions/{name}.parquet")


def test_no_batch_is_pickled(tmp_path, monkeypatch):
    """A lost type hint would pickle batches; here that raises."""
    import copyreg

    def refuse(batch):
        raise AssertionError("a RecordBatch was pickled")

    monkeypatch.setitem(copyreg.dispatch_table, pa.RecordBatch, refuse)
    with pytest.raises(AssertionError):
        pickle.dumps(pa.record_batch({"a": [1]}))
    found = run(tmp_path, [[{"sha256": "ab" * 32}] * 3, [{"sha256": "ab" * 32}]])
    assert [row["verdict"] for row in found.values()].count("keep") == 1


REPEATS = """
name = "repeats"
[[rule]]
column = "caption.repeats"
max = 2
reason = "caption:repeats"
"""


def test_caption_repeats_counts_over_all_units_and_is_kept_in_the_ledger(tmp_path):
    rows = [
        [{"caption": "A  photo"}, {"caption": "a cat"}, {"caption": "고양이"}],
        [{"caption": "a photo"}, {"caption": "a PHOTO", "status": "postponed"}, {"caption": "a cat"}],
        [{"caption": None, "status": "invalid", "error_message": "no_caption"}, {"caption": "alone"}],
    ]
    found = run(tmp_path, rows, REPEATS)
    assert {place: row["caption.repeats"] for place, row in found.items()} == {
        (0, 0): 3, (0, 1): 2, (0, 2): 1, (1, 0): 3, (1, 1): 3, (1, 2): 2, (2, 0): None, (2, 1): 1,
    }  # fmt: skip
    assert {place for place, row in found.items() if "caption:repeats" in row["reasons"]} == {(0, 0), (1, 0)}
    assert "caption" not in found[0, 0], "only values that a rule looked at are stored"


def test_top_fractions_and_duplicates_see_repeats_too(tmp_path):
    text = (
        REPEATS
        + """
[[rule]]
column = "clip.similarity"
top_fraction = 0.5
reason = "clip:not_in_top"
[duplicates]
near = true
"""
    )
    common = {"caption": "a photo", "sha256": "ab" * 32, "image.pdq": b"\1" * 32, "clip.similarity": 0.9}
    rows = [[common] * 2, [common, {"clip.similarity": 0.4}, {"clip.similarity": 0.6}]]
    found = reasons(run(tmp_path, rows, text))
    assert found[1, 1] == ("drop", "clip:not_in_top") and found[1, 2] == ("keep",)
    assert {found[place] for place in ((0, 0), (0, 1), (1, 0))} == {("drop", "caption:repeats")}


row_strategy = st.fixed_dictionaries(
    {},
    optional={
        "clip.similarity": st.sampled_from([None, 0.1, 0.25, 0.9]),
        "nsfw.open_nsfw": st.sampled_from([None, 0.2, 0.9]),
        "sha256": st.sampled_from(["aa" * 32, "bb" * 32]),
        "image.pdq": st.sampled_from([b"\1" * 32, b"\2" * 32]),
        "image.pdq_quality": st.sampled_from([0, 50, 100]),
        "image.error": st.sampled_from([None, "undecodable: x", "crashed: x"]),
        "caption": st.sampled_from([None, "", "a cat", "A  CAT", "고양이"]),
        "url": st.sampled_from(["http://a.test/1", "http://a.test/2"]),
        "status": st.sampled_from(["success", "success", "refused", "postponed", "crashed"]),
    },
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(st.lists(row_strategy, min_size=1, max_size=6), min_size=1, max_size=3))
def test_every_pair_has_one_verdict_and_nothing_is_lost(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("pool")
    found = run(root, rows)
    assert set(found) == {(u, r) for u, unit_rows in enumerate(rows) for r in range(len(unit_rows))}
    for decided in Release(Pool(root).store, "r").decided():
        assert decided.keep + decided.review + decided.drop == decided.rows
    for place, row in found.items():
        assert (row["verdict"] == "keep") == (not row["reasons"]), json.dumps({str(place): row}, default=str)
    kept = [row for row in found.values() if row["verdict"] != "drop"]
    assert len({row["uid"] for row in kept}) == len(kept)
