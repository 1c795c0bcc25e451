"""Asking again for what failed: which rows, by which names, and once a round, whatever is killed."""

from dataclasses import replace

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.fetch.commit import why_deferred
from pipelines.fetch.store import Outcome
from pipelines.flags import parser
from pipelines.pool_job import open_pool_job
from pipelines.sources.listing import list_source
from pipelines.sources.rows import RowReader
from pipelines.steps.fetch_units import FetchUnits
from pipelines.steps.follow_ups import FollowUps, followed_up
from pipelines.steps.read_units import ReadUnits
from schemas.columns import SOURCE, table_of
from schemas.follow_ups import (
    FollowUp,
    Planned,
    begin_round,
    end_round,
    follow_up,
    follow_ups_of,
    planned_follow_ups,
    put_follow_up,
    retried_rows,
    statuses_of,
)
from schemas.pool import Pool
from schemas.reasons import can_pass
from schemas.units import PoolError, base_of, number_of, split_unit
from tests.pipelines.fetching import Reply, Server, jpeg, settings
from tests.pools import make_pool, unit

FAILED = {"status": "failed_to_download", "error_message": "http_503"}
DEAD = {"status": "failed_to_download", "error_message": "http_404"}


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
    return {name: follow_up(pool, name) for name, plan in planned_follow_ups(pool).items() if plan.round == number}


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


def test_plans_are_counted_and_read_once(tmp_path):
    pool, first, second = Pool(tmp_path / "data"), f"{unit(0)}.r1", f"{unit(0)}.r2"
    put_follow_up(pool, FollowUp(first, unit(0), 1, (0, 2, 3)))
    known = planned_follow_ups(pool)
    assert known == {first: Planned(1, 3)}
    put_follow_up(pool, FollowUp(second, unit(0), 4, (2,)))
    pool.store.put(f"pool/retries/{first}.json", b"not read again")
    assert planned_follow_ups(pool, known) == {first: Planned(1, 3), second: Planned(4, 1)}
    pool.store.delete(f"pool/retries/{first}.json")
    assert planned_follow_ups(pool, known) == {second: Planned(4, 1)}, "what is gone is not planned"


def test_the_tenth_follow_up_comes_after_the_ninth(tmp_path):
    pool = Pool(tmp_path / "data")
    names = [f"{unit(chunk)}.r{number}" for chunk in (0, 1) for number in range(1, 12)]
    for name in reversed(names):
        put_follow_up(pool, FollowUp(name, base_of(name), number_of(name), (0,)))
    assert list(planned_follow_ups(pool)) == names
    assert [plan.unit for plan in follow_ups_of(pool, unit(1))] == names[11:]


def test_a_follow_up_is_deferred_only_where_hosts_that_answered_before_are_silent():
    rows, gone, late = table_of([{"url": "x"}] * 25, SOURCE), Outcome("failed_to_download", "connect"), Outcome("postponed", "deadline")
    for outcomes, up, why in (
        ([gone] * 25, None, None),
        ([gone] * 25, True, None),
        ([gone] * 25, False, "all rows failed: connect 25; hosts that answered before do not answer either"),
        ([late] * 25, True, None),
        ([late] * 25, False, "25 of 25 rows were postponed at the unit's deadline; hosts that answered before do not answer either"),
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


def test_a_round_that_a_plain_run_finishes_has_ended(tmp_path, web):
    """Else the next --retry_failed would go on with it: plan nothing, and tell its figures as new ones."""
    pool, source = Pool(tmp_path / "data"), listed(tmp_path, web)
    fetch(pool, source)
    first, second = sorted(pool.committed())
    number = begin_round(pool)
    for name in (first, second):
        followed_up(name, pool, number)
    web.replies.down = False
    flags = ["--dataset", str(tmp_path / "data"), "--source", source, "--unit_size", "5", "--allow_private_hosts"]
    job = open_pool_job(parser().parse_with_beam([*flags, "--stop_after", "fetch"])[0])
    assert job.retry_round is None
    job.end_retrying()
    assert pool.settings("retries") == {"round": 1, "ended": False}, "nothing of it is fetched yet"
    fetch(pool, source)
    replace(job, fetches=False).end_retrying()
    assert pool.settings("retries") == {"round": 1, "ended": False}, "who does not fetch ends nothing"
    job.end_retrying()
    assert pool.settings("retries") == {"round": 1, "ended": True}
    assert {name: plan.rows for name, plan in retry(pool, source).items()} == {f"{second}.r2": (4,)}
