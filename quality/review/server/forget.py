"""The database of a review without the tasks of pairs that were removed: rows, journal and all that the database's files still hold of them."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.exc import DBAPIError

from quality.command import UsageError
from quality.review.server.audit import Actor, record
from quality.review.server.database import Database
from quality.review.server.models import journal, metadata, seats, skips, tasks

_TRIES, _PAUSE_S = 40, 0.25  # it waits for those who read
_SOME: Final = 500  # tasks of one statement
_TABLES: Final = (skips, seats, journal, tasks)  # in the order of their references


class Place(NamedTuple):
    """Where the image of a pair lies."""

    tar: str
    offset: int
    size: int


def forget_tasks(
    database: Database, *, uids: Collection[str], rows: Mapping[str, Collection[int]], places: Mapping[tuple[str, int], Place]
) -> int:
    """Deletes the tasks about removed pairs, by uid or by unit and row, with seats, skips and their part of the journal; returns how many.

    places: where images of the units lie now, by unit and row: other tasks about them are told. Raises UsageError where the database is held by
    somebody for long.
    """
    if database.is_sqlite:
        _on_its_own(database, "PRAGMA secure_delete = ON")
    with database.write() as connection:
        gone, moved = [], []
        for task in connection.execute(select(*(tasks.c[name] for name in ("task", "uid", "unit", "row", "tar", "offset", "size")))):
            if task.uid in uids or task.row in rows.get(task.unit, ()):
                gone.append(task.task)
            elif (place := places.get((task.unit, task.row))) is not None and (task.tar, task.offset, task.size) != place:
                moved.append({"task": task.task, **place._asdict()})
        if gone:
            _delete(connection, gone, sqlite=database.is_sqlite)
            record(connection, Actor(), "forget", detail={"tasks": len(gone)})
        for each in moved:
            connection.execute(update(tasks).where(tasks.c.task == each.pop("task")).values(**each))
    _leave_nothing(database)
    return len(gone)


def stored_texts(database: Database) -> Iterator[tuple[str, bytes]]:
    """(table, text) of all texts that the database holds, those within JSON too."""
    with database.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                yield from ((table.name, value if isinstance(value, bytes) else _text(value)) for value in row if value is not None)


def _text(value: Any) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode("utf-8", "surrogatepass")


def _delete(connection: Connection, gone: list[str], *, sqlite: bool) -> None:
    """The journal is only ever added to: its guard is taken down for this one transaction."""
    for statement in _OPEN[sqlite]:
        connection.execute(text(statement))
    for table in _TABLES:
        for start in range(0, len(gone), _SOME):
            connection.execute(delete(table).where(table.c.task.in_(gone[start : start + _SOME])))
    for statement in _CLOSE[sqlite]:
        connection.execute(text(statement))


# By whether it is SQLite, which knows no other way than to drop a trigger.
_STANDS: Final = "BEGIN SELECT RAISE(ABORT, 'the journal is only ever added to'); END"
_OPEN: Final = {True: ["DROP TRIGGER journal_no_delete"], False: ["ALTER TABLE journal DISABLE TRIGGER journal_stands"]}
_CLOSE: Final = {
    True: [f"CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal {_STANDS}"],
    False: ["ALTER TABLE journal ENABLE TRIGGER journal_stands"],
}


def _leave_nothing(database: Database) -> None:
    """Writes the files anew: deleted rows are in no page. PostgreSQL's write-ahead log, backups and replicas are beyond our reach."""
    if not _tried(_rewritten_sqlite if database.is_sqlite else _rewritten_postgresql, database):
        raise UsageError(
            f"{database.engine.url.render_as_string(hide_password=True)}: somebody reads it without end, so that deleted rows stay in its files; "
            "stop the review's server and run the same command again"
        )


def _tried(work: Callable[[Database], bool], database: Database) -> bool:
    for _ in range(_TRIES):
        if work(database):
            return True
        time.sleep(_PAUSE_S)
    return False


def _rewritten_sqlite(database: Database) -> bool:
    _on_its_own(database, "VACUUM")
    busy, _, _ = _on_its_own(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    return not busy


def _rewritten_postgresql(database: Database) -> bool:
    """False while others see the deleted rows, for whom VACUUM would keep them, or hold a table.

    Statistics hold values of rows too. A table that is empty is not analysed anew; a column whose type is set, to what it is, has none.
    """
    quoted = database.reader.dialect.identifier_preparer.quote
    with database.reader.connect() as connection:  # which commits each statement by itself
        newest = connection.execute(text("SELECT pg_current_xact_id()::xid")).scalar()
        others = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND age(backend_xmin) > age(CAST(:newest AS xid))"
        if connection.execute(text(others), {"newest": str(newest)}).scalar():
            return False
        connection.execute(text(f"SET lock_timeout = {round(1000 * _PAUSE_S)}"))
        try:
            for table in _TABLES:
                if connection.execute(select(table).limit(1)).first() is None:
                    for column in table.columns:
                        name, kind = quoted(column.name), column.type.compile(connection.dialect)
                        connection.execute(text(f"ALTER TABLE {table.name} ALTER COLUMN {name} TYPE {kind}"))
                connection.execute(text(f"VACUUM (FULL, ANALYZE) {table.name}"))
            connection.execute(text("VACUUM (FULL) pg_statistic"))
        except DBAPIError as error:
            if "lock timeout" in str(error):
                return False
            raise
        finally:
            connection.execute(text("RESET lock_timeout"))
    return True


def _on_its_own(database: Database, statement: str) -> Any:
    """Runs a statement of SQLite's outside any transaction; returns the first row of the answer."""
    raw = database.engine.raw_connection()
    try:
        return raw.cursor().execute(statement).fetchone()
    finally:
        raw.close()
