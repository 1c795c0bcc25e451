"""The journal: who did what, when, from where. It is only ever added to; the database itself refuses anything else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from quality.review import TOOL
from quality.review.server.database import now_ms
from quality.review.server.models import accounts, journal, tasks

ACTS: Final = (
    "answer", "skip", "undo", "reveal", "adjudicate",  # about a task
    "login", "login_failed", "logout", "account", "settings", "bulk", "bulk_undo", "export", "tasks", "forget",
)  # fmt: skip
_RECORD: Final = journal.insert().returning(journal.c.id)


@dataclass(frozen=True)
class Actor:
    """Who acts: an account, and the address it acts from. Both are None for the command line."""

    account: int | None = None
    address: str | None = None


def record(connection: Connection, actor: Actor, act: str, **columns: Any) -> int:
    """Adds a record; returns its id. columns: of quality.review.server.models.journal."""
    assert act in ACTS, act
    row = {"time": now_ms(), "account": actor.account, "address": actor.address, "act": act, "tool": TOOL, **columns}
    return connection.execute(_RECORD, row).scalar_one()


def listing(
    connection: Connection, *, before: int | None = None, act: str | None = None, account: int | None = None, limit: int = 100
) -> Sequence[Row]:
    """The newest records first, with the account's name and the task's question. before: only records with a smaller id."""
    query = (
        select(journal, accounts.c.name, tasks.c.question)
        .outerjoin(accounts, accounts.c.id == journal.c.account)
        .outerjoin(tasks, tasks.c.task == journal.c.task)
        .order_by(journal.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(journal.c.id < before)
    if act is not None:
        query = query.where(journal.c.act == act)
    if account is not None:
        query = query.where(journal.c.account == account)
    return connection.execute(query).all()
