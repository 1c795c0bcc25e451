"""From reviews/tasks.parquet to the database: new tasks are added, known ones stay, what is on a block list is taken out."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq
from sqlalchemy import Connection, and_, delete, func, insert, literal, null, select, update

from quality.command import UsageError
from quality.review.server.audit import Actor, record
from quality.review.server.database import Database
from quality.review.server.models import seats, skips, tasks
from quality.review.server.settings import put_value, read_settings, value_of
from quality.review.server.texts import storable
from schemas.pool import Pool
from schemas.reasons import VERDICTS, check_reason
from schemas.reviews import KEEP, QUEUES, TASKS, TASKS_PATH
from schemas.store import is_url
from schemas.units import PoolError, split_unit

if TYPE_CHECKING:  # it needs numba, whose import is a sixth of the server's start (CPU time, measured)
    from quality.review.server.listed import ListedPairs

_ROWS: Final = 2000  # at a time
_STAMP: Final = "tasks"  # setting: what was loaded last
_MOVES: Final = ("tar", "offset", "size", "sampling_probability")  # what is told anew about a task that is known
# What is told about a pair: taken away when it is found on a block list. Its task's identity, unit and row are left.
_TOLD: Final = (
    "uid", "caption", "license", "license_url", "creator", "title", "source_page", "value", "bound", "tar", "offset", "size", "reasons",
)  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """added: new tasks. blocked: tasks that are not shown because a block list names their pair, new or known."""

    added: int
    blocked: int
    total: int


def load_tasks(database: Database, pool: Pool, listed: "ListedPairs | None" = None) -> Loaded:
    """Reads the table of tasks, unless it and the block lists are those of the last time. A task that the table has no more is gone, but for
    what people have answered.

    listed: tells which tasks are about pairs on a list; None where there are no lists. Raises UsageError where the table is missing or broken.
    """
    added, there, stamp = 0, set[str](), f"{_sha256(pool)} {listed and listed.digest}"
    with database.read() as connection:
        is_known = value_of(connection, _STAMP) == stamp
    for rows in () if is_known else _read(pool):
        on_list = listed(rows) if listed else set()
        there.update(row["task"] for row in rows)
        with database.write() as connection:
            added += _add(connection, [row for row in rows if row["task"] not in on_list])
    if not is_known:
        with database.write() as connection:
            _remove(connection, there)
    with database.read() as connection:
        known = [dict(row) for row in connection.execute(select(tasks).where(~tasks.c.blocked)).mappings()] if listed else []
    on_list = listed(known) if listed else set()
    with database.write() as connection:
        for task in sorted(on_list):
            connection.execute(update(tasks).where(tasks.c.task == task).values(blocked=True, **dict.fromkeys(_TOLD, null())))
            connection.execute(update(seats).where(seats.c.task == task, seats.c.state != "answered").values(state="closed"))
        overlap(connection, read_settings(connection).overlap_share)
        total, blocked = (
            connection.execute(select(func.count()).select_from(tasks).where(tasks.c.blocked.is_(state))).scalar_one()
            for state in (False, True)
        )
        if added or on_list:
            record(connection, Actor(), "tasks", detail={"added": added, "blocked": len(on_list)})
        if not is_known:
            put_value(connection, _STAMP, stamp)
    return Loaded(added, blocked, total)


def overlap(connection: Connection, share: float) -> None:
    """Gives the tasks whose draw is below `share` a second seat, and takes second seats that nobody took from the others.

    Tasks that ask for several people by themselves, gold items and tasks that somebody has judged already keep what they have.
    """
    one = and_(tasks.c.overlap == 1, tasks.c.queue != "gold", ~tasks.c.blocked, tasks.c.state == "pending")
    seated = select(seats.c.task).group_by(seats.c.task)
    single = tasks.c.task.in_(seated.having(func.count() == 1))
    values = (literal("free"), literal(False))
    more = select(tasks.c.task, tasks.c.queue, tasks.c.order, *values).where(one, tasks.c.draw < share, single)
    connection.execute(insert(seats).from_select(["task", "queue", "order", "state", "revealed"], more))
    spare = select(tasks.c.task).where(one, tasks.c.draw >= share, tasks.c.task.in_(seated.having(func.count() == 2)))
    last = select(func.max(seats.c.id)).where(seats.c.state == "free", seats.c.task.in_(spare)).group_by(seats.c.task)
    connection.execute(delete(seats).where(seats.c.id.in_(last)))


def _remove(connection: Connection, there: set[str]) -> None:
    """Removes tasks that are not `there` and that nobody has answered; of others nobody is asked any more."""
    gone = sorted(set(connection.execute(select(tasks.c.task)).scalars()) - there)
    for start in range(0, len(gone), _ROWS):
        some = gone[start : start + _ROWS]
        has_answer = select(seats.c.task).where(seats.c.task.in_(some), seats.c.state == "answered")
        is_settled = select(tasks.c.task).where(tasks.c.task.in_(some), tasks.c.adjudication.is_not(None))
        kept = {*connection.execute(has_answer).scalars(), *connection.execute(is_settled).scalars()}
        bare = [task for task in some if task not in kept]
        for table in (seats, skips, tasks):
            connection.execute(delete(table).where(table.c.task.in_(bare)))
        connection.execute(update(seats).where(seats.c.task.in_(kept), seats.c.state != "answered").values(state="closed"))


def draw_of(task: str) -> float:
    """0..1, uniform over tasks: SHA-256 of "overlap:<task>"."""
    return int.from_bytes(hashlib.sha256(f"overlap:{task}".encode()).digest()[:8]) / 2**64


def _sha256(pool: Pool) -> str:
    try:
        with pool.store.open(TASKS_PATH) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # an Arrow file is one
    except FileNotFoundError:
        where, command = pool.store.path_of(TASKS_PATH), f"python -m quality.review tasks --dataset {pool.store.root}"
        raise UsageError(f"{where} is not there; make it first: {command}") from None


def _read(pool: Pool) -> Iterator[list[dict[str, Any]]]:
    where = pool.store.path_of(TASKS_PATH)
    user_tar = lru_cache(maxsize=None)(partial(_user_tar, pool))
    try:
        with pool.store.open(TASKS_PATH) as file:
            parquet = pq.ParquetFile(file)
            missing = [name for name in TASKS.names if name not in parquet.schema_arrow.names]
            if missing:
                raise UsageError(f"{where} has no column {missing[0]}; make it again: python -m quality.review tasks")
            for batch in parquet.iter_batches(_ROWS, columns=TASKS.names, use_threads=False):
                rows = batch.to_pylist()
                for row in rows:
                    problem = _problem(row, user_tar)
                    if problem is not None:
                        raise UsageError(f"{where}, task {row['task']!r}: {problem}; make it again: python -m quality.review tasks")
                yield rows
    except (OSError, ValueError) as error:  # pyarrow's errors of broken files
        raise UsageError(f"{where}: {str(error).splitlines()[0]}; make it again: python -m quality.review tasks") from error


def _problem(row: Mapping[str, Any], user_tar: Callable[[str], str | None]) -> str | None:
    """What is wrong with a task, or None. The path is checked as if a stranger had written it: one that leaves the dataset has to be that of
    a tar of the user's from which the pair's unit was taken in place."""
    try:
        if row["question"] != KEEP:
            check_reason(row["question"] or "")
        for reason in row["reasons"] or ():
            check_reason(reason)
    except ValueError as error:
        return str(error)
    tar = PurePosixPath(row["tar"] or "/")
    checks = {
        "task is not 32 hex digits": len(row["task"] or "") == 32 and set(row["task"]) <= set("0123456789abcdef"),
        "uid is missing": bool(row["uid"]) and len(row["uid"]) <= 64,
        f"queue is not one of {', '.join(QUEUES)}": row["queue"] in QUEUES,
        f"verdict is not one of {', '.join(VERDICTS)}": row["verdict"] in VERDICTS,
        "gold is neither yes nor no": (row["gold"] in ("yes", "no")) == (row["queue"] == "gold"),
        "overlap is below 1": (row["overlap"] or 0) >= 1,
        "order is missing": row["order"] is not None,
        "unit or row is missing": bool(row["unit"]) and row["row"] is not None and row["row"] >= 0,
        "tar is no path of a tar below the dataset": tar.suffix == ".tar"
        and ".." not in tar.parts
        and (not (tar.is_absolute() or is_url(row["tar"])) or row["tar"] == user_tar(row["unit"] or "")),
        "offset or size is missing": (row["offset"] or 0) > 0 and (row["size"] or 0) > 0,
    }
    return next((text for text, fine in checks.items() if not fine), None)


def _user_tar(pool: Pool, unit: str) -> str | None:
    """The user's tar that the pool's commit of a unit names; None where it names none."""
    try:
        split_unit(unit)
    except PoolError:
        return None
    commit = pool.raw_commit(unit)
    return None if commit is None or commit.user_tar is None else commit.user_tar.path


def _add(connection: Connection, rows: list[dict[str, Any]]) -> int:
    """Adds the tasks that are new; a known one whose pair lies elsewhere now, or that is sampled otherwise, is told so. Returns how many are new."""
    places = {
        row.task: tuple(row[1:])
        for row in connection.execute(
            select(tasks.c.task, *(tasks.c[name] for name in _MOVES)).where(tasks.c.task.in_([row["task"] for row in rows]))
        )
    }
    for row in rows:
        place = {name: row[name] for name in _MOVES}
        if row["task"] in places and places[row["task"]] != tuple(place.values()):
            connection.execute(update(tasks).where(tasks.c.task == row["task"], ~tasks.c.blocked).values(**place))
    new = list({row["task"]: row for row in rows if row["task"] not in places}.values())
    if new:
        more = {"state": "pending", "blocked": False, "adjudication": None}
        connection.execute(insert(tasks), [{**_storable(row), **more, "draw": draw_of(row["task"])} for row in new])
        places_to_sit = [
            {"task": row["task"], "queue": row["queue"], "order": row["order"], "state": "free", "revealed": False}
            for row in new
            if row["queue"] != "gold"
            for _ in range(row["overlap"])
        ]
        if places_to_sit:
            connection.execute(insert(seats), places_to_sit)
    return len(new)


def _storable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: storable(value) if isinstance(value, str) else value for name, value in row.items()}
