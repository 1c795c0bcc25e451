"""Databases of the review, of both kinds: every test of one runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from quality.review.server.database import Database, open_database
from quality.review.server.models import metadata
from tests.reviews import postgres


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
