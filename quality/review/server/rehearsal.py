"""One item judged from log-in to undo, then rolled back: what does not work is known before anybody comes, and what does is warm.

The first use of a statement takes some 10 ms to build (measured), and on each connection to PostgreSQL some more to prepare and plan; fifty
people who come back after a crash would all wait for that.
"""

import secrets
from contextlib import suppress

from sqlalchemy import Connection, Row

from quality.review.server import answers, sessions
from quality.review.server.answers import Answer
from quality.review.server.audit import Actor
from quality.review.server.database import Database, now_ms
from quality.review.server.images import NoImage, rendered
from quality.review.server.models import accounts
from quality.review.server.queue import next_task
from quality.review.server.settings import Settings, read_settings
from schemas.reviews import KEEP
from schemas.store import Store


class _RollBack(Exception):
    pass


def rehearse(database: Database, store: Store) -> None:
    """Leaves nothing behind. Raises what would be raised to the first annotator."""
    found = None
    for reader, writer in database.connections():
        sessions.session(reader, secrets.token_urlsafe(8))
        with suppress(_RollBack), writer.begin():
            start = {"shown": 0, "last_shown": 0, "dealt": 0, "disabled": False, "created": now_ms()}
            values = {"name": secrets.token_hex(16), "role": "annotator", "password": "", **start}
            account = writer.execute(accounts.insert().values(**values).returning(accounts.c.id)).scalar_one()
            settings = read_settings(writer)
            found = next_task(writer, account, [], settings).task
            if found is not None:
                _judge(reader, writer, account, found, settings)
            raise _RollBack
    if found is not None:
        with suppress(NoImage):  # told on the page, where it matters
            rendered(store, found.tar, found.offset, found.size, blur_side=settings.blur_side, grey=False)


def _judge(reader: Connection, writer: Connection, account: int, task: Row, settings: Settings) -> None:
    actor = Actor(account)
    next_task(writer, account, [], settings)  # what is held already
    answers.picture(reader, account, task.task)
    answers.reveal(writer, actor, task.task, lead=False)
    given = Answer("no", ("image:empty",) if task.question == KEEP else ())
    answers.answer(writer, actor, task.task, given, key="rehearsal", settings=settings)
    answers.undo(writer, actor, task.task, key="undo", settings=settings)
