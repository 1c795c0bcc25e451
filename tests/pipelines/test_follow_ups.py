"""Asking again for what failed: which rows, by which names, once a round whatever is killed, and what select and the books make of it."""

import apache_beam as beam
import pyarrow.compute as pc
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.explain import find, lines_of
from pipelines.export_ids import kept_values
from pipelines.fetch.commit import why_deferred
from pipelines.fetch.store import Outcome
from pipelines.flags import parser
from pipelines.funnel import funnel_of
from pipelines.moves import moves_between
from pipelines.pool_job import open_pool_job
from pipelines.sources.listing import list_source
from pipelines.sources.rows import RowReader
from pipelines.steps.fetch_units import FetchUnits
from pipelines.steps.follow_ups import FollowUps, followed_up
from pipelines.steps.read_units import ReadUnits
from quality.evaluation.join import columns_of
from quality.gates.hosts import host_metrics
from quality.gates.indexes import read_indexes
from quality.gates.metrics import release_metrics, unit_metrics
from quality.report.compare import moved_rows, read_before
from quality.report.ledger import counts_of, read_ledger
from quality.review.bounds import Bound
from quality.review.bounds import moves as bound_moves
from quality.review.sampling import sample
from schemas.columns import SOURCE, table_of
from schemas.follow_ups import FollowUp, begin_round, end_round, follow_up, planned_follow_ups, put_follow_up, retried_rows, statuses_of
from schemas.policy import parse_policy
from schemas.pool import Pool, PoolError, base_of, number_of, split_unit
from schemas.reasons import can_pass
from tests.pipelines.fetching import NO_LISTS, Reply, Server, jpeg, settings
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


class Web:
    """Ten pictures: the second and the sixth never come, and as long as `down` every third gets 503, the last one after that too."""

    def __init__(self) -> None:
        self.down = True

    def __call__(self, path: str) -> Reply:
        row = int(path[1:])
        if row in (1, 5):
            return Reply(404)
        return Reply(503) if (self.down and row % 3 == 0) or row == 9 else Reply(body=jpeg(row))


@pytest.fixture
def web():
    with Server(Web()) as server:
        yield server


def listed(folder, web: Server) -> str:
    path = folder / "pairs.csv"
    path.write_text("url,caption,mark\n" + "".join(f"{web.url(f'/{row}')},picture {row},m{row}\n" for row in range(10)))
    return str(path)


def fetch(pool: Pool, source: str, *, round: int | None = None) -> None:
    """As pipelines.ingest does it, in units of five rows."""
    fetching = settings(retries=0)
    with beam.Pipeline(FnApiRunner()) as pipeline:
        units = pipeline | ReadUnits(pool, list_source(source, {}), unit_size=5) | FollowUps(pool, round=round)
        _ = units | FetchUnits(pool, RowReader(pool, fetching.identity()), fetching, workers=2)


def retry(pool: Pool, source: str) -> dict[str, FollowUp]:
    """A whole round; returns what it planned."""
    number = begin_round(pool)
    fetch(pool, source, round=number)
    end_round(pool, number)
    return {name: plan for name, plan in planned_follow_ups(pool).items() if plan.round == number}


@pytest.mark.parametrize(
    ("status", "message", "passes"),
    [
        ("failed_to_download", "timeout", True), ("failed_to_download", "connect: no valid certificate", True),
        ("failed_to_download", "dns", True), ("failed_to_download", "truncated", True), ("failed_to_download", "http_408", True),
        ("failed_to_download", "http_425", True), ("failed_to_download", "http_429", True), ("failed_to_download", "http_500", True),
        ("failed_to_download", "http_599", True), ("refused", "robots_unreachable", True), ("postponed", "deadline", True),
        ("postponed", "host is down", True), ("failed_to_download", "http_404", False), ("failed_to_download", "http_5", False),
        ("failed_to_download", "http_5000", False), ("failed_to_download", "not_image", False), ("refused", "private_address", False),
        ("invalid", "no_url", False), ("blocked", "list", False), ("success", None, False), ("failed_to_resize", "pixels: 9 x 9", False),
    ],
)  # fmt: skip
def test_which_failures_can_pass(status, message, passes):
    assert can_pass(status, message) is passes


def test_names_of_follow_ups():
    name = f"{unit(3)}.r12"
    assert (base_of(name), number_of(name), split_unit(name)) == (unit(3), 12, split_unit(unit(3)))
    assert (base_of(unit(3)), number_of(unit(3))) == (unit(3), 0)
    for wrong in (f"{unit(3)}.r0", f"{unit(3)}.r", f"{unit(3)}.r1.r2", f"{unit(3)}r1"):
        with pytest.raises(PoolError, match="no unit's name"):
            split_unit(wrong)


def test_only_what_can_pass_is_asked_for_again(tmp_path, web):
    pool, source = Pool(tmp_path / "data"), listed(tmp_path, web)
    fetch(pool, source)
    first, second = sorted(pool.committed())
    before = {name: pool.raw_commit(name) for name in (first, second)}
    web.replies.down, asked = False, len(web.log)
    plans = retry(pool, source)
    assert plans == {
        f"{first}.r1": FollowUp(f"{first}.r1", first, 1, (0, 3), {"failed_to_download": 2}),
        f"{second}.r1": FollowUp(f"{second}.r1", second, 1, (1, 4), {"failed_to_download": 2}),
    }
    assert sorted(path for _, path, _ in web.log[asked:]) == ["/0", "/3", "/6", "/9"]
    assert {name: pool.raw_commit(name) for name in before} == before, "nothing is replaced"
    old, new = (pool.read_raw(name).to_pylist() for name in (first, f"{first}.r1"))
    assert [row["status"] for row in new] == ["success", "success"] and [row["row"] for row in new] == [0, 1]
    for name in ("uid", "url", "caption", "source_line", "mark"):
        assert [row[name] for row in new] == [old[0][name], old[3][name]], f"{name} is that of the row that is asked for again"
    assert pool.read_bytes(f"{first}.r1", [new[1]["offset"]], [new[1]["size"]]) == [jpeg(3)]
    assert statuses_of(pool, pool.committed()) == {"success": 7, "failed_to_download": 3}
    assert retried_rows(pool, first, pool.committed()).tolist() == [0, 3] and retried_rows(pool, first, {first}).tolist() == []


