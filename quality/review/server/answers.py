"""What people do with tasks: answer, skip, take back, look at the sharp image, settle. All in the caller's transaction.

States of a task: pending (somebody has still to answer), decided (one person was asked), agreed or conflict (several were), adjudicated.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, case, exists, func, or_, select, update

from quality.review.server.audit import Actor, record
from quality.review.server.database import now_ms
from quality.review.server.models import journal, seats, skips, tasks
from quality.review.server.settings import Settings
from schemas.reasons import check_reason
from schemas.reviews import ANSWER_WORDS, KEEP

STATES: Final = ("pending", "decided", "agreed", "conflict", "adjudicated")
# Why a pair should not be in the set, in the order of the number keys.
WHY_NOT: Final = (
    "nsfw:high", "deepfake:high", "clip:low_similarity", "caption:boilerplate", "caption:personal_data", "caption:language",
    "image:blurred", "image:empty", "license:not_allowed",
)  # fmt: skip
NOTE_LETTERS: Final = 2000


class Refused(Exception):
    """What was asked cannot be done now. word: gone, answered, settled, not_settled, nothing, count or bad (quality.review.server.texts)."""

    def __init__(self, word: str, detail: Any = None):
        super().__init__(word)
        self.word = word
        self.detail = detail


@dataclass(frozen=True)
class Answer:
    """An answer as it is given. Raises Refused("bad") for words that there are not, and for `no` to keep without a reason or a note."""

    answer: str
    reasons: tuple[str, ...] = ()
    note: str | None = None
    seconds: float | None = None
    grey: bool = False

    def checked(self, question: str) -> "Answer":
        needs_why = question == KEEP and self.answer == "no"
        try:
            for reason in self.reasons:
                check_reason(reason)
        except ValueError as error:
            raise Refused("bad") from error
        if self.answer not in ANSWER_WORDS or len(self.note or "") > NOTE_LETTERS or len(set(self.reasons)) != len(self.reasons):
            raise Refused("bad")
        if (self.reasons and not needs_why) or (needs_why and not self.reasons and not self.note):
            raise Refused("bad")
        return self

    def columns(self) -> dict[str, Any]:
        return {"answer": self.answer, "reasons": list(self.reasons), "note": self.note or None, "grey": self.grey}


def answer(connection: Connection, actor: Actor, task: str, given: Answer, *, key: str, settings: Settings) -> int:
    """Records the answer of a person who holds the task; returns the record's id. key: the same key again is the same answer again."""
    row = connection.execute(_SEAT_LOCKED, {"item": task, "person": actor.account, "sent": key}).first()
    if row is None or row.known or row.seat_state != "reserved":
        before = connection.execute(_BY_KEY, {"person": actor.account, "sent": key}).first()
        if before is None:
            raise Refused("gone" if row is None else "answered")
        if (before.task, before.answer) != (task, given.answer):  # the first one stands, and whoever changed their mind is to know
            raise Refused("answered")
        return before.id
    given.checked(row.question)
    held_s = max(0.0, (now_ms() - row.since) / 1000)
    found = record(
        connection, actor, "answer", task=task, key=key, **given.columns(),
        seconds=held_s if given.seconds is None else min(max(0.0, given.seconds), held_s),
        blurred=settings.blur_side > 0, revealed=row.revealed or settings.blur_side == 0,
    )  # fmt: skip
    connection.execute(_ANSWERED, {"seat": row.seat, "of": found})
    connection.execute(_SET_STATE, {"item": task})
    return found


def skip(connection: Connection, actor: Actor, task: str, *, key: str) -> None:
    """Gives the task back; it is not offered to this person again."""
    if _same_key(connection, actor, key) is not None:
        return
    row = _locked(connection, task)
    mine = and_(seats.c.task == task, seats.c.account == actor.account, seats.c.state == "reserved")
    if row.queue == "gold":
        given_back = connection.execute(seats.delete().where(mine)).rowcount
    else:
        state = "closed" if row.state == "adjudicated" or row.blocked else "free"
        values = {"state": state, "account": None, "until": None, "since": None, "revealed": False}
        given_back = connection.execute(update(seats).where(mine).values(**values)).rowcount
    if not given_back:
        raise Refused("gone")
    connection.execute(skips.insert().values(task=task, account=actor.account))
    record(connection, actor, "skip", task=task, key=key)


def undo(connection: Connection, actor: Actor, task: str | None, *, key: str, settings: Settings) -> Row:
    """Takes back the person's answer to the task, else their newest one; they hold the task again. Returns its row of models.tasks."""
    before = connection.execute(select(journal.c.task).where(journal.c.account == actor.account, journal.c.key == key)).scalar()
    if before is not None:
        return _locked(connection, before)
    standing = select(seats.c.task).where(seats.c.account == actor.account, seats.c.state == "answered").order_by(seats.c.record.desc())
    found = connection.execute(standing.where(seats.c.task == task) if task else standing.limit(1)).scalar()
    if found is None:
        raise Refused("nothing")
    row = _locked(connection, found)
    if row.state == "adjudicated" or row.blocked:
        raise Refused("settled")
    now = now_ms()
    mine = and_(seats.c.task == found, seats.c.account == actor.account, seats.c.state == "answered")
    seat = connection.execute(select(seats.c.record).where(mine)).scalar()
    values = {"state": "reserved", "record": None, "since": now, "until": now + settings.timeout_minutes * 60_000}
    if not connection.execute(update(seats).where(mine).values(**values)).rowcount:
        raise Refused("nothing")
    record(connection, actor, "undo", task=found, key=key, undoes=seat)
    connection.execute(_SET_STATE, {"item": found})
    return row


