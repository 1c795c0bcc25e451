"""The bound on failures: from a thousand pairs on, at more than the share, wherever the worker runs; what is committed stays."""

import csv
import pickle

import pytest

from pipelines.fetch.failures import ENOUGH, FailureLimit, TooManyFailures
from pipelines.fetch.store import Outcome
from schemas.pool import Pool
from tests.conftest import ingest
from tests.pipelines.fetching import UNIT, Reply, Server, jpeg


def counted(limit: FailureLimit, *outcomes: tuple[Outcome, int], unit: str = UNIT) -> None:
    every = [outcome for outcome, times in outcomes for _ in range(times)]
    assert limit.counting(unit, lambda outcomes, tar, up: len(outcomes) == len(every))(every, None, lambda: None)


CAME, GONE = Outcome("success"), Outcome("failed_to_download", "http_404")
LATE, HUGE = Outcome("postponed", "deadline"), Outcome("failed_to_resize", "pixels: 9 x 9")
OTHERS = [Outcome("refused", "private_address"), Outcome("blocked", "list"), Outcome("invalid", "no_url")]


def test_the_share_is_a_bound_that_may_be_met():
    limit = FailureLimit(0.5)
    counted(limit, (CAME, ENOUGH // 2), (GONE, ENOUGH // 2 - 1))
    limit.check()
    counted(limit, (LATE, 1))
    limit.check()
    counted(limit, (HUGE, 1))
    with pytest.raises(TooManyFailures) as raised:
        limit.check()
    assert str(raised.value).startswith(
        "501 of the 1,001 pairs that a worker asked for failed, more than --max_failure_rate 0.5 allows: http_404 499, deadline 1 (the unit's "
        "deadline passed), pixels 1 (the header announces more pixels than the cap). What is committed stays."
    )


def test_fewer_than_a_thousand_say_nothing():
    limit = FailureLimit(0.01)
    counted(limit, (GONE, ENOUGH - 1))
    limit.check()
    counted(limit, *((other, ENOUGH) for other in OTHERS))  # were not asked for
    limit.check()
    counted(limit, (GONE, ENOUGH), unit=f"{UNIT}.r1")  # had failed before
    limit.check()
    counted(limit, (GONE, 1))
    with pytest.raises(TooManyFailures, match="1,000 of the 1,000"):
        limit.check()


def test_pickles_count_together_and_runs_apart():
    limit, other = FailureLimit(0.5), FailureLimit(0.5)
    for _ in range(2):
        counted(pickle.loads(pickle.dumps(limit)), (GONE, ENOUGH // 2))
    with pytest.raises(TooManyFailures):
        limit.check()
    other.check()


def test_no_bound_and_bounds_that_are_none():
    limit = FailureLimit(None)
    counted(limit, (GONE, 2 * ENOUGH))
    limit.check()
    for wrong in (0, -1, 1.01):
        with pytest.raises(ValueError, match="max_failure_rate"):
            FailureLimit(wrong)


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_a_job_stops_and_keeps_what_is_committed(tmp_path, mode):
    rows = 4 * ENOUGH
    with Server(lambda path: Reply(404) if int(path[1:]) % 4 else Reply(body=jpeg())) as server:
        with (tmp_path / "pairs.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("url", "caption"), *((server.url(f"/{row}"), f"picture {row}") for row in range(rows))])
        flags = ("--dataset", tmp_path / "data", "--source", tmp_path / "pairs.csv", "--unit_size", "250", "--running_mode", mode)
        flags += ("--workers", "1", "--allow_private_hosts", "--stop_after", "fetch", "--connections_per_host", "64", "--units_ahead", "1")
        run = ingest(*flags, "--max_failure_rate", "0.5")
        assert run.returncode == 4, run.stderr
        assert run.stderr.startswith(
            "pigment: error: 750 of the 1,000 pairs that a worker asked for failed, more than --max_failure_rate 0.5"
        )
        assert run.stderr.count("\n") == 1 and "http_404 750" in run.stderr
        pool = Pool(tmp_path / "data")
        committed = pool.committed()
        assert 4 <= len(committed) <= 6 and len(server.log) < rows / 2
        assert list(pool.store.list("pool/attempts")) == [], "it was given up in good order: no unit is taken for one that crashes"
        again = ingest(*flags, "--max_failure_rate", "0.75")
        assert again.returncode == 0, again.stderr
        assert len(pool.committed()) == 16 and committed < pool.committed()
