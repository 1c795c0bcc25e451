"""The database under the review: tries to log in that come together, sessions that PostgreSQL ends, databases of an earlier version."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from quality.review.server import auth
from quality.review.server.auth import Throttled, add_account, log_in
from quality.review.server.database import open_database
from quality.review.server.models import accounts, attempts
from tests.reviews import PASSWORD


def test_simultaneous_tries_are_counted_one_by_one(database):
    with database.write() as connection:
        add_account(connection, "ann", "annotator", PASSWORD)
    together = threading.Barrier(16)

    def attempt(number):
        together.wait()
        try:
            return log_in(database, "ann", f"wrong password {number}", f"10.0.0.{number}")
        except Throttled:
            return "throttled"

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(attempt, range(16)))
    assert found.count(None) == auth._PER_NAME and found.count("throttled") == 16 - auth._PER_NAME
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(attempts)).scalar() == 2 * auth._PER_NAME  # by name and by address


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite has no sessions
def test_sessions_that_the_server_ended_cost_one_error(database):
    count = select(func.count()).select_from(accounts)

    def use(of):
        with of() as connection:
            return connection.execute(count.where(accounts.c.id > 0)).scalar()

    def hold(together):
        with database.read() as reader, database.write() as writer:
            reader.execute(count)
            writer.execute(count)
            together.wait()

    together = threading.Barrier(4)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(hold, [together] * 4))
    ended = text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = ''")
    other = open_database(database.engine.url.render_as_string(hide_password=False))
    with other.read() as connection:
        assert connection.execute(ended).scalar() >= 8
    other.close()
    for of in (database.read, database.write):
        errors = 0
        for _ in range(8):
            try:
                assert use(of) == 0
            except DBAPIError:
                errors += 1
        assert errors <= 1, of


@contextlib.contextmanager
def resetting(host: str, port: int) -> Iterator[tuple[int, threading.Event]]:
    """(port of a way to the server, an event). After the event is set, what a client sends next is answered by a reset of its connection."""
    reset, listener = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, sink: socket.socket, watched: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if watched and reset.is_set():
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    source.shutdown(socket.SHUT_RD)  # wakes nobody at the client
                    break
                sink.sendall(data)
        (source if watched else sink).close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, server = listener.accept()[0], socket.create_connection((host, port))
                for each in ((client, server, True), (server, client, False)):
                    threading.Thread(target=carry, args=each, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], reset
    finally:
        listener.close()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_reset_connection_is_an_error_of_the_database_and_is_replaced(database):
    url, some = database.engine.url, select(accounts.c.id).where(accounts.c.id > 0)
    with resetting(url.host, url.port) as (port, reset):
        behind = open_database(url.set(port=port).render_as_string(hide_password=False))
        for held in (True, False):  # a connection of the pool, and one that is being made
            if held:
                with behind.read() as connection:
                    connection.execute(some)
            reset.set()
            with pytest.raises(DBAPIError, match="network error") as met, behind.read() as connection:
                connection.execute(some)
            reset.clear()
            assert met.value.connection_invalidated or not held
        with behind.read() as connection:
            assert connection.execute(some).all() == []
        behind.close()


def test_an_earlier_database_gets_its_index(database_url):
    database = open_database(database_url)
    with database.write() as connection:
        connection.execute(text("DROP INDEX seats_in_order"))
    database.close()
    for _ in range(2):
        database = open_database(database_url)
        with database.read() as connection:
            assert "seats_in_order" in {each["name"] for each in inspect(connection).get_indexes("seats")}
        database.close()