def reveal(connection: Connection, actor: Actor, task: str, *, lead: bool) -> None:
    """Records that the person looks at the sharp image, once a task. Raises Refused("gone") for a task that is not theirs."""
    mine = and_(seats.c.task == task, seats.c.account == actor.account)
    changed = connection.execute(update(seats).where(mine, ~seats.c.revealed).values(revealed=True)).rowcount
    if not changed:
        if may_see_sharp(connection, actor.account, task):
            return
        if not lead:
            raise Refused("gone")
    record(connection, actor, "reveal", task=task)


def picture(connection: Connection, account: int, task: str) -> Row | None:
    """(tar, offset, size, theirs, looked) of a task's image, None where there is none to show. theirs: the task is reserved for the account
    or answered by it; looked: its reveal is on record."""
    return connection.execute(_PICTURE, {"item": task, "person": account}).first()


def may_see_sharp(connection: Connection, account: int | None, task: str) -> bool:
    """Whether the account's reveal of the task is on record."""
    looked = select(journal.c.id).where(journal.c.task == task, journal.c.act == "reveal", journal.c.account == account)
    return connection.execute(looked.limit(1)).first() is not None


def adjudicate(connection: Connection, actor: Actor, task: str, given: Answer) -> int:
    """A lead settles a task; from then on that answer alone counts. Returns the record's id."""
    row = _locked(connection, task)
    if row.state == "adjudicated" or row.blocked:
        raise Refused("settled")
    given.checked(row.question)
    revealed = may_see_sharp(connection, actor.account, task)
    found = record(connection, actor, "adjudicate", task=task, seconds=given.seconds, revealed=revealed, blurred=True, **given.columns())
    connection.execute(update(tasks).where(tasks.c.task == task).values(state="adjudicated", adjudication=found))
    connection.execute(update(seats).where(seats.c.task == task, seats.c.state == "free").values(state="closed"))
    return found


def reopen(connection: Connection, actor: Actor, task: str) -> None:
    """Takes an adjudication back."""
    row = _locked(connection, task)
    if row.adjudication is None:
        raise Refused("not_settled")
    record(connection, actor, "undo", task=task, undoes=row.adjudication)
    connection.execute(update(tasks).where(tasks.c.task == task).values(adjudication=None, state="pending"))
    connection.execute(update(seats).where(seats.c.task == task, seats.c.state == "closed").values(state="free"))
    connection.execute(_SET_STATE, {"item": task})


def state_from_seats() -> ColumnElement[str]:
    """State that the answers in its seats give to a row of models.tasks. A gold item has a known answer: it is in no conflict."""
    people, answered = func.count(seats.c.id), func.count(journal.c.answer)
    state = case(
        (or_(people == 0, answered < people), "pending"),
        (or_(people == 1, tasks.c.queue == "gold"), "decided"),
        (func.count(journal.c.answer.distinct()) == 1, "agreed"),
        else_="conflict",
    )
    standing = seats.outerjoin(journal, journal.c.id == seats.c.record)
    return select(state).select_from(standing).where(seats.c.task == tasks.c.task).correlate(tasks).scalar_subquery()


def _same_key(connection: Connection, actor: Actor, key: str) -> int | None:
    return connection.execute(select(journal.c.id).where(journal.c.account == actor.account, journal.c.key == key)).scalar()


def _locked(connection: Connection, task: str) -> Row:
    """The task's row, which nobody else changes during this transaction: two people who answer it at once see each other's answers."""
    row = connection.execute(select(tasks).where(tasks.c.task == task).with_for_update()).first()
    if row is None:
        raise Refused("gone")
    return row


_ITEM: Final[ColumnElement[str]] = bindparam("item", type_=tasks.c.task.type)
_ACCOUNT: Final[ColumnElement[int]] = bindparam("person", type_=seats.c.account.type)
_BY_KEY: Final = select(journal.c.id, journal.c.task, journal.c.answer).where(
    journal.c.account == _ACCOUNT, journal.c.key == bindparam("sent")
)
# A task and the person's seat at it, both locked; known: a record of theirs with this key.
_KNOWN: Final = _BY_KEY.with_only_columns(journal.c.id).scalar_subquery()
_SEAT: Final = (seats.c.id.label("seat"), seats.c.state.label("seat_state"), seats.c.since, seats.c.revealed)
_SEAT_LOCKED: Final = (
    select(tasks.c.question, *_SEAT, _KNOWN.label("known"))
    .join(seats, seats.c.task == tasks.c.task)
    .where(tasks.c.task == _ITEM, seats.c.account == _ACCOUNT)
    .with_for_update(of=(tasks, seats))
)
_ANSWERED: Final = update(seats).where(seats.c.id == bindparam("seat")).values(state="answered", until=None, record=bindparam("of"))
_SET_STATE: Final = update(tasks).where(tasks.c.task == _ITEM, tasks.c.adjudication.is_(None)).values(state=state_from_seats())
_PICTURE: Final = select(
    tasks.c.tar, tasks.c.offset, tasks.c.size,
    exists().where(seats.c.task == _ITEM, seats.c.account == _ACCOUNT).label("theirs"),
    exists().where(journal.c.task == _ITEM, journal.c.act == "reveal", journal.c.account == _ACCOUNT).label("looked"),
).where(tasks.c.task == _ITEM, ~tasks.c.blocked)  # fmt: skip
