"""Running a graph again after a worker died: as long as attempts explain it, and no longer."""

import pytest

from pipelines.going_on import going_on
from pipelines.workers import WorkerDied
from schemas.attempts import FETCH, TRIES, Attempts
from schemas.store import Store


@pytest.fixture
def attempts(tmp_path):
    return Attempts(Store(tmp_path))


class Graph:
    """Begins `units` in turn, and dies at `killer` on its first `deaths` attempts; at each where that is None."""

    def __init__(self, attempts: Attempts, units: list[str], *, killer: str, deaths: int | None):
        self.attempts, self.units, self.killer, self.deaths = attempts, units, killer, deaths
        self.runs = 0
        self.tried: list[tuple[str, int]] = []

    def __call__(self) -> None:
        self.runs += 1
        for unit in list(self.units):
            before = self.attempts.begin(FETCH, unit)
            self.tried.append((unit, before))
            if unit == self.killer and (self.deaths is None or before < self.deaths):
                raise WorkerDied("was ended by SIGSEGV")
            self.attempts.end(FETCH, unit)
            self.units.remove(unit)  # committed


def test_the_third_attempt_is_the_one_row_by_row(attempts):
    graph, told = Graph(attempts, ["a", "b", "c"], killer="b", deaths=TRIES), []
    going_on(graph, attempts, tell=told.append)
    assert graph.tried == [("a", 0), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]
    assert told == [
        "a worker process was ended by SIGSEGV; going on from the commits, 0 of 1 units that it left row by row",
        "a worker process was ended by SIGSEGV; going on from the commits, 1 of 1 units that it left row by row",
    ]
    assert attempts.noted() == {}


def test_what_is_noted_of_units_that_are_done_goes_with_the_run(attempts):
    """A process died after the commit and before the note went; the unit was adopted by the next."""
    attempts.begin(FETCH, "committed")
    going_on(lambda: None, attempts, tell=lambda _: None)
    assert attempts.noted() == {}


def test_what_kills_row_by_row_too_is_raised(attempts):
    graph = Graph(attempts, ["a", "b"], killer="b", deaths=None)
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        going_on(graph, attempts, tell=lambda _: None)
    assert graph.runs == TRIES + 1


def test_a_death_that_no_unit_explains_is_raised_at_once(attempts):
    attempts.begin(FETCH, "of an earlier run")

    def dies() -> None:
        raise WorkerDied("was ended by SIGKILL")

    with pytest.raises(WorkerDied):
        going_on(dies, attempts, tell=lambda _: pytest.fail("went on"))
    assert attempts.noted() == {"fetch/of an earlier run": 1}


def test_an_interruption_is_no_unit_s_fault(attempts):
    attempts.begin(FETCH, "a")

    def interrupted() -> None:
        attempts.begin(FETCH, "a")
        attempts.begin(FETCH, "b")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        going_on(interrupted, attempts, tell=lambda _: None)
    assert attempts.noted() == {"fetch/a": 1}
