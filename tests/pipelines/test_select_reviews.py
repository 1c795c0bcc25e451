"""Select with people's decisions: a release differs from its parent by just the pairs they decided about, and their twins."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quality.review.settle import effect_of, settle
from schemas.policy import Policy, parse_policy
from schemas.pool import Pool
from schemas.release import Release, ReleaseError
from tests.answers import answers
from tests.pools import make_pool, thumbnail, unit
from tests.selecting import select

LOW = "clip:low_similarity"
RULES = """
name = "test"
[[rule]]
column = "license.class"
not_in = ["proprietary", "unknown"]
missing = "drop"
reason = "license:not_allowed"
overrule = false
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
NEAR = RULES + "[duplicates]\nnear = true\n"
TOP = RULES + '[[rule]]\ncolumn = "clip.similarity"\ntop_fraction = 0.5\nof = "{}"\nreason = "clip:not_in_top"\n'


def policy_of(text: str) -> Policy:
    return parse_policy(text, where="test.toml")


def pairs(release: Release) -> dict[tuple[str, int], dict[str, Any]]:
    return {(of.unit, row["row"]): row for of in release.decided() for row in release.read_decisions(of.unit).to_pylist()}


def told(release: Release) -> list[tuple[str, ...]]:
    return [(row["verdict"], *row["reasons"]) for row in pairs(release).values()]


def both(root: Path, rows: Sequence[Sequence[Mapping[str, Any]]], text: str, *given: Sequence[Any]) -> tuple[Release, Release]:
    """The release of the rules alone, and the one with answers of (place, question, answer)."""
    pool = make_pool(root, rows)
    parent = select(pool, policy_of(text), "parent")
    uids = [row["uid"] for row in pairs(parent).values()]
    return parent, select(pool, policy_of(text), "child", answers=answers(*((uids[place], *more) for place, *more in given)))


SAME = {"sha256": "ab" * 32}


def test_who_is_rejected_frees_its_twin(tmp_path):
    rows = [[{**SAME, "clip.similarity": 0.9}, {**SAME, "clip.similarity": 0.8}, {**SAME, "clip.similarity": 0.7}], [{}]]
    parent, child = both(tmp_path, rows, RULES, (0, "keep", "no"))
    assert told(parent) == [("keep",), ("drop", "duplicate:exact"), ("drop", "duplicate:exact"), ("keep",)]
    assert told(child) == [("drop", "review:rejected"), ("keep",), ("drop", "duplicate:exact"), ("keep",)]
    found = list(pairs(child).values())
    assert (found[0]["duplicate_of"], found[2]["duplicate_of"]) == (None, found[1]["uid"])


def test_who_is_accepted_unseats_its_twin(tmp_path):
    rows = [[{**SAME, "clip.similarity": 0.2, "image.width": 900}, {**SAME, "clip.similarity": 0.8}]]
    parent, child = both(tmp_path, rows, RULES, (0, LOW, "no"))
    assert told(parent) == [("drop", LOW), ("keep",)]
    assert told(child) == [("keep", "review:accepted"), ("drop", "duplicate:exact")]


def test_who_is_accepted_and_loses_is_a_duplicate_and_no_more(tmp_path):
    rows = [[{**SAME, "clip.similarity": 0.2}, {**SAME, "clip.similarity": 0.8, "image.width": 900}]]
    _, child = both(tmp_path, rows, RULES, (0, "keep", "yes"))
    assert told(child) == [("drop", "duplicate:exact"), ("keep",)]


