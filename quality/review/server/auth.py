"""Accounts: names, passwords (argon2id), and how often one may try.

An answer takes as long for a name that is not known as for one that is. Failures are counted in the database, by name and by address, before
the password is looked at; names that were tried are kept as digests alone: people type passwords into the wrong field.
"""

import hashlib
import re
import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from quality.review.server.audit import Actor, record
from quality.review.server.database import Database, now_ms
from quality.review.server.models import accounts, attempts, sessions

ROLES: Final = ("annotator", "lead")
PASSWORD_LETTERS: Final = (10, 256)
_NAME: Final = re.compile(r"[\w][\w.-]{0,31}")
_WINDOW_MS: Final = 15 * 60_000
_PER_NAME, _PER_ADDRESS = 10, 50  # failures in the window
_COUNTING: Final = 0x70696701  # PostgreSQL's lock of who counts tries; any number that nobody else of this database uses
_hasher = PasswordHasher()  # the library's defaults: RFC 9106, second recommended option (64 MiB, 3 passes, 4 lanes)


class AccountError(Exception):
    """An account cannot be made or changed as asked; the message says why."""


class Throttled(Exception):
    """Too many failures. minutes: until the next try counts."""

    def __init__(self, minutes: int):
        super().__init__(minutes)
        self.minutes = minutes


def add_account(connection: Connection, name: str, role: str, password: str) -> int:
    """Makes an account; returns its id. Raises AccountError."""
    name = unicodedata.normalize("NFC", name)
    if not _NAME.fullmatch(name):
        raise AccountError(f"name {name!r}: 1 to 32 letters, digits, '.', '-' and '_', beginning with a letter or digit")
    if role not in ROLES:
        raise AccountError(f"role {role!r}: {' or '.join(ROLES)}")
    if account_of(connection, name) is not None:
        raise AccountError(f"there is an account {name!r} already")
    values = {"name": name, "role": role, "password": hashed(password), "disabled": False, "created": now_ms()}
    start = {"shown": 0, "last_shown": 0, "dealt": 0}
    return connection.execute(insert(accounts).values(**values, **start).returning(accounts.c.id)).scalar_one()


def set_password(connection: Connection, account: int, password: str) -> None:
    """Changes the password and ends all log-ins of the account."""
    connection.execute(update(accounts).where(accounts.c.id == account).values(password=hashed(password)))
    connection.execute(delete(sessions).where(sessions.c.account == account))


def set_disabled(connection: Connection, account: int, disabled: bool) -> None:
    """Disables an account and ends its log-ins, or lets it in again. Its answers stay."""
    connection.execute(update(accounts).where(accounts.c.id == account).values(disabled=disabled))
    connection.execute(delete(sessions).where(sessions.c.account == account))


def account_of(connection: Connection, name: str) -> Row | None:
    return connection.execute(select(accounts).where(accounts.c.name == unicodedata.normalize("NFC", name))).first()


def hashed(password: str) -> str:
    """argon2id, with salt and parameters. Raises AccountError for a length out of bounds."""
    low, high = PASSWORD_LETTERS
    if not low <= len(password) <= high:
        raise AccountError(f"a password has {low} to {high} letters; this one has {len(password)}")
    return _hasher.hash(unicodedata.normalize("NFC", password))


# Looked at for names that are not known: as dear as any, and of no password.
_NOBODY: Final = (
    f"$argon2id$v=19$m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}$"
    f"{'A' * (-(-_hasher.salt_len * 4 // 3))}${'A' * (-(-_hasher.hash_len * 4 // 3))}"
)


def log_in(database: Database, name: str, password: str, address: str) -> int | None:
    """The id of the account that may come in, or None for a wrong name or password. Raises Throttled."""
    name, password = unicodedata.normalize("NFC", name), unicodedata.normalize("NFC", password)
    keys = {_digest(f"name:{name}"): _PER_NAME, _digest(f"address:{address}"): _PER_ADDRESS}
    now = now_ms()
    with database.write() as connection:  # counted first, one try after the other: many at once do not slip through
        if not database.is_sqlite:  # which has one writer at a time anyway
            connection.execute(select(func.pg_advisory_xact_lock(_COUNTING)))
        connection.execute(delete(attempts).where(attempts.c.time < now - _WINDOW_MS))
        for key, most in keys.items():
            tries = connection.execute(select(func.count(), func.min(attempts.c.time)).where(attempts.c.key == key)).one()
            if tries[0] >= most:
                raise Throttled(max(1, -(-(tries[1] + _WINDOW_MS - now) // 60_000)))
        tried = [connection.execute(insert(attempts).values(key=key, time=now).returning(attempts.c.id)).scalar_one() for key in keys]
        account = account_of(connection, name)
    fits = _fits(_NOBODY if account is None else account.password, password[: PASSWORD_LETTERS[1] + 1])
    let_in = fits and account is not None and not account.disabled
    with database.write() as connection:
        actor = Actor(None if account is None else account.id, address)
        if not let_in or account is None:
            record(connection, actor, "login_failed")
            return None
        connection.execute(delete(attempts).where(attempts.c.id.in_(tried)))
        if _hasher.check_needs_rehash(account.password):
            connection.execute(update(accounts).where(accounts.c.id == account.id).values(password=hashed(password)))
        record(connection, actor, "login")
    return account.id


def _fits(encoded: str, password: str) -> bool:
    try:
        return _hasher.verify(encoded, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
