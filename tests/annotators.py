"""Annotators without a browser, at the review's database."""

from sqlalchemy import select

from quality.review.server import answers
from quality.review.server.answers import Answer
from quality.review.server.audit import Actor, listing
from quality.review.server.models import tasks
from quality.review.server.queue import next_task
from quality.review.server.settings import Settings

SETTINGS = Settings(overlap_share=0.0, gold_share=0.0)


class Person:
    """An annotator without a browser."""

    def __init__(self, database, account, settings=SETTINGS):
        self.database, self.actor, self.settings, self.keys = database, Actor(account, "127.0.0.1"), settings, 0

    def key(self):
        self.keys += 1
        return f"key-{self.actor.account}-{self.keys}"

    def next(self, shown=()):
        with self.database.write() as connection:
            return next_task(connection, self.actor.account, list(shown), self.settings)

    def answer(self, task, word="yes", key=None, **more):
        with self.database.write() as connection:
            return answers.answer(connection, self.actor, task, Answer(word, **more), key=key or self.key(), settings=self.settings)

    def undo(self, task=None):
        with self.database.write() as connection:
            return answers.undo(connection, self.actor, task, key=self.key(), settings=self.settings).task

    def skip(self, task):
        with self.database.write() as connection:
            answers.skip(connection, self.actor, task, key=self.key())

    def all(self, word="yes"):
        """Answers everything there is for this person; returns the tasks."""
        found = []
        while (row := self.next().task) is not None:
            self.answer(row.task, word)
            found.append(row.task)
        return found


def state(database, task):
    with database.read() as connection:
        return connection.execute(select(tasks.c.state).where(tasks.c.task == task)).scalar_one()


def acts(database):
    with database.read() as connection:
        return [row.act for row in reversed(listing(connection)) if row.act != "tasks"]
