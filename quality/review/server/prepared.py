"""pg8000 with statements prepared once a connection: one round trip for a statement instead of three, and no parsing of it, here or there.

pg8000's own cursor reads a statement letter by letter at each use, and sends it to be parsed, described and run in turn. That was most of what
a call of the review cost on PostgreSQL. A pooler between us and the database has to know prepared statements (PgBouncer does since 1.21).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from pg8000 import dbapi
from pg8000.converters import make_params

_MOST: Final = 200  # statements that a connection keeps; the application has some sixty
_VALUES: Final = 64  # of a kept statement: longer ones are lists of many rows, hardly ever twice the same


@contextmanager
def _told() -> Iterator[None]:
    """Tells of a connection that is reset as pg8000 tells of others: pg8000 1.31 lets the errors of some reads through as they are."""
    try:
        yield
    except OSError as error:
        raise dbapi.InterfaceError("network error") from error


class Connection(dbapi.Connection):
    """A connection of pg8000.dbapi, whose cursors prepare."""

    def __init__(self, *args: Any, **named: Any):
        with _told():
            super().__init__(*args, **named)
        self.prepared = dict[str, tuple[bytes, Any, Sequence[Callable]]]()

    def handle_messages(self, context: Any) -> None:
        with _told():
            super().handle_messages(context)

    def cursor(self) -> "Cursor":
        return Cursor(self)

    def commit(self) -> None:
        if self._in_transaction:
            self.execute_simple("commit")

    def rollback(self) -> None:
        if self._in_transaction:
            self.execute_simple("rollback")


class Cursor(dbapi.Cursor):
    def execute(self, operation: str, args: Sequence[Any] = (), stream: Any = None) -> None:
        if not args or len(args) > _VALUES or stream is not None:
            super().execute(operation, args, stream)
            return
        connection = self._c
        if connection is None:
            raise dbapi.InterfaceError("Cursor closed")
        if not connection._in_transaction and not connection.autocommit:
            connection.execute_simple("begin transaction")
        statement = _numbered(operation)
        known = connection.prepared.get(statement)
        if known is None:
            if len(connection.prepared) >= _MOST:
                super().execute(operation, args)
                return
            known = connection.prepared[statement] = connection.prepare_statement(statement, ())
        name, columns, readers = known
        self._context = connection.execute_named(name, make_params(connection.py_types, args), columns, readers, statement)
        self._row_iter = None if self._context.rows is None else iter(self._context.rows)


@lru_cache(1000)
def _numbered(operation: str) -> str:
    """The statement with $1, $2, … in the place of %s."""
    return dbapi.convert_paramstyle("format", operation, ())[0]
