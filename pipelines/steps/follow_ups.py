"""Follow up: units bring their follow-ups along, and on request a new one of what failed in a way that can pass. See schemas.follow_ups."""

from collections import Counter
from collections.abc import Iterable

import apache_beam as beam

from pipelines.fetch.in_place import is_of_tar
from schemas.follow_ups import FollowUp, follow_up_name, follow_ups_of, put_follow_up
from schemas.pool import Pool
from schemas.reasons import can_pass


class FollowUps(beam.PTransform):
    """Adds to each unit its follow-ups, and with a `round` of retrying plans one more where any row's newest failure can pass.

    In: names of units. Out: the same, each followed by its follow-ups, committed or not. round: None plans nothing. A unit that is not
    committed is not followed up, and of a follow-up that is not committed none is planned: it is gone on with. Of tars of the user's only
    rows with a url are asked for.
    """

    def __init__(self, pool: Pool, *, round: int | None):
        super().__init__()
        self.pool, self.round = pool, round

    def expand(self, units: beam.PCollection[str]) -> beam.PCollection[str]:
        return units | "Plan" >> beam.FlatMap(followed_up, self.pool, self.round).with_output_types(str)


def followed_up(unit: str, pool: Pool, round: int | None) -> Iterable[str]:
    """The unit and its follow-ups, one that is planned now among them."""
    planned = follow_ups_of(pool, unit)
    plan = None if round is None else next_follow_up(unit, pool, round, planned)
    planned += [] if plan is None else [put_follow_up(pool, plan)]
    return [unit, *(each.unit for each in planned)]


def next_follow_up(unit: str, pool: Pool, round: int, planned: list[FollowUp]) -> FollowUp | None:
    """The follow-up that a round would add to a unit, if any. planned: those that it has. Puts nothing."""
    if planned and planned[-1].round >= round:
        return None
    names = [unit, *(each.unit for each in planned)]
    return _plan(pool, unit, planned, round) if all(pool.raw_commit(name) is not None for name in names) else None


def _plan(pool: Pool, unit: str, before: list[FollowUp], round: int) -> FollowUp | None:
    """The next follow-up of a unit, or None where no row's newest failure can pass. before: those that are committed."""
    newest = _ends(pool, unit)
    for each in before:
        for row, end in zip(each.rows, _ends(pool, each.unit), strict=True):
            newest[row] = end
    passing = [row for row, end in enumerate(newest) if can_pass(*end)]
    if passing and is_of_tar(pool, unit):  # what a tar of the user's lacks comes from its url, or never
        urls = pool.read_raw(unit, ["url"])["url"].to_pylist()
        passing = [row for row in passing if (urls[row] or "").strip()]
    if not passing:
        return None
    statuses = Counter(newest[row][0] for row in passing)
    return FollowUp(follow_up_name(unit, len(before) + 1), unit, round, tuple(passing), dict(sorted(statuses.items())))


def _ends(pool: Pool, unit: str) -> list[tuple[str, str | None]]:
    """(status, error_message) of each row."""
    raw = pool.read_raw(unit, ["status", "error_message"])
    return list(zip(raw["status"].to_pylist(), raw["error_message"].to_pylist(), strict=True))
