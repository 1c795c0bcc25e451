"""One answer to many tasks of the review queue, with their count first."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import JSON, Connection, Row, Text, cast, func, insert, literal, null, select, update

from quality.review import TOOL
from quality.review.server.answers import Answer, Refused, state_from_seats
from quality.review.server.audit import Actor, record
from quality.review.server.database import now_ms
from quality.review.server.models import accounts, journal, seats, tasks

OPEN: Final = ("pending", "conflict")  # what a bulk act may settle


@dataclass(frozen=True)
class Filter:
    """Which tasks: of one question and one state; of a reason that the policy gave and of a licence as the source says it, where given."""

    question: str
    state: str = "pending"
    reason: str | None = None
    license: str | None = None

    def where(self) -> list:
        """Conditions on models.tasks. Only the review queue: a random sample that nobody looked at measures nothing."""
        if self.state not in OPEN:
            raise Refused("bad")
        found = [tasks.c.queue == "review", tasks.c.question == self.question, tasks.c.state == self.state, ~tasks.c.blocked]
        if self.reason is not None:
            found.append(cast(tasks.c.reasons, Text).contains(f'"{self.reason}"', autoescape=True))
        if self.license is not None:
            found.append(tasks.c.license == self.license)
        return found


def count(connection: Connection, chosen: Filter) -> tuple[int, int]:
    """(pairs, tasks) that the act would affect."""
    query = select(func.count(tasks.c.uid.distinct()), func.count()).select_from(tasks).where(*chosen.where())
    pairs, found = connection.execute(query).one()
    return pairs, found


def act(connection: Connection, actor: Actor, chosen: Filter, given: Answer, *, expected: int) -> str:
    """Settles the tasks; returns the act's name. expected: how many the lead was told. Raises Refused("count", how many there are now)."""
    given.checked(chosen.question)
    found = select(tasks.c.task).where(*chosen.where()).with_for_update()
    rows = len(connection.execute(found).all())
    if rows != expected or not rows:
        raise Refused("count", rows)
    bulk = secrets.token_hex(16)
    fixed = {
        "time": literal(now_ms()), "account": literal(actor.account), "address": literal(actor.address), "act": literal("adjudicate"),
        "answer": literal(given.answer), "reasons": literal(list(given.reasons), JSON), "note": literal(given.note) if given.note else null(),
        "revealed": literal(False), "blurred": literal(True), "bulk": literal(bulk), "tool": literal(TOOL),
    }  # fmt: skip
    settling = select(tasks.c.task, *fixed.values()).where(*chosen.where())
    inserted = connection.execute(insert(journal).from_select(["task", *fixed], settling)).rowcount
    if inserted != rows:  # loaded since they were counted; those that were counted are locked
        raise Refused("count", inserted)
    of_task = select(journal.c.id).where(journal.c.bulk == bulk, journal.c.task == tasks.c.task).scalar_subquery()
    mine = select(journal.c.task).where(journal.c.bulk == bulk)
    connection.execute(update(tasks).where(tasks.c.task.in_(mine)).values(state="adjudicated", adjudication=of_task))
    connection.execute(update(seats).where(seats.c.task.in_(mine), seats.c.state == "free").values(state="closed"))
    detail = {**asdict(chosen), "answer": given.answer, "tasks": rows, "bulk": bulk}
    record(connection, actor, "bulk", detail=detail)
    return bulk


def undo(connection: Connection, actor: Actor, bulk: str) -> int:
    """Takes a bulk act back, where nobody has settled the task anew since; returns how many tasks are open again."""
    standing = select(tasks.c.task).join(journal, journal.c.id == tasks.c.adjudication).where(journal.c.bulk == bulk)
    found = list(connection.execute(standing.with_for_update(of=tasks)).scalars())
    if not found:
        raise Refused("not_settled")
    fixed = {
        "time": literal(now_ms()), "account": literal(actor.account), "address": literal(actor.address), "act": literal("undo"),
        "bulk": literal(bulk), "tool": literal(TOOL),
    }  # fmt: skip
    undone = select(tasks.c.task, tasks.c.adjudication, *fixed.values()).where(tasks.c.task.in_(standing))
    connection.execute(insert(journal).from_select(["task", "undoes", *fixed], undone))
    connection.execute(update(seats).where(seats.c.task.in_(standing), seats.c.state == "closed").values(state="free"))
    connection.execute(update(tasks).where(tasks.c.task.in_(standing)).values(state=state_from_seats(), adjudication=None))
    record(connection, actor, "bulk_undo", detail={"bulk": bulk, "tasks": len(found)})
    return len(found)


def before(connection: Connection, limit: int = 20) -> Sequence[Row]:
    """Bulk acts, newest first: name, time, detail, and how many of their answers stand."""
    still = (
        select(func.count())
        .select_from(tasks.join(_each := journal.alias("each"), _each.c.id == tasks.c.adjudication))
        .where(_each.c.bulk == cast(journal.c.detail["bulk"].as_string(), Text))
        .scalar_subquery()
    )
    query = select(accounts.c.name, journal.c.time, journal.c.detail, still.label("standing"))
    return connection.execute(
        query.join(accounts, accounts.c.id == journal.c.account).where(journal.c.act == "bulk").order_by(journal.c.id.desc()).limit(limit)
    ).all()


def choices(connection: Connection) -> tuple[list[str], list[str], list[str]]:
    """(questions, reasons, licences) that the open tasks of the review queue have."""
    here = [tasks.c.queue == "review", tasks.c.state.in_(OPEN), ~tasks.c.blocked]
    questions = sorted(connection.execute(select(tasks.c.question).where(*here).distinct()).scalars())
    sets = connection.execute(select(cast(tasks.c.reasons, Text)).where(*here).distinct()).scalars()
    licenses = connection.execute(select(tasks.c.license).where(*here, tasks.c.license.is_not(None)).distinct().limit(200)).scalars()
    reasons = {word for text in sets if text for word in json.loads(text) or ()}
    return questions, sorted(reasons), sorted(licenses)
