"""Log-ins, kept by the server: the browser holds a random token, the database its SHA-256."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from quality.review.server.database import Database, now_ms
from quality.review.server.models import accounts, sessions
from quality.review.server.settings import STORED, Settings, settings_of

IDLE_MS: Final = 4 * 3_600_000
LONGEST_MS: Final = 12 * 3_600_000
_SEEN_MS: Final = 5 * 60_000  # `seen` is written no more often


@dataclass(frozen=True)
class Person:
    """Who is logged in. settings: as they were when the request came."""

    account: int
    name: str
    role: str
    csrf: str
    settings: Settings

    @property
    def is_lead(self) -> bool:
        return self.role == "lead"


_PERSON: Final = (
    select(sessions.c.token, sessions.c.csrf, sessions.c.seen, accounts.c.id, accounts.c.name, accounts.c.role, STORED.label("settings"))
    .join(accounts, accounts.c.id == sessions.c.account)
    .where(sessions.c.token == bindparam("digest"), sessions.c.created >= bindparam("oldest"), sessions.c.seen >= bindparam("idle"))
    .where(~accounts.c.disabled)
)


def start(connection: Connection, account: int) -> str:
    """Begins a log-in; returns the token for the cookie."""
    token, now = secrets.token_urlsafe(32), now_ms()
    connection.execute(delete(sessions).where(sessions.c.created < now - LONGEST_MS))
    values = {"token": _digest(token), "account": account, "csrf": secrets.token_urlsafe(32), "created": now, "seen": now}
    connection.execute(insert(sessions).values(**values))
    return token


def end(connection: Connection, token: str) -> None:
    connection.execute(delete(sessions).where(sessions.c.token == _digest(token)))


def person_of(database: Database, token: str | None) -> Person | None:
    """Who holds this token now, or None: unknown, too old, idle too long, or the account is disabled."""
    if not token:
        return None
    with database.read() as connection:
        found = session(connection, token)
    if found is None:
        return None
    if (now := now_ms()) - found.seen > _SEEN_MS:
        with database.write() as connection:
            connection.execute(update(sessions).where(sessions.c.token == found.token).values(seen=now))
    return Person(found.id, found.name, found.role, found.csrf, settings_of(found.settings))


def session(connection: Connection, token: str) -> Row | None:
    """The log-in that this token stands for, its account and the settings; None where it does not count, or no more."""
    now = now_ms()
    return connection.execute(_PERSON, {"digest": _digest(token), "oldest": now - LONGEST_MS, "idle": now - IDLE_MS}).first()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
