"""What the lead sees of the work under way: progress by queue, agreement by question, people, known answers missed."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from sqlalchemy import Connection, Row, and_, case, func, select

from quality.review.server.agreement import Alpha, counts_of, kappas, krippendorff, raw_agreement
from quality.review.server.answers import STATES
from quality.review.server.database import now_ms
from quality.review.server.models import accounts, journal, seats, tasks
from schemas.reviews import QUEUES

_RECENT: Final = 5000  # answers that median times are taken from
_MISSES: Final = 50  # shown


@dataclass(frozen=True)
class Queue:
    """Tasks of a queue by state; `reserved` counts seats that somebody holds now."""

    queue: str
    states: dict[str, int]
    reserved: int

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def settled(self) -> int:
        """Tasks that need nobody any more."""
        return self.total - self.states["pending"] - self.states["conflict"]


@dataclass(frozen=True)
class Agreement:
    """question: None for all together. tasks: with two answers or more."""

    question: str | None
    raw: float | None
    alpha: Alpha
    kappas: list[tuple[str, str, int, float | None]]


@dataclass(frozen=True)
class Person:
    name: str
    role: str
    answered: int
    skipped: int
    revealed: int
    seconds: float | None
    gold_right: int
    gold_wrong: int


def queues(connection: Connection) -> list[Queue]:
    """All queues that have tasks; pairs on block lists are not counted."""
    counts = connection.execute(
        select(tasks.c.queue, tasks.c.state, func.count()).where(~tasks.c.blocked).group_by(tasks.c.queue, tasks.c.state)
    ).all()
    held: dict[str, int] = dict(
        connection.execute(
            select(seats.c.queue, func.count()).where(seats.c.state == "reserved", seats.c.until >= now_ms()).group_by(seats.c.queue)
        )
        .tuples()
        .all()
    )
    found = {queue: dict.fromkeys(STATES, 0) for queue in QUEUES}
    for queue, state, count in counts:
        found[queue][state] = count
    return [Queue(queue, states, held.get(queue, 0)) for queue, states in found.items() if any(states.values())]


def agreements(connection: Connection) -> list[Agreement]:
    """Over all, then by question, of tasks that two people or more answered. Gold items are left out: they are chosen to be clear."""
    several = (
        select(seats.c.task).where(seats.c.state == "answered", seats.c.queue != "gold").group_by(seats.c.task).having(func.count() > 1)
    )
    rows = connection.execute(
        select(tasks.c.question, seats.c.task, accounts.c.name, journal.c.answer)
        .join(seats, seats.c.task == tasks.c.task)
        .join(journal, journal.c.id == seats.c.record)
        .join(accounts, accounts.c.id == seats.c.account)
        .where(seats.c.task.in_(several))
        .order_by(seats.c.task, accounts.c.name)
    ).all()
    by_question = defaultdict[str, dict[str, dict[str, str]]](lambda: defaultdict(dict))
    for question, task, name, given in rows:
        by_question[question][task][name] = given
    everything = [answers for found in by_question.values() for answers in found.values()]
    if not everything:
        return []
    return [
        _agreement(None, everything),
        *(_agreement(question, list(found.values())) for question, found in sorted(by_question.items())),
    ]


def _agreement(question: str | None, answers: list[dict[str, str]]) -> Agreement:
    counts = counts_of([list(given.values()) for given in answers])
    return Agreement(question, raw_agreement(counts), krippendorff(counts), kappas(answers))


def people(connection: Connection) -> list[Person]:
    """Everybody who has acted on a task, and every annotator."""
    acts = defaultdict[int, dict[str, int]](dict)
    counted = select(journal.c.account, journal.c.act, func.count()).where(journal.c.act.in_(("skip", "reveal", "adjudicate")))
    for account, act, count in connection.execute(counted.group_by(journal.c.account, journal.c.act)):
        acts[account][act] = count
    answered: dict[int | None, int] = dict(
        connection.execute(select(seats.c.account, func.count()).where(seats.c.state == "answered").group_by(seats.c.account))
        .tuples()
        .all()
    )
    recent = select(journal.c.account, journal.c.seconds).where(journal.c.act == "answer").order_by(journal.c.id.desc()).limit(_RECENT)
    times = defaultdict[int, list[float]](list)
    for account, seconds in connection.execute(recent):
        times[account].append(seconds)
    gold = {row.account: row for row in connection.execute(_gold_counts())}
    return [
        Person(
            row.name,
            row.role,
            answered.get(row.id, 0),
            acts[row.id].get("skip", 0),
            acts[row.id].get("reveal", 0),
            median(times[row.id]) if times[row.id] else None,
            gold[row.id].right if row.id in gold else 0,
            gold[row.id].answered - gold[row.id].right if row.id in gold else 0,
        )
        for row in connection.execute(select(accounts).order_by(accounts.c.name))
        if row.id in answered or acts[row.id] or (row.role == "annotator" and not row.disabled)
    ]


def _gold_counts():
    right = func.sum(case((journal.c.answer == tasks.c.gold, 1), else_=0))
    return _gold(select(seats.c.account, func.count().label("answered"), right.label("right"))).group_by(seats.c.account)


def _gold(query):
    joined = seats.join(tasks, tasks.c.task == seats.c.task).join(journal, journal.c.id == seats.c.record)
    return query.select_from(joined.join(accounts, accounts.c.id == seats.c.account)).where(
        seats.c.queue == "gold", seats.c.state == "answered"
    )


def missed_gold(connection: Connection) -> Sequence[Row]:
    """Standing answers to gold items that are not the known one, newest first: name, task, question, gold, answer, time."""
    columns = (accounts.c.name, tasks.c.task, tasks.c.question, tasks.c.gold, journal.c.answer, journal.c.time)
    wrong = and_(journal.c.answer != tasks.c.gold, ~tasks.c.blocked)
    return connection.execute(_gold(select(*columns)).where(wrong).order_by(journal.c.id.desc()).limit(_MISSES)).all()


def blocked(connection: Connection) -> int:
    """Tasks that are shown to nobody because their pair is on a block list."""
    return connection.execute(select(func.count()).select_from(tasks).where(tasks.c.blocked)).scalar_one()