@pytest.mark.parametrize("in_memory_rows", [1000, 0])
def test_near_twins_come_back_and_are_unseated(tmp_path, in_memory_rows):
    grey = thumbnail((128, 128, 128))
    near = [{"image.pdq": bytes([n]) + b"\x5a" * 31, "image.thumbnail": grey} for n in (0, 1, 3)]
    far = [{"image.pdq": bytes([n]) + b"\xa5" * 31, "image.thumbnail": grey} for n in (0, 1)]
    rows = [
        [{**near[0], "image.width": 900}, {**near[1], "image.width": 500}, near[2]],
        [{**far[0], "nsfw.open_nsfw": 0.9, "image.width": 900}, far[1]],
    ]
    pool = make_pool(tmp_path, rows)
    uids = [row["uid"] for row in pairs(select(pool, policy_of(NEAR), "parent")).values()]
    said = answers((uids[0], "keep", "no"), (uids[3], "nsfw:possible", "no"))
    child = select(pool, policy_of(NEAR), f"child{in_memory_rows}", answers=said, in_memory_rows=in_memory_rows)
    lost = ("drop", "duplicate:near")
    assert told(Release(pool.store, "parent")) == [("keep",), lost, lost, ("drop", "nsfw:possible", "duplicate:near"), ("keep",)]
    assert told(child) == [("drop", "review:rejected"), ("keep",), lost, ("keep", "review:accepted"), lost]


@pytest.mark.parametrize("of", ["pool", "passing"])
def test_decisions_move_no_cut(tmp_path, of):
    values = [0.9, 0.8, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2]
    rows = [
        [
            {"clip.similarity": value, "sha256": "cd" * 32, "image.width": 500 - place} if place in (1, 2) else {"clip.similarity": value}
            for place, value in enumerate(values)
        ]
    ]
    parent, child = both(
        tmp_path, rows, TOP.format(of), (0, "keep", "no"), (1, "keep", "no"), (5, "clip:not_in_top", "no"), (7, "keep", "yes")
    )
    cuts = [release.decided()[0].cuts for release in (parent, child)]
    assert cuts[0] == cuts[1] and cuts[0]["3"] == pytest.approx(0.6, abs=1e-4)
    out = ("drop", "clip:not_in_top")
    assert told(parent) == [("keep",), ("keep",), ("drop", "duplicate:exact"), ("keep",), out, out, out, ("drop", LOW, "clip:not_in_top")]
    no, yes = ("drop", "review:rejected"), ("keep", "review:accepted")
    assert told(child) == [no, no, ("keep",), ("keep",), out, yes, out, yes], "the second of equals comes back, and the cut stays"


def test_what_nobody_settled_changes_no_byte(tmp_path):
    rows = [[{}, {"clip.similarity": 0.1}, {"license_url": None}]]
    parent, child = both(tmp_path, rows, RULES, (0, "keep", "unsure"), (1, LOW, "yes"), (1, LOW, "no"), (2, "license:not_allowed", "no"))
    assert told(child) == told(parent) == [("keep",), ("drop", LOW), ("drop", "license:not_allowed")]
    path = f"decisions/{unit(0)}.parquet"
    assert parent.store.read(f"{parent.path}/{path}") == child.store.read(f"{child.path}/{path}")


def test_a_worker_that_finds_other_decisions_stops(tmp_path):
    pool = make_pool(tmp_path, [[{}]])
    release = Release(pool.store, "r")
    digest = release.put_settled(settle(answers(("a" * 32, "keep", "no"))).settled)
    assert release.read_settled(digest).num_rows == 1
    for other, name in ((release, "0" * 64), (Release(pool.store, "none"), digest)):
        with pytest.raises(ReleaseError, match="is not what the job was started with"):
            other.read_settled(name)


def test_all_modes_and_orders_give_the_same_bytes(tmp_path):
    rows = [[{"sha256": f"{n % 4:064x}", "clip.similarity": 0.2 + n * 0.05} for n in range(u, u + 6)] for u in range(4)]
    text = TOP.format("passing") + "[duplicates]\nnear = true\n"
    pool = make_pool(tmp_path, rows)
    uids = [row["uid"] for row in pairs(select(pool, policy_of(text), "parent")).values()]
    said = answers((uids[0], "keep", "yes"), (uids[7], "keep", "no"), (uids[11], LOW, "no"), (uids[20], "clip:not_in_top", "no"))
    modes = [("in_memory", 1, 1), ("multi_threading", 2, -1), ("multi_processing", 2, 1)]
    found = [
        select(pool, policy_of(text), mode, answers=said, mode=mode, workers=workers, order=sorted(pool.committed())[::step])
        for mode, workers, step in modes
    ]
    bytes_of = [[pool.store.read(path) for path, _ in pool.store.list(f"{release.path}/decisions")] for release in found]
    assert len(bytes_of[0]) == 4 and bytes_of[0] == bytes_of[1] == bytes_of[2]
    assert told(found[0]) != told(Release(pool.store, "parent"))


