"""Going on when a worker process died: the pool's graph is run again from its commits, as long as a unit is then tried in another way."""

from collections.abc import Callable

from pipelines.workers import WorkerDied
from schemas.attempts import TRIES, Attempts


def going_on(run: Callable[[], None], attempts: Attempts, *, tell: Callable[[str], None]) -> None:
    """Runs a graph whose steps note their attempts, and again after each WorkerDied that they explain.

    They do while a unit that did not end has been begun TRIES times at most: its next attempt is its second, or the one that takes it row by
    row. So no unit has the graph run again more than TRIES times; what ends a worker beyond that is raised. tell: for a person, a line each time.
    What an interruption ends is forgotten: it says nothing about the units.
    """
    before = attempts.noted()
    while True:
        try:
            run()
            attempts.put_back({})  # all is done: a process may have died between a unit's commit and the end of its note
            return
        except WorkerDied as error:
            noted = attempts.noted()
            open_ = {unit: count for unit, count in noted.items() if count <= TRIES and count > before.get(unit, 0)}
            if not open_:
                raise
            apart = sum(count == TRIES for count in open_.values())
            tell(f"a worker process {error.how}; going on from the commits, {apart} of {len(open_)} units that it left row by row")
            before = noted
        except KeyboardInterrupt:
            attempts.put_back(before)
            raise
