"""Follow-ups in select and after it: a row is decided where it is newest, and everybody who reads decisions or the pool counts it there."""

import pyarrow.compute as pc
import pytest

from pipelines.explain import find, lines_of
from pipelines.export_ids import kept_values
from pipelines.funnel import funnel_of
from pipelines.moves import moves_between
from quality.evaluation.join import columns_of
from quality.gates.hosts import host_metrics
from quality.gates.indexes import read_indexes
from quality.gates.metrics import release_metrics, unit_metrics
from quality.report.compare import moved_rows, read_before
from quality.report.ledger import counts_of, read_ledger
from quality.review.bounds import Bound
from quality.review.bounds import moves as bound_moves
from quality.review.sampling import sample
from schemas.follow_ups import FollowUp, put_follow_up
from schemas.policy import parse_policy
from schemas.pool import Pool
from tests.pipelines.fetching import NO_LISTS
from tests.pools import add_unit, make_pool, unit
from tests.selecting import select

FAILED = {"status": "failed_to_download", "error_message": "http_503"}
DEAD = {"status": "failed_to_download", "error_message": "http_404"}
POLICY = """
name = "p"
[duplicates]
near = false
[[rule]]
column = "caption.repeats"
max = 2
do = "review"
reason = "caption:common"
[[rule]]
column = "clip.similarity"
top_fraction = 0.5
of = "pool"
missing = "keep"
reason = "clip:not_in_top"
"""


@pytest.fixture
def retried(tmp_path) -> Pool:
    """Rows 0, 2 and 3 were asked for again, 3 twice. 0 came as what row 1 of the other unit is; rows 0 and 1 have one caption."""
    pool = make_pool(
        tmp_path, [[{**FAILED, "caption": "a boat"}, {"caption": "a boat"}, FAILED, FAILED, DEAD], [{}, {"sha256": "ab" * 32}]]
    )
    base = pool.read_raw(unit(0)).to_pylist()

    def follow(number: int, rows: tuple[int, ...], *ends: dict) -> None:
        put_follow_up(pool, FollowUp(f"{unit(0)}.r{number}", unit(0), number, rows, {"failed_to_download": len(rows)}))
        pairs = [
            {"url": base[row]["url"], "caption": base[row]["caption"], "image.pdq": bytes([number, row] * 16), "size": 9, **end}
            for row, end in zip(rows, ends, strict=True)
        ]
        add_unit(pool, f"{unit(0)}.r{number}", pairs)

    follow(1, (0, 2, 3), {"sha256": "ab" * 32, "clip.similarity": 0.9}, {"sha256": "ef" * 32, "clip.similarity": 0.8}, FAILED)
    follow(2, (3,), {"clip.similarity": 0.7, "sha256": "cd" * 32})
    put_follow_up(pool, FollowUp(f"{unit(1)}.r1", unit(1), 2, (0,), {"success": 1}))  # never fetched: counts for nothing
    return pool


def test_a_row_is_decided_where_it_is_newest_and_nowhere_else(retried):
    policy = parse_policy(POLICY, where="p")
    release = select(retried, policy, "r")
    found = {name: release.read_decisions(name, ["verdict", "reasons"]).to_pylist() for name in sorted(retried.committed())}
    nothing, failed = {"verdict": None, "reasons": []}, {"verdict": "drop", "reasons": ["fetch:failed_to_download"]}
    keep, low = {"verdict": "keep", "reasons": []}, {"verdict": "drop", "reasons": ["clip:not_in_top"]}
    assert found == {
        unit(0): [nothing, low, nothing, nothing, failed],
        f"{unit(0)}.r1": [keep, keep, nothing],
        f"{unit(0)}.r2": [keep],
        unit(1): [low, {"verdict": "drop", "reasons": ["clip:not_in_top", "duplicate:exact"]}],
    }
    assert release.read_decisions(unit(0))["caption.repeats"].to_pylist()[1] == 2, "a caption counts once for a row and its follow-up"
    assert release.read_decisions(f"{unit(0)}.r1")["caption.repeats"].to_pylist()[0] == 2


def test_the_books_balance(retried):
    release = select(retried, parse_policy(POLICY, where="p"), "r")
    funnel = funnel_of(retried, release)
    assert (funnel.rows, funnel.keep, funnel.drop, funnel.deferred, funnel.fetched) == (7, 3, 4, 0, 6) and funnel.balanced
    assert funnel.statuses == {"failed_to_download": 1, "success": 6}
    units = unit_metrics(retried, release)
    by_unit = {row["unit"]: row for row in units.to_dict("records")}
    assert {name: (row["rows_source"], row["accounted"], row["retried"], row["state"]) for name, row in by_unit.items()} == {
        unit(0): (5, 5, 3, "decided"), f"{unit(0)}.r1": (3, 3, 1, "decided"), f"{unit(0)}.r2": (1, 1, 0, "decided"),
        unit(1): (2, 2, 0, "decided"),
    }  # fmt: skip
    for name in ("null_verdicts", "null_uids", "other_verdicts", "reason_errors", "footer_errors"):
        assert units[name].sum() == 0, name
    assert by_unit[unit(0)]["status.failed_to_download"] == 1
    [sums] = release_metrics(units, read_indexes(release)).to_dict("records")
    assert (sums["rows_source"], sums["accounted"], sums["failed"]) == (7, 7, 1)
    ledger = read_ledger(retried, release, sorted(retried.committed()))
    assert len(ledger) == 7 and counts_of(ledger) == {"keep": 3, "review": 0, "drop": 4, "undecided": 0}
    assert ledger.statuses == {"success": 6, "failed_to_download": 1}
    assert len(read_ledger(retried, None, sorted(retried.committed()))) == 7