row_strategy = st.fixed_dictionaries(
    {},
    optional={
        "clip.similarity": st.sampled_from([None, 0.1, 0.25, 0.9]),
        "nsfw.open_nsfw": st.sampled_from([None, 0.2, 0.9]),
        "sha256": st.sampled_from(["aa" * 32, "bb" * 32]),
        "image.pdq": st.sampled_from([b"\1" * 32, b"\2" * 32]),
        "image.width": st.sampled_from([50, 500]),
        "image.error": st.sampled_from([None, None, "undecodable: x"]),
        "license_url": st.sampled_from([None, "https://creativecommons.org/licenses/by/4.0/"]),
        "url": st.sampled_from(["http://a.test/1", "http://a.test/2"]),
        "status": st.sampled_from(["success", "success", "success", "refused"]),
    },
)
QUESTIONS = ("keep", LOW, "clip:missing", "nsfw:possible", "license:not_allowed", "clip:not_in_top")
decision_strategy = st.tuples(st.integers(0, 11), st.sampled_from(QUESTIONS), st.sampled_from(["yes", "no", "no", "unsure"]))


def twins(pool: Pool, places: Sequence[tuple[str, int]], start: set[int]) -> set[int]:
    """Those rows and all that are equal to them in a way that duplicates look at, and to these, and so on."""
    known = []
    for name, row in places:
        raw = pool.read_raw(name, ["uid", "sha256"]).slice(row, 1).to_pylist()[0]
        pdq = pool.read_scores(pool.passes()[0].name, name, ["image.pdq"])["image.pdq"][row].as_py()
        known.append([("uid", raw["uid"]), ("sha256", raw["sha256"] or f"{name}{row}"), ("pdq", pdq or f"{name}{row}")])
    found = set(start)
    while True:
        marks = {mark for place in found for mark in known[place]}
        more = {place for place, own in enumerate(known) if marks & set(own)}
        if more == found:
            return found
        found = more


@pytest.mark.parametrize("text", [RULES, NEAR, TOP.format("passing")])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(st.lists(row_strategy, min_size=1, max_size=6), min_size=1, max_size=2), said=st.lists(decision_strategy, max_size=4))
def test_just_the_decided_pairs_and_their_twins_differ(tmp_path_factory, text, rows, said):
    n = sum(map(len, rows))
    said = [(place % n, question, answer) for place, question, answer in said]
    parent, child = both(tmp_path_factory.mktemp("pool"), rows, text, *said)
    before, after = list(pairs(parent).values()), list(pairs(child).values())
    policy = policy_of(text)
    settled: dict[str, dict[str, str]] = {}
    for row in settle(answers(*((before[place]["uid"], *more) for place, *more in said))).settled.to_pylist():
        settled.setdefault(row["uid"], {})[row["question"]] = row["answer"]
    decided = {place for place, row in enumerate(before) if row["uid"] in settled}
    may_differ = twins(Pool(parent.store), list(pairs(parent)), decided)
    assert {place for place in range(n) if before[place] != after[place]} <= may_differ
    assert parent.decided()[0].cuts == child.decided()[0].cuts
    for place, row in enumerate(after):
        kept, reasons = row["verdict"] == "keep", set(row["reasons"])
        assert reasons <= {"review:accepted"} if kept else reasons - {"review:accepted"} == reasons != set()
        if place in decided:
            lifted, rejected = effect_of(policy, settled[row["uid"]])
            assert ("review:rejected" in reasons) == rejected and not reasons & lifted
            firm = {reason for reason in before[place]["reasons"] if reason not in lifted and not reason.startswith("duplicate:")}
            assert firm <= reasons, "what nobody may overrule, or did, stands"
            if not firm and not rejected:
                assert kept or any(reason.startswith("duplicate:") for reason in reasons)
    alive = [row for row in after if row["verdict"] != "drop"]
    assert len({row["uid"] for row in alive}) == len(alive)
