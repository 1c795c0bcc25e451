"""One item judged from log-in to undo, then rolled back: what does not work is known before anybody comes, and what does is warm.

The first use of a statement takes some 10 ms to build (measured); fifty people who come back after a crash would all wait for that.
"""

import secrets
from contextlib import suppress

from quality.review.server import answers, sessions
from quality.review.server.answers import Answer
from quality.review.server.audit import Actor
from quality.review.server.database import Database, now_ms
from quality.review.server.images import NoImage, rendered
from quality.review.server.models import accounts
from quality.review.server.queue import next_task
from quality.review.server.settings import read_settings
from schemas.reviews import KEEP
from schemas.store import Store


class _RollBack(Exception):
    pass


def rehearse(database: Database, store: Store) -> None:
    """Leaves nothing behind. Raises what would be raised to the first annotator."""
    sessions.person_of(database, secrets.token_urlsafe(8))
    with suppress(_RollBack), database.write() as connection:
        start = {"shown": 0, "last_shown": 0, "dealt": 0, "disabled": False, "created": now_ms()}
        values = {"name": secrets.token_hex(16), "role": "annotator", "password": "", **start}
        account = connection.execute(accounts.insert().values(**values).returning(accounts.c.id)).scalar_one()
        actor, settings = Actor(account), read_settings(connection)
        found = next_task(connection, account, [], settings).task
        if found is not None:
            next_task(connection, account, [], settings)  # what is held already
            answers.picture(connection, account, found.task)
            answers.reveal(connection, actor, found.task, lead=False)
            given = Answer("no", ("image:empty",) if found.question == KEEP else ())
            answers.answer(connection, actor, found.task, given, key="rehearsal", settings=settings)
            answers.undo(connection, actor, found.task, key="undo", settings=settings)
            with suppress(NoImage):  # told on the page, where it matters
                rendered(store, found.tar, found.offset, found.size, blur_side=settings.blur_side, grey=False)
        raise _RollBack
