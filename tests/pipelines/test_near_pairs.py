"""Select's near-duplicates: against brute force over the ledger, in one memory and shuffled, in every mode and order. Semantic ones too."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.steps.near_pairs import rows_a_hash
from quality.near.shuffle import band_rows
from quality.selection import plan_selection
from schemas.policy import Duplicates, Policy, PolicyError, parse_policy
from schemas.pool import Pool
from schemas.release import Release
from schemas.units import Pass, ScorerInfo
from tests.pools import make_pool, thumbnail, unit
from tests.selecting import select

POLICY = """
name = "near"
[duplicates]
near = true
{more}
[[rule]]
column = "clip.similarity"
min = 0.25
reason = "clip:low_similarity"
[[rule]]
column = "nsfw.open_nsfw"
max = 0.5
do = "review"
reason = "nsfw:possible"
"""
COLOURS = ((136, 208, 195), (82, 207, 20), (224, 42, 211))
LICENSES = ("https://creativecommons.org/licenses/by/4.0/", "https://creativecommons.org/publicdomain/zero/1.0/", None)


def policy_of(more: str = "") -> Policy:
    return parse_policy(POLICY.format(more=more), where="near.toml")


def flipped(draw: np.random.Generator, pdq: bytes, bits: int) -> bytes:
    turned = np.zeros(256, np.uint8)
    turned[draw.choice(256, bits, replace=False)] = 1
    return (np.frombuffer(pdq, np.uint8) ^ np.packbits(turned)).tobytes()


def clustered(seed: int, units: int, rows: int) -> list[list[dict[str, Any]]]:
    """Rows around common pictures, on both sides of every bound; some with equal bytes, low quality or a verdict of the rules."""
    draw = np.random.default_rng(seed)
    made: list[list[dict[str, Any]]] = []
    pictures: list[bytes] = []
    for _ in range(units):
        made.append([])
        for _ in range(rows):
            old = pictures and draw.random() < 0.75
            pdq = flipped(draw, pictures[draw.integers(len(pictures))], int(draw.integers(40))) if old else draw.bytes(32)
            pictures.append(pdq)
            row = {
                "image.pdq": pdq,
                "image.thumbnail": thumbnail(COLOURS[draw.integers(3)]),
                "image.pdq_quality": int(draw.choice([49, 50, 100, 100])),
                "image.width": int(draw.choice([100, 200])),
                "clip.similarity": float(draw.choice([0.2, 0.3, 0.3, 0.4])),
                "nsfw.open_nsfw": float(draw.choice([0.1, 0.1, 0.9])),
                "license_url": LICENSES[draw.integers(3)],
            }
            made[-1].append(row | ({"sha256": f"{draw.integers(5):064x}"} if draw.random() < 0.1 else {}))
    return made


def ledger(release: Release, units: int) -> list[dict[str, Any]]:
    return [{"unit": unit(n), **row} for n in range(units) for row in release.read_decisions(unit(n)).to_pylist()]


def brute(pool: Pool, rows: list[dict[str, Any]], distance: int = 31) -> dict[str, str]:
    """{uid: uid of the best near and better-ranked} by definition, over the pairs that nothing else dropped."""
    full = []
    for decided in rows:
        raw = pool.read_raw(decided["unit"]).slice(decided["row"], 1).to_pylist()[0]
        scores = pool.read_scores(pool.passes()[0].name, decided["unit"]).slice(decided["row"], 1).to_pylist()[0]
        others = [reason for reason in decided["reasons"] if reason not in ("duplicate:near", "nsfw:possible")]
        if not others and scores["image.pdq_quality"] >= 50:
            license_ = {LICENSES[0]: 1, LICENSES[1]: 0, None: 6}[raw["license_url"]]
            rank = (
                "nsfw:possible" in decided["reasons"], license_, -scores["image.width"] * scores["image.height"],
                -scores["clip.similarity"], raw["uid"], decided["unit"], decided["row"],
            )  # fmt: skip
            full.append((rank, raw["uid"], scores["image.pdq"], scores["image.thumbnail"]))
    full.sort()
    lost = {}
    for place, (_, uid, pdq, colours) in enumerate(full):
        for _, better, other, those in full[:place]:
            if (int.from_bytes(pdq) ^ int.from_bytes(other)).bit_count() <= distance and colours == those:
                lost[uid] = better
                break
    return lost


def near_in(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["uid"]: row["duplicate_of"] for row in rows if "duplicate:near" in row["reasons"]}


def content(release: Release, units: int) -> list[bytes]:
    return [release.store.read(f"{release.path}/decisions/{unit(n)}.parquet") for n in range(units)]


@pytest.mark.parametrize(("distance", "seed"), [(31, 1), (31, 2), (15, 3), (0, 4)])
def test_is_what_brute_force_finds_in_memory_and_shuffled(tmp_path: Path, distance: int, seed: int):
    pool, policy = make_pool(tmp_path, clustered(seed, 4, 40)), policy_of(f"near_distance = {distance}")
    here, shuffled = select(pool, policy, "here"), select(pool, policy, "shuffled", in_memory_rows=0)
    rows = ledger(here, 4)
    wanted = brute(pool, rows, distance)
    assert near_in(rows) == wanted
    assert len(wanted) >= {31: 10, 15: 3, 0: 0}[distance], "the pool has near pairs"
    assert content(here, 4) == content(shuffled, 4)


@pytest.mark.parametrize("in_memory_rows", [1000, 0])
def test_every_mode_and_order_gives_the_same_bytes(tmp_path: Path, in_memory_rows: int):
    pool, policy = make_pool(tmp_path, clustered(5, 4, 30)), policy_of()
    first = content(select(pool, policy, "a", in_memory_rows=in_memory_rows), 4)
    units = [unit(n) for n in (2, 0, 3, 1)]
    assert content(select(pool, policy, "b", in_memory_rows=in_memory_rows, order=units), 4) == first
    processes = select(pool, policy, "c", in_memory_rows=in_memory_rows, mode="multi_processing", workers=2, shuffles=True)
    assert content(processes, 4) == first


def test_fast_finds_all_to_distance_15_in_both_forms(tmp_path: Path):
    pool, policy = make_pool(tmp_path, clustered(6, 3, 40)), policy_of('near_mode = "fast"')
    here = select(pool, policy, "here")
    found, all_near, sure = near_in(ledger(here, 3)), *(brute(pool, ledger(here, 3), bound) for bound in (31, 15))
    assert set(sure) <= set(found) <= set(all_near)
    assert content(here, 3) == content(select(pool, policy, "shuffled", in_memory_rows=0), 3)


def test_what_was_dropped_before_takes_no_part_and_colours_stay_apart(tmp_path: Path):
    near = {"image.pdq": b"\x5a" * 32, "image.thumbnail": thumbnail(COLOURS[0])}
    rows = [
        {**near, "clip.similarity": 0.4},
        {**near, "clip.similarity": 0.2, "image.width": 900},  # better, but dropped by a rule
        {**near, "sha256": "ab" * 32, "image.width": 300},  # the winner
        {**near, "sha256": "ab" * 32, "image.width": 200},  # lost to it by its bytes
        {**near, "image.thumbnail": thumbnail(COLOURS[1])},
        {**near, "image.pdq_quality": 49},
        {**near, "nsfw.open_nsfw": 0.9, "image.width": 900},  # a pair to review loses to one to keep
    ]
    found = ledger(select(make_pool(tmp_path, [rows]), policy_of(), "r"), 1)
    assert [(row["verdict"], *row["reasons"]) for row in found] == [
        ("drop", "duplicate:near"),
        ("drop", "clip:low_similarity"),
        ("keep",),
        ("drop", "duplicate:exact"),
        ("keep",),
        ("keep",),
        ("drop", "nsfw:possible", "duplicate:near"),
    ]
    assert {row["duplicate_of"] for row in found if row["duplicate_of"]} == {found[2]["uid"]}


def test_without_near_the_policy_drops_none(tmp_path: Path):
    pool = make_pool(tmp_path, clustered(7, 2, 20))
    policy = parse_policy(POLICY.format(more="").replace("near = true", "near = false"), where="off")
    assert near_in(ledger(select(pool, policy, "r"), 2)) == {}


def embedded(pool: Pool, vectors: dict[str, list[list[float] | None]]) -> None:
    pass_ = Pass.of([ScorerInfo("embed", "e@test", ("embed.image",))])
    pool.put_pass(pass_)
    for name, rows in vectors.items():
        commit = pool.raw_commit(name)
        assert commit is not None
        column = pa.array([None if row is None else np.asarray(row, np.float16) for row in rows], pa.list_(pa.float16()))
        pool.commit_scores(pass_.name, name, pa.table({"embed.image": column}), input_digest=commit.content_digest)


def test_semantic_duplicates_lose_to_the_better_pair(tmp_path: Path):
    pool = make_pool(tmp_path, [[{}, {"image.width": 300}, {}], [{"clip.similarity": 0.2}, {}, {"image.width": 500}]])
    embedded(pool, {unit(0): [[1, 0], [0.999, 0.02], None], unit(1): [[1, 0], [0, 1], [0.9, 0.4359]]})
    policy = policy_of("semantic = true")
    found = ledger(select(pool, policy, "r"), 2)
    assert [row["reasons"] for row in found] == [["duplicate:semantic"], [], [], ["clip:low_similarity"], [], []]
    assert found[0]["duplicate_of"] == found[1]["uid"]
    again = select(pool, policy, "again", order=[unit(1), unit(0)], mode="multi_processing", workers=2)
    assert content(again, 2) == content(Release(pool.store, "r"), 2)


def test_semantic_without_embeddings_or_with_too_many_pairs_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pool, policy = make_pool(tmp_path, [[{}, {}]]), policy_of("semantic = true")
    with pytest.raises(PolicyError, match=r"needs the column embed.image, which no scorer of this pool wrote; run --start_at score"):
        plan_selection(pool, [unit(0)], policy)
    embedded(pool, {unit(0): [[1, 0], [0, 1]]})
    monkeypatch.setattr("quality.selection.MOST_ROWS", 1)
    with pytest.raises(PolicyError, match=r"in one worker's memory, at most 1 pairs; this pool has 2"):
        plan_selection(pool, [unit(0)], policy)


@pytest.mark.parametrize("in_memory_rows", [1000, 0])
def test_pools_in_which_nothing_takes_part(tmp_path: Path, in_memory_rows: int):
    rows = [
        [{"image.pdq_quality": 0}, {"image.pdq": None}],
        [{"image.thumbnail": None, "image.pdq": b"\1" * 32}] * 2,
        [{"status": "refused"}],
    ]
    found = select(make_pool(tmp_path, rows), policy_of("semantic = false\nexact = false"), "r", in_memory_rows=in_memory_rows)
    assert near_in(ledger(found, 3)) == {}


@pytest.mark.parametrize(("distance", "mode"), [(31, "complete"), (31, "fast"), (15, "complete")])
def test_partitions_and_lots_go_by_the_rows_that_a_hash_has(distance: int, mode: Any):
    hashes = np.random.default_rng(1).integers(0, 256, (1_000, 32), np.uint8)
    rows = len(band_rows(hashes, distance=distance, fast=mode == "fast")[0]) / len(hashes)
    assert rows_a_hash(Duplicates(near=True, near_distance=distance, near_mode=mode)) == pytest.approx(rows, rel=0.01)
