"""The review's database after pairs were removed: nothing of them in any row, nor in the files behind the rows; all else stands."""

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from quality.command import UsageError
from quality.review.server import forget
from quality.review.server.audit import Actor, record
from quality.review.server.database import Database
from quality.review.server.forget import Place, forget_tasks, stored_texts
from quality.review.server.models import journal, seats, skips, tasks
from tests.reviews import many_tasks

CAPTION, NOTE = "a caption nobody else has", "a note about it that nobody else has"


@pytest.fixture
def loaded(database, pairs, people, load):
    """Eight tasks, of which two are about the pair that goes; one of them is answered, undone and skipped."""
    rows = many_tasks(pairs[1], 8)
    rows[2]["caption"] = CAPTION
    load(rows)
    with database.write() as connection:
        number = record(connection, Actor(people["ann"]), "answer", task=rows[2]["task"], answer="no", note=NOTE)
        record(connection, Actor(people["ann"]), "undo", task=rows[2]["task"], undoes=number)
        other = record(connection, Actor(people["ann"]), "answer", task=rows[3]["task"], answer="yes", note="another note")
        connection.execute(seats.update().where(seats.c.task == rows[3]["task"]).values(state="answered", record=other))
        connection.execute(skips.insert().values(task=rows[2]["task"], account=people["ann"]))
    return rows


def files(database: Database) -> bytes:
    """The bytes of all tables and indexes, as they lie on disk."""
    if database.is_sqlite:
        path = str(database.engine.url.database)
        return b"".join(open(path + suffix, "rb").read() for suffix in ("", "-wal"))
    names = text(
        "SELECT pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't') AND pg_relation_filepath(oid) LIKE 'base/%'"
    )
    with database.reader.connect() as connection:
        connection.execute(text("CHECKPOINT"))
        paths = connection.execute(names).scalars().all()
        return b"".join(connection.execute(text(f"SELECT pg_read_binary_file('{path}')")).scalar() for path in paths)


def counted(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar() for table in (tasks, seats, journal, skips)
        }


def test_nothing_is_left_in_any_row_or_file(database, loaded):
    if not database.is_sqlite:
        with database.write() as connection:
            connection.execute(text("ANALYZE"))  # as the server itself does now and then: statistics hold values
    wanted = [CAPTION.encode(), NOTE.encode(), loaded[2]["uid"].encode(), loaded[5]["uid"].encode()]
    before, texts = counted(database), b"\n".join(data for _, data in stored_texts(database))
    assert all(each in texts for each in wanted) and all(each in files(database) for each in wanted)
    gone = forget_tasks(database, uids={loaded[2]["uid"]}, rows={loaded[5]["unit"]: [loaded[5]["row"]]}, places={})
    of_row = [row for row in loaded if row["row"] == loaded[5]["row"]]
    assert gone == 1 + len(of_row)
    texts = b"\n".join(data for _, data in stored_texts(database))
    assert not any(each in texts for each in wanted) and not any(each in files(database) for each in wanted)
    assert counted(database) == {
        "tasks": before["tasks"] - gone, "seats": before["seats"] - gone, "journal": before["journal"] - 2 + 1, "skips": 0
    }  # fmt: skip
    with database.read() as connection:
        assert connection.execute(select(journal.c.note).where(journal.c.act == "answer")).scalars().all() == ["another note"]


def test_nothing_is_left_of_the_last_tasks_either(database, loaded):
    """A table that is empty is not analysed anew: its statistics would stay."""
    if not database.is_sqlite:
        with database.write() as connection:
            connection.execute(text("ANALYZE"))
    assert forget_tasks(database, uids={row["uid"] for row in loaded}, rows={}, places={}) == len(loaded)
    assert not any(row[name].encode() in files(database) for row in loaded for name in ("uid", "task", "caption"))


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite waits for readers by itself
def test_a_reader_who_still_sees_the_rows_is_waited_for(database, loaded, monkeypatch):
    monkeypatch.setattr(forget, "_TRIES", 2)
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        assert reader.execute(select(tasks.c.caption).where(tasks.c.caption == CAPTION)).all()
        with pytest.raises(UsageError, match="somebody reads it"):
            forget_tasks(database, uids={loaded[2]["uid"]}, rows={}, places={})
    forget_tasks(database, uids={loaded[2]["uid"]}, rows={}, places={})
    assert CAPTION.encode() not in files(database)


def test_the_journal_is_guarded_as_before(database, loaded):
    forget_tasks(database, uids={loaded[2]["uid"]}, rows={}, places={})
    for statement in ("DELETE FROM journal", "UPDATE journal SET note = 'x'"):
        with pytest.raises(DBAPIError, match="only ever added to"), database.write() as connection:
            connection.execute(text(statement))


def test_tasks_about_others_are_told_where_their_image_lies_now(database, loaded):
    place = Place("pool/raw/new.tar", 512, 99)
    kept = [row for row in loaded if row["row"] != loaded[5]["row"] and row["uid"] != loaded[2]["uid"]]
    unit, row = kept[0]["unit"], kept[0]["row"]
    for _ in range(2):  # again is no error
        forget_tasks(database, uids={loaded[2]["uid"]}, rows={}, places={(unit, row): place})
    with database.read() as connection:
        found = connection.execute(select(tasks.c.task, tasks.c.tar, tasks.c.offset, tasks.c.size)).all()
    assert {each[0]: each[1:] for each in found}[kept[0]["task"]] == tuple(place)
    assert sum(each[1:] == tuple(place) for each in found) == sum(each["row"] == row for each in loaded)
