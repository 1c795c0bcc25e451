"""Databases of the review, of both kinds: every test of one runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from quality.review.server.auth import add_account
from quality.review.server.database import Database, open_database
from quality.review.server.load import load_tasks, overlap
from quality.review.server.models import accounts, metadata
from tests.reviews import PASSWORD, make_pool, postgres, put_tasks


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str | None]:
    """A PostgreSQL of its own; None where the machine has none."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        yield None
        return
    with postgres("fsync=off") as found:  # no test cuts the power
        yield found.url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/review.sqlite"
    url = request.getfixturevalue("postgres_url")
    if url is None:
        pytest.skip("not run: initdb and postgres are not on the path")
    database = open_database(url)
    with database.engine.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP FUNCTION IF EXISTS journal_stands CASCADE"))
    database.close()
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = open_database(database_url)
    yield found
    found.close()


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    return make_pool(tmp_path_factory.mktemp("pool"), images=8)


@pytest.fixture
def people(database):
    """Ids of ann, ben and the lead, without the dear password hashing of each."""
    with database.write() as connection:
        ids = [add_account(connection, "ann", "annotator", PASSWORD)]
        row = dict(connection.execute(select(accounts)).mappings().one())
        for name, role in (("ben", "annotator"), ("lead", "lead")):
            values = {**row, "name": name, "role": role}
            del values["id"]
            ids.append(connection.execute(accounts.insert().values(**values).returning(accounts.c.id)).scalar_one())
    return dict(zip(("ann", "ben", "lead"), ids, strict=True))


@pytest.fixture
def load(database, pairs):
    def put(rows, share=0.0):
        pool, _ = pairs
        put_tasks(pool, rows)
        found = load_tasks(database, pool)
        with database.write() as connection:
            overlap(connection, share)
        return found

    return put