def test_gates_see_a_verdict_that_is_missing_or_doubled(retried):
    release = select(retried, parse_policy(POLICY, where="p"), "r")
    decisions = release.read_decisions(unit(0))
    for broken in (["drop", "drop", None, None, "drop"], [None, None, None, None, "drop"]):
        retried.store.delete(f"{release.path}/decisions/{unit(0)}.parquet")
        release.put_decisions(unit(0), decisions.set_column(2, "verdict", [broken]))
        assert unit_metrics(retried, release).set_index("unit")["null_verdicts"][unit(0)] == 1


def test_people_are_asked_once_about_a_pair(retried):
    policy = parse_policy(POLICY, where="p")
    release = select(retried, policy, "r")
    asked = list(sample(release, policy, kept=1.0, dropped=1.0))
    assert len({each.uid for each in asked if each.queue == "kept"}) == 3
    assert {(each.unit, each.row) for each in asked} & {(unit(0), row) for row in (0, 2, 3)} == set()


def test_other_readers_take_a_row_where_it_is_newest(retried):
    policy = parse_policy(POLICY, where="p")
    release = select(retried, policy, "r")
    uids = [retried.read_raw(unit(0), ["uid"])["uid"][row].as_py() for row in (0, 3)]
    found = columns_of(retried, uids, "clip.similarity").to_pylist()
    assert {row["uid"]: round(row["clip.similarity"], 3) for row in found} == {uids[0]: 0.9, uids[1]: 0.7}
    kept, _ = kept_values(retried, release, "uid", NO_LISTS)
    assert len(kept) == len(set(kept)) == 3 and set(uids) < set(kept)
    [host] = host_metrics(retried, sorted(retried.committed())).to_dict("records")
    assert (host["host"], host["asked"], host["failed"]) == ("host.test", 7, 1)
    common = Bound(policy, 1, "max")
    assert bound_moves(release, common, 1) == {("keep", "review"): 1}, "rows that a follow-up decides are none of its"


def test_explain_tells_the_history(retried):
    policy = parse_policy(POLICY, where="p")
    release = select(retried, policy, "r")
    [found] = find(retried, release, uid=None, url="http://host.test/0/3.png")
    story = lines_of(retried, release, found, policy)
    at = story.index("fetch      success, 100x100 None, 9 bytes")
    assert story[at + 1 : at + 4] == [
        f"  earlier  failed_to_download: http_503; unit {unit(0)}.r1, row 2",
        f"  earlier  failed_to_download: http_503; unit {unit(0)}, row 3",
        "verdict    keep  (release r, policy p)",
    ]
    old = select(retried, policy, "old", order=[unit(0), unit(1)])
    assert old.read_decisions(unit(0))["verdict"].null_count == 0, "a release that had no follow-up decided about every row"
    [found] = find(retried, old, uid=None, url="http://host.test/0/3.png")
    assert "verdict    drop  (release old, policy p, before the pair was asked for again)" in lines_of(retried, old, found, policy)


def test_two_policies_over_follow_ups(retried):
    one, other = (
        select(retried, parse_policy(text, where="p"), name) for name, text in (("a", POLICY), ("b", POLICY.replace("0.5", "1.0")))
    )
    moves = moves_between(one, other, sorted(retried.committed()))
    assert sum(moves.pairs.values()) == 7 and moves.pairs["drop", "keep"] == 2


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_any_order_and_number_of_workers_gives_the_same(retried, mode):
    policy = parse_policy(POLICY, where="p")
    one = select(retried, policy, "one")
    two = select(retried, policy, "two", order=sorted(retried.committed(), reverse=True), mode=mode, workers=2)
    for name in sorted(retried.committed()):
        assert one.read_decisions(name).equals(two.read_decisions(name)), name
    assert pc.sum(pc.is_null(two.read_decisions(unit(0))["verdict"])).as_py() == 3


def test_a_report_knows_a_pair_again_that_was_asked_for_again(retried):
    policy = parse_policy(POLICY, where="p")
    units = sorted(retried.committed())
    old, new = select(retried, policy, "old", order=[unit(0), unit(1)]), select(retried, policy, "new")
    failed = 1 << 0
    ledger = read_ledger(retried, new, units)
    before = read_before(retried, old, ledger)
    pairs = [(ledger.units[place], row) for place, row in zip(ledger.unit.tolist(), ledger.row.tolist(), strict=True)]
    was = {pair: (int(verdict), int(mask)) for pair, verdict, mask in zip(pairs, before.verdict, before.mask, strict=True)}
    assert before.reasons[0] == "fetch:failed_to_download" and before.gone == 0
    came = [(f"{unit(0)}.r1", 0), (f"{unit(0)}.r1", 1), (f"{unit(0)}.r2", 0)]
    assert [was[pair] for pair in came] == [(2, failed)] * 3, "each had been dropped, for it had failed"
    assert moved_rows(ledger, before)["drop", "keep"].sum() == 3
    then = read_ledger(retried, old, [unit(0), unit(1)])  # and the other way: the later release decided about them elsewhere
    after = read_before(retried, new, then)
    assert (len(then), after.gone) == (7, 0)
    assert after.verdict.tolist() == [0, 2, 0, 0, 2, 2, 2]
