"""The review's database: SQLite in a file, or PostgreSQL by URL. What was committed survives a kill at any moment."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError

from quality.command import UsageError
from quality.review.server import prepared
from quality.review.server.models import VERSION, metadata, seats
from quality.review.server.settings import put_value, value_of
from schemas.store import Store

ENVIRONMENT: Final = "PIGMENT_REVIEW_DATABASE"  # a URL with a password does not belong into a command line
PATH: Final = "reviews/review.sqlite"
THREADS: Final = 8  # that answer at once: more would only wait for the interpreter's lock, in the middle of a transaction
_IDLE_S: Final = 5  # a connection that rested for longer is asked whether it still works
_BUSY_S: Final = 30  # that another process's write may take


def url_of(store: Store, given: str | None) -> str:
    """The database that is meant: by flag, by environment, or the dataset's own, which a dataset behind a URL has on this machine."""
    return given or os.environ.get(ENVIRONMENT) or f"sqlite:///{store.beside / PATH}"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Database:
    """An open database with its tables. `read()` and `write()` give a connection for one transaction."""

    def __init__(self, engine: Engine, reader: Engine | None = None):
        """reader: where reads go, if not to the same."""
        self.engine, self.reader = engine, reader or engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        # SQLite has one writer: threads that wait in line here need not poll the file (its busy handler sleeps up to 100 ms).
        self._turn: Any = threading.Lock() if self.is_sqlite else nullcontext()
        self._writer = engine.execution_options(pigment_write=True)
        self._kept = 1 if self.is_sqlite else THREADS

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """SQLite: all statements see the same state. PostgreSQL: each sees what is committed by then."""
        with self.reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed to disk when the block ends without an exception."""
        with self._turn:
            with self._writer.begin() as connection:
                yield connection

    def connections(self) -> Iterator[tuple[Connection, Connection]]:
        """All connections, to read and to write, that answering takes, opened one after the other and given back in the end."""
        with ExitStack() as held:
            for _ in range(self._kept):
                yield held.enter_context(self.reader.connect()), held.enter_context(self._writer.connect())

    def close(self) -> None:
        self.engine.dispose()
        self.reader.dispose()


def open_database(url: str) -> Database:
    """Opens the database, with its tables made where there are none. Raises UsageError."""
    database = _database(url)
    shown = database.engine.url.render_as_string(hide_password=True)
    try:
        with database.write() as connection:
            if not inspect(connection).has_table("settings"):
                metadata.create_all(connection)
                put_value(connection, "version", VERSION)
            for index in seats.indexes:  # a database from before one of them
                index.create(connection, checkfirst=True)
            found = value_of(connection, "version")
    except (DBAPIError, OSError) as error:
        raise UsageError(f"database {shown}: {_first_line(error)}; give another --database, or mend its rights") from error
    if found != VERSION:
        raise UsageError(f"database {shown} has tables of version {found}, this program's are of {VERSION}; use the program that made them")
    return database


def _database(url: str) -> Database:
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+pg8000")
        if parsed.get_backend_name() == "sqlite":
            return Database(_sqlite(parsed))
        if parsed.drivername != "postgresql+pg8000":
            raise UsageError(f"--database {parsed.drivername}://…: only sqlite:///FILE and postgresql://USER:PASSWORD@HOST/NAME are known")
        # A read of one statement needs no BEGIN and no ROLLBACK, each of which is a round trip.
        return Database(_postgresql(parsed, "READ COMMITTED"), _postgresql(parsed, "AUTOCOMMIT"))
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise UsageError(f"--database: {_first_line(error)}; give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME") from error


def _postgresql(url: URL, isolation: Any) -> Engine:
    # The one that was given back last is taken first: it has its statements prepared, and the server's side of it is warm.
    engine = create_engine(url, pool_size=THREADS, max_overflow=0, pool_use_lifo=True, isolation_level=isolation)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, args: Any, named: Any) -> prepared.Connection:
        return prepared.Connection(*args, **named)

    @event.listens_for(engine, "checkin")
    def _rest(_: Any, record: Any) -> None:
        record.info["since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, _: Any) -> None:
        if time.monotonic() - record.info.get("since", time.monotonic()) > _IDLE_S:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.dbapi.Error as error:  # type: ignore[union-attr]
                raise DisconnectionError from error

    return engine


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise UsageError("--database sqlite: needs a file (sqlite:///FILE): what is in memory is lost with the process")
    try:
        os.makedirs(os.path.dirname(os.path.abspath(url.database)), exist_ok=True)
        os.close(os.open(url.database, os.O_CREAT | os.O_RDWR, 0o600))  # it holds password hashes; -wal and -shm take its mode
    except OSError as error:
        raise UsageError(f"cannot write {url.database}: {error.strerror}; give another --database, or mend its rights") from error
    engine = create_engine(url, pool_size=THREADS, max_overflow=32, connect_args={"timeout": _BUSY_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("pigment_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
