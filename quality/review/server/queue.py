"""Who gets which task next. One statement reserves a seat, so that no two people get the same one.

The statements are made once, with names for their values: to make one takes longer than to run it.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, exists, insert, literal, null, or_, select, update

from quality.review.server.database import now_ms
from quality.review.server.models import accounts, seats, skips, tasks
from quality.review.server.settings import Settings

_ACCOUNT: Final[ColumnElement[int]] = bindparam("person", type_=accounts.c.id.type)
_NOW: Final[ColumnElement[int]] = bindparam("now", type_=seats.c.since.type)
_UNTIL: Final[ColumnElement[int]] = bindparam("end", type_=seats.c.until.type)


@dataclass(frozen=True)
class Next:
    """task: the row of models.tasks to show, or None. rest: minutes until there are images again. full: the person holds as many items
    as one may; None, 0 and False: nothing is left."""

    task: Row | None = None
    rest: int = 0
    full: bool = False


def next_task(connection: Connection, account: int, shown: list[str], settings: Settings) -> Next:
    """The oldest item that the person holds and that is not in `shown`, else a new one. shown: tasks that the browser has already."""
    now = now_ms()
    values = {"person": account, "now": now, "end": now + settings.timeout_minutes * 60_000}
    person = connection.execute(_PERSON, {"person": account}).one()
    held = connection.execute(_HELD, {"person": account}).all()
    for row in held:
        if row.task not in shown:
            connection.execute(_RENEW, {"item": row.task, "person": account, "end": values["end"]})
            return Next(row)
    if len(held) >= settings.held:
        return Next(full=True)
    rest_ms = settings.rest_minutes * 60_000
    rested = now - person.last_shown >= rest_ms
    if not rested and person.shown >= settings.exposure_cap:
        return Next(rest=max(1, -(-(person.last_shown + rest_ms - now) // 60_000)))
    found = None
    if _draw(account, person.dealt) < settings.gold_share:
        found = connection.execute(_DEAL_GOLD, values).scalar()
    for take in (_DEAL_FREE, _DEAL_LATE):
        if found is None:
            found = connection.execute(take, {**values, "queues": settings.queues}).scalar()
    if found is None:
        return Next()
    connection.execute(_COUNT, {"person": account, "now": now, "images": 1 if rested else person.shown + 1})
    return Next(connection.execute(_TASK, {"item": found}).one())


def _draw(account: int, dealt: int) -> float:
    """0..1, the same for the same item number of the same person."""
    return int.from_bytes(hashlib.sha256(f"{account}:{dealt}".encode()).digest()[:8]) / 2**64


# The account's row is locked: two windows of one person wait for each other, and count right.
_PERSON: Final = select(accounts.c.shown, accounts.c.last_shown, accounts.c.dealt).where(accounts.c.id == _ACCOUNT).with_for_update()
_COUNT: Final = (
    update(accounts).where(accounts.c.id == _ACCOUNT).values(shown=bindparam("images"), last_shown=_NOW, dealt=accounts.c.dealt + 1)
)
_TASK: Final = select(tasks).where(tasks.c.task == bindparam("item"))
_MINE: Final = and_(seats.c.account == _ACCOUNT, seats.c.state == "reserved")
_HELD: Final = select(tasks).join(seats, seats.c.task == tasks.c.task).where(_MINE).order_by(seats.c.since, seats.c.id)
_RENEW: Final = update(seats).where(_MINE, seats.c.task == bindparam("item")).values(until=_UNTIL)


def _deal(is_open: ColumnElement[bool], *order: ColumnElement) -> Any:
    """Reserves the first seat in this order that is open, at a task that the person has not had; returns the task."""
    own = seats.alias("own")
    seat = (
        select(seats.c.id)
        .where(is_open, seats.c.queue.in_(bindparam("queues", expanding=True)))
        .where(~exists().where(own.c.task == seats.c.task, own.c.account == _ACCOUNT))
        .where(~exists().where(skips.c.task == seats.c.task, skips.c.account == _ACCOUNT))
        .order_by(*order)
        .limit(1)
        .with_for_update(skip_locked=True, of=seats)
    )
    return (
        update(seats)
        .where(seats.c.id == seat.scalar_subquery(), is_open)  # is_open again: PostgreSQL re-reads a row that has just changed
        .values(state="reserved", account=_ACCOUNT, since=_NOW, until=_UNTIL, revealed=False)
        .returning(seats.c.task)
    )


def _deal_gold() -> Any:
    """Makes the person a seat at the first gold item that they had not yet, and returns it: everybody may answer each."""
    had: ColumnElement[bool] = or_(
        exists().where(seats.c.task == tasks.c.task, seats.c.account == _ACCOUNT),
        exists().where(skips.c.task == tasks.c.task, skips.c.account == _ACCOUNT),
    )
    values: tuple[Any, ...] = (literal("reserved"), _ACCOUNT, _NOW, _UNTIL, literal(False), null())
    chosen = (
        select(tasks.c.task, tasks.c.queue, tasks.c.order, *values)
        .where(tasks.c.queue == "gold", ~tasks.c.blocked, ~had)
        .order_by(tasks.c.order, tasks.c.task)
        .limit(1)
    )
    columns = ["task", "queue", "order", "state", "account", "since", "until", "revealed", "record"]
    return insert(seats).from_select(columns, chosen).returning(seats.c.task)


_DEAL_GOLD: Final = _deal_gold()
_DEAL_FREE: Final = _deal(seats.c.state == "free", seats.c.order, seats.c.queue, seats.c.id)  # models: the index seats_in_order
_DEAL_LATE: Final = _deal(and_(seats.c.state == "reserved", seats.c.until < _NOW), seats.c.until, seats.c.id)  # whose time is up
