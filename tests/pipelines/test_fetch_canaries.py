"""Is it the hosts or our network? What answered before is asked again."""

import contextlib
from collections.abc import Iterator

import pytest

from pipelines.fetch.commit import why_deferred
from pipelines.fetch.loop import Engine
from pipelines.fetch.store import Outcome
from schemas.columns import SOURCE, table_of
from schemas.pool import Pool
from tests.pipelines.fetching import NO_LISTS, UNIT, Reply, Rows, Server, jpeg, of_urls, settings, submit

OTHER = UNIT[:-1] + "1"


@pytest.mark.parametrize(
    ("failed", "rows", "up", "deferred"),
    [
        (20, 20, None, "all rows failed: connect 20"),
        (19, 19, None, None),  # too few to know
        (19, 20, None, None),
        (3, 3, False, "all rows failed: connect 3; hosts that answered before do not answer either"),
        (12, 20, False, "12 of 20 rows failed: connect 12; hosts that answered before do not answer either"),
        (20, 20, True, None),  # it is the unit's hosts
        (10, 20, False, None),  # half of them came
    ],
)
def test_when_a_unit_is_deferred(failed, rows, up, deferred):
    outcomes = [Outcome("failed_to_download", "connect")] * failed + [Outcome("success")] * (rows - failed)
    assert why_deferred(table_of([{"url": "x"}] * rows, SOURCE), outcomes, lambda: up) == deferred


def test_nobody_is_asked_without_need():
    def asked() -> bool:
        raise AssertionError("asked")

    outcomes = [Outcome("failed_to_download", "http_404")] * 20
    assert why_deferred(table_of([{"url": "x"}] * 20, SOURCE), outcomes, asked) is None


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    made = Engine(settings(retries=0), NO_LISTS, threads=1)
    try:
        yield made
    finally:
        made.close()


def test_a_unit_whose_hosts_are_gone_is_committed_while_others_answer(tmp_path):
    pool = Pool(tmp_path)
    with Server({}) as gone:
        dead = [gone.url(f"/{row}") for row in range(30)]
    with Server({"/a": Reply(body=jpeg())}) as alive, engine() as fetching:
        rows = Rows({UNIT: of_urls([alive.url("/a")]), OTHER: of_urls(dead)})
        assert submit(fetching, pool, rows, UNIT).result(20)
        assert submit(fetching, pool, rows, OTHER).result(20)
    assert pool.raw_commit(OTHER).statuses == {"failed_to_download": 30}


def test_a_unit_is_deferred_while_what_answered_before_does_not(tmp_path):
    pool = Pool(tmp_path)
    with engine() as fetching:
        with Server({"/a": Reply(body=jpeg())}) as server:
            rows = Rows({UNIT: of_urls([server.url("/a")]), OTHER: of_urls([server.url("/b"), server.url("/c")])})
            assert submit(fetching, pool, rows, UNIT).result(20)
            port = server.port
        assert not submit(fetching, pool, rows, OTHER).result(20)
        assert pool.deferred()[OTHER]["why"] == "all rows failed: connect 2; hosts that answered before do not answer either"
    with Server({"/b": Reply(body=jpeg()), "/c": Reply(404)}, port=port), engine() as fetching:
        assert submit(fetching, pool, rows, OTHER).result(20)
    assert not pool.deferred() and pool.raw_commit(OTHER).statuses == {"failed_to_download": 1, "success": 1}
