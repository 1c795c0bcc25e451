"""Follow-up units: the rows of a unit that failed in a way that can pass, asked for again. They replace nothing.

    pool/retries.json               the round of retrying that was begun last, and whether it has ended
    pool/retries/<unit>.rN.json     the plan of a follow-up: which rows of the unit it holds, and how these had ended before

The N-th follow-up of a unit is `<unit>.rN`, a unit like any other: fetched, committed, scored, decided about. A row's newest status counts: a
row that a committed follow-up holds is decided there and nowhere else. A follow-up that is planned and not committed counts for nothing.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from schemas.pool import Pool
from schemas.units import PoolError, base_of, number_of


@dataclass(frozen=True)
class FollowUp:
    """The plan of a follow-up.

    base: the unit whose rows it holds. round: of retrying, from 1. rows: their numbers in `base`, ascending; row i of the follow-up is rows[i].
    statuses: how many of them had each fetch status before.
    """

    unit: str
    base: str
    round: int
    rows: tuple[int, ...]
    statuses: Mapping[str, int] = field(default_factory=dict)


def follow_up_name(base: str, number: int) -> str:
    """The name of a unit's follow-up, numbered from 1."""
    return f"{base}.r{number}"


def put_follow_up(pool: Pool, plan: FollowUp) -> FollowUp:
    """Puts the plan unless one of that name stands; returns the one that stands."""
    pool.store.put_new(f"pool/retries/{plan.unit}.json", json.dumps(asdict(plan), sort_keys=True).encode())
    return follow_up(pool, plan.unit)


def put_statuses(pool: Pool, plan: FollowUp) -> None:
    """Puts a plan in place of the one that stands, which differs in `statuses` alone (pipelines.forget)."""
    pool.store.put(f"pool/retries/{plan.unit}.json", json.dumps(asdict(plan), sort_keys=True).encode())


def follow_up(pool: Pool, unit: str) -> FollowUp:
    """The plan of a follow-up. Raises PoolError when there is none."""
    try:
        data = json.loads(pool.store.read(f"pool/retries/{unit}.json"))
    except FileNotFoundError as error:
        raise PoolError(
            f"{pool.store.path_of(f'pool/retries/{unit}.json')} is missing; restore it: it says which rows {unit} holds"
        ) from error
    return FollowUp(**{**data, "rows": tuple(data["rows"])})


def follow_ups_of(pool: Pool, base: str) -> list[FollowUp]:
    """All planned follow-ups of a unit, in order. Of them only the last may be uncommitted."""
    found = list[FollowUp]()
    while pool.store.exists(f"pool/retries/{(name := follow_up_name(base, len(found) + 1))}.json"):
        found.append(follow_up(pool, name))
    return found


@dataclass(frozen=True, slots=True)
class Planned:
    """A planned follow-up by its figures. round: as FollowUp has it. rows: how many it holds."""

    round: int
    rows: int


def planned_follow_ups(pool: Pool, known: Mapping[str, Planned] | None = None) -> dict[str, Planned]:
    """All planned follow-ups of the pool, by name, in order: of each unit the first, the second, …

    known: what an earlier call gave. A plan never changes, so what is known is not read again; rows are counted and not kept.
    """
    known = known or {}
    names = [Path(path).stem for path, _ in pool.store.list("pool/retries")]
    return {name: known.get(name) or _figures(pool, name) for name in sorted(names, key=lambda name: (base_of(name), number_of(name)))}


def _figures(pool: Pool, unit: str) -> Planned:
    plan = follow_up(pool, unit)
    return Planned(plan.round, len(plan.rows))


def retried_rows(pool: Pool, unit: str, units: Collection[str]) -> np.ndarray:
    """Rows of a unit, or of a follow-up, that a later follow-up among `units` holds: int64, ascending. Their place is there."""
    base, number = base_of(unit), number_of(unit)
    later = set[int]()
    while (name := follow_up_name(base, number + 1)) in units:
        later.update(follow_up(pool, name).rows)
        number += 1
    if not later or unit == base:
        return np.array(sorted(later), np.int64)
    return np.array([place for place, row in enumerate(follow_up(pool, unit).rows) if row in later], np.int64)


def newest_places(pool: Pool, unit: str, units: Collection[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Where the rows of a unit, or of a follow-up, are newest among `units`: each is in one place there, or in none.

    Out: for each unit that holds some of them, which rows these are here, and which there: int64.
    """
    base = base_of(unit)
    commit = pool.raw_commit(unit)
    assert commit is not None
    rows = np.array(follow_up(pool, unit).rows if number_of(unit) else range(commit.rows), np.int64)
    chain = [base]
    while (name := follow_up_name(base, len(chain))) in units:
        chain.append(name)
    found, open_ = dict[str, tuple[np.ndarray, np.ndarray]](), np.ones(len(rows), bool)
    for name in reversed(chain):
        if name in units:
            held = np.array(follow_up(pool, name).rows, np.int64) if number_of(name) else None
            here = np.flatnonzero(open_ if held is None else open_ & np.isin(rows, held))
            there = rows[here] if held is None else np.searchsorted(held, rows[here])
            open_[here] = False
            if len(here):
                found[name] = here, there
    return found


def statuses_of(pool: Pool, units: Iterable[str]) -> Counter[str]:
    """Rows of committed units by fetch status. Of a row that a follow-up among them holds, its newest status alone counts."""
    statuses = Counter[str]()
    for unit in units:
        commit = pool.raw_commit(unit)
        if commit is not None:
            statuses.update(commit.statuses)
            if number_of(unit):
                statuses.subtract(follow_up(pool, unit).statuses)
    return +statuses


def open_round(pool: Pool) -> int | None:
    """The round of retrying that was begun and has not ended."""
    known = pool.settings("retries")
    return None if known is None or known["ended"] else known["round"]


def next_round(pool: Pool) -> int:
    """The round of retrying that would be worked on now: the one that was begun and has not ended, else a new one."""
    if (standing := open_round(pool)) is not None:
        return standing
    known = pool.settings("retries")
    return 1 if known is None else known["round"] + 1


def begin_round(pool: Pool) -> int:
    """The round of retrying to work on: the one that was begun and has not ended, else a new one.

    So a run that goes on where another was killed asks again for what that one had not asked for yet, and for nothing twice.
    """
    number = next_round(pool)
    if open_round(pool) is None:
        pool.replace_settings("retries", {"round": number, "ended": False})
    return number


def end_round(pool: Pool, number: int) -> None:
    """Notes that all units of the round are through."""
    pool.replace_settings("retries", {"round": number, "ended": True})