def test_a_second_round_asks_for_what_failed_again_and_a_third_has_nothing_to_ask_for(tmp_path, web):
    pool, source = Pool(tmp_path / "data"), listed(tmp_path, web)
    fetch(pool, source)
    first, second = sorted(pool.committed())
    assert retry(pool, source).keys() == {f"{first}.r1", f"{second}.r1"}  # all fail again, and are committed all the same
    assert statuses_of(pool, pool.committed()) == {"success": 4, "failed_to_download": 6} and pool.deferred() == {}
    web.replies.down = False
    plans = retry(pool, source)
    assert {name: plan.rows for name, plan in plans.items()} == {f"{first}.r2": (0, 3), f"{second}.r2": (1, 4)}
    assert retried_rows(pool, f"{second}.r1", pool.committed()).tolist() == [0, 1]
    assert {name: plan.rows for name, plan in retry(pool, source).items()} == {f"{second}.r3": (4,)}
    assert retried_rows(pool, f"{second}.r2", pool.committed()).tolist() == [1]
    assert statuses_of(pool, pool.committed()) == {"success": 7, "failed_to_download": 3}
    web.replies = lambda path: Reply(404)
    retry(pool, source)  # the last one is gone for good now
    assert retry(pool, source) == {}
    assert pool.settings("retries") == {"round": 5, "ended": True}


def test_a_round_that_was_killed_is_gone_on_with(tmp_path, web):
    """One unit was through, the other only planned: the first is not asked again in this round, although a row of it failed again."""
    pool, source = Pool(tmp_path / "data"), listed(tmp_path, web)
    fetch(pool, source)
    first, second = sorted(pool.committed())
    web.replies.down = False
    fetching = settings(retries=0)
    names = [name for name in (first, second) for name in followed_up(name, pool, begin_round(pool))]
    with beam.Pipeline(FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([f"{second}.r1"]) | FetchUnits(pool, RowReader(pool, fetching.identity()), fetching)
    assert pool.committed() == set(names) - {f"{first}.r1"}
    assert statuses_of(pool, pool.committed()) == {"success": 5, "failed_to_download": 5}, "what is only planned counts for nothing"
    fetch(pool, source)  # without --retry_failed: what is planned is fetched, and nothing new is planned
    assert pool.committed() == set(names)
    assert begin_round(pool) == 1
    assert retry(pool, source).keys() == {f"{first}.r1", f"{second}.r1"}
    assert retry(pool, source).keys() == {f"{second}.r2"}


def test_a_unit_that_is_not_committed_is_not_followed_up(tmp_path):
    pool = Pool(tmp_path / "data")
    assert followed_up(unit(0), pool, 1) == [unit(0)] and planned_follow_ups(pool) == {}


def test_a_plan_that_stands_is_adopted_and_one_that_is_gone_is_an_error(tmp_path):
    pool = make_pool(tmp_path, [[FAILED, DEAD]])
    plan = put_follow_up(pool, FollowUp(f"{unit(0)}.r1", unit(0), 1, (0,), {"failed_to_download": 1}))
    assert put_follow_up(pool, FollowUp(plan.unit, unit(0), 2, (0, 1))) == plan == follow_up(pool, plan.unit)
    with pytest.raises(PoolError, match="missing; restore it"):
        follow_up(pool, f"{unit(0)}.r2")


def test_a_follow_up_is_deferred_only_where_hosts_that_answered_before_are_silent():
    rows, gone, late = table_of([{"url": "x"}] * 25, SOURCE), Outcome("failed_to_download", "connect"), Outcome("postponed", "deadline")
    for outcomes, up, why in (
        ([gone] * 25, None, None),
        ([gone] * 25, True, None),
        ([gone] * 25, False, "all rows failed: connect 25; hosts that answered before do not answer either"),
        ([late] * 25, False, None),
        ([gone] * 12 + [Outcome("success")] * 13, False, None),
    ):
        assert why_deferred(rows, outcomes, lambda up=up: up, again=True) == why


def test_a_round_is_open_until_all_that_it_planned_is_fetched(tmp_path, web):
    pool, source = Pool(tmp_path / "data"), listed(tmp_path, web)
    fetch(pool, source)
    number = begin_round(pool)
    for name in sorted(pool.committed()):
        followed_up(name, pool, number)
    flags = ["--dataset", str(tmp_path / "data"), "--source", source, "--unit_size", "5", "--allow_private_hosts", "--stop_after", "fetch"]
    job = open_pool_job(parser().parse_with_beam([*flags, "--retry_failed"])[0])
    job.end_retrying()
    assert pool.settings("retries") == {"round": 1, "ended": False} and job.retry_round == 1
    assert sum(job.deferred().values()) == 4 and len(job.retried()) == 2
    fetch(pool, source, round=1)
    job.end_retrying()
    assert pool.settings("retries") == {"round": 1, "ended": True} and job.deferred() == {}


@pytest.fixture
def retried(tmp_path) -> Pool:
    """Rows 0, 2 and 3 were asked for again, 3 twice. 0 came as what row 1 of the other unit is; all captions of the unit are one."""
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
