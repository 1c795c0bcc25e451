"""Who gets which task next. One statement reserves a seat, so that no two people get the same one."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, insert, literal, null, or_, select, update

from quality.review.server.database import now_ms
from quality.review.server.models import accounts, seats, skips, tasks
from quality.review.server.settings import Settings


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
    # The account's row is locked: two windows of one person wait for each other, and count right.
    person = connection.execute(select(accounts).where(accounts.c.id == account).with_for_update()).one()
    held = connection.execute(
        select(seats.c.task).where(seats.c.account == account, seats.c.state == "reserved").order_by(seats.c.since, seats.c.id)
    ).scalars()
    mine = list(held)
    until = now + settings.timeout_minutes * 60_000
    for task in mine:
        if task not in shown:
            renew(connection, account, task, until)
            return Next(task_of(connection, task))
    if len(mine) >= settings.held:
        return Next(full=True)
    rest_ms = settings.rest_minutes * 60_000
    rested = now - person.last_shown >= rest_ms
    if not rested and person.shown >= settings.exposure_cap:
        return Next(rest=max(1, -(-(person.last_shown + rest_ms - now) // 60_000)))
    found = None
    if _draw(account, person.dealt) < settings.gold_share:
        found = _deal_gold(connection, account, now, until)
    found = found or _deal(connection, account, settings.queues, now, until)
    if found is None:
        return Next()
    connection.execute(
        update(accounts)
        .where(accounts.c.id == account)
        .values(shown=1 if rested else accounts.c.shown + 1, last_shown=now, dealt=accounts.c.dealt + 1)
    )
    return Next(task_of(connection, found))


def task_of(connection: Connection, task: str) -> Row:
    return connection.execute(select(tasks).where(tasks.c.task == task)).one()


def renew(connection: Connection, account: int, task: str, until: int) -> None:
    mine = and_(seats.c.task == task, seats.c.account == account, seats.c.state == "reserved")
    connection.execute(update(seats).where(mine).values(until=until))


def _draw(account: int, dealt: int) -> float:
    """0..1, the same for the same item number of the same person."""
    return int.from_bytes(hashlib.sha256(f"{account}:{dealt}".encode()).digest()[:8]) / 2**64


def _deal(connection: Connection, account: int, queues: tuple[str, ...], now: int, until: int) -> str | None:
    """Reserves the first free seat; where there is none, one whose time is up."""
    for is_open, columns in (
        (seats.c.state == "free", (seats.c.order, seats.c.queue, seats.c.id)),
        (and_(seats.c.state == "reserved", seats.c.until < now), (seats.c.until, seats.c.id)),
    ):
        own = seats.alias("own")
        seat = (
            select(seats.c.id)
            .where(is_open, seats.c.queue.in_(queues))
            .where(~exists().where(own.c.task == seats.c.task, own.c.account == account))
            .where(~exists().where(skips.c.task == seats.c.task, skips.c.account == account))
            .order_by(*columns)
            .limit(1)
            .with_for_update(skip_locked=True, of=seats)
        )
        take = (
            update(seats)
            .where(seats.c.id == seat.scalar_subquery(), is_open)  # is_open again: PostgreSQL re-reads a row that has just changed
            .values(state="reserved", account=account, since=now, until=until, revealed=False)
            .returning(seats.c.task)
        )
        found = connection.execute(take).scalar()
        if found is not None:
            return found
    return None


def _deal_gold(connection: Connection, account: int, now: int, until: int) -> str | None:
    """Makes the person a seat at a gold item that they had not yet: everybody may answer each."""
    had: ColumnElement[bool] = or_(
        exists().where(seats.c.task == tasks.c.task, seats.c.account == account),
        exists().where(skips.c.task == tasks.c.task, skips.c.account == account),
    )
    values: tuple[Any, ...] = (literal("reserved"), literal(account), literal(now), literal(until), literal(False), null())
    chosen: Select = (
        select(tasks.c.task, tasks.c.queue, tasks.c.order, *values)
        .where(tasks.c.queue == "gold", ~tasks.c.blocked, ~had)
        .order_by(tasks.c.order, tasks.c.task)
        .limit(1)
    )
    columns = ["task", "queue", "order", "state", "account", "since", "until", "revealed", "record"]
    return connection.execute(insert(seats).from_select(columns, chosen).returning(seats.c.task)).scalar()
