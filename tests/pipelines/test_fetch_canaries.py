"""Is it the hosts or our network? What answered before is asked again."""

import contextlib
from collections.abc import Iterator

import pytest

from pipelines.fetch.commit import why_deferred
from pipelines.fetch.loop import Engine
from pipelines.fetch.store import Outcome, Took
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


DOWN = "hosts that answered before do not answer either"
LATE = "were postponed at the unit's deadline"


@pytest.mark.parametrize(
    ("came", "gone", "late", "up", "deferred"),
    [
        (1, 0, 19, True, None),  # what came is kept: the unit is slow
        (1, 0, 19, None, None),
        (1, 0, 19, False, f"19 of 20 rows {LATE}; {DOWN}"),
        (0, 0, 20, True, f"20 of 20 rows {LATE}"),
        (0, 9, 11, True, f"9 of 20 rows failed: connect 9; 11 of 20 rows {LATE}"),
        (0, 11, 9, True, None),  # it is the unit's hosts
        (0, 11, 9, None, f"11 of 20 rows failed: connect 11; 9 of 20 rows {LATE}"),
        (0, 11, 8, None, None),  # too few to know
        (4, 8, 8, True, None),
        (4, 8, 8, False, f"8 of 20 rows failed: connect 8; 8 of 20 rows {LATE}; {DOWN}"),
        (10, 0, 10, False, None),  # half of them came
    ],
)
def test_a_unit_that_is_late_is_deferred_only_where_nothing_came_or_the_network_is_down(came, gone, late, up, deferred):
    silent = [Outcome("failed_to_download", "connect")] * gone + [Outcome("postponed", "deadline")] * late
    rows = table_of([{"url": "x"}] * (came + gone + late), SOURCE)
    for answer in (Outcome("success"), Outcome("failed_to_download", "http_404"), Outcome("failed_to_resize", "undecodable")):
        assert why_deferred(rows, [answer] * came + silent, lambda: up) == deferred


def test_a_refusal_is_an_answer_only_where_one_was_asked():
    took = Took("a.test", 0, 0.1, 1, 100)
    late, rows = [Outcome("postponed", "deadline")] * 19, table_of([{"url": "x"}] * 20, SOURCE)
    for refused, deferred in (
        (Outcome("refused", "optout: robots:*"), True),
        (Outcome("refused", "optout: x-robots-tag:noai", took=took), False),
        (Outcome("refused", "private_address", took=took), True),
    ):
        assert (why_deferred(rows, [refused, *late], lambda: True) is not None) == deferred


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
