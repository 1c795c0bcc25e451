"""One decision over many tasks, and its taking back. On SQLite and on PostgreSQL."""

import pytest

from quality.review.server import bulk
from quality.review.server.answers import Answer, Refused
from quality.review.server.audit import Actor
from quality.review.server.bulk import Filter
from tests.annotators import Person, state
from tests.reviews import many_tasks


def test_bulk_tells_its_count_and_can_be_taken_back(database, people, load, pairs):
    rows = many_tasks(pairs[1], 30, keep_every=5)
    rows[0] = {**rows[0], "license": "CC0", "reasons": ["clip:low_similarity", "nsfw:possible"]}
    load(rows)
    ann, lead = Person(database, people["ann"]), Person(database, people["lead"])
    held = ann.next().task.task
    ann.answer(held)
    question = "clip:low_similarity"
    with database.write() as connection:
        assert bulk.count(connection, Filter(question)) == (23, 23)  # 24 for review, one of them decided; the sample of kept is left alone
        assert bulk.count(connection, Filter("keep")) == (0, 0)
        assert bulk.count(connection, Filter(question, reason="nsfw:possible")) == (0, 0)  # it is the one that ann decided
        assert bulk.count(connection, Filter(question, license="CC BY 4.0")) == (23, 23)
        with pytest.raises(Refused) as refused:
            bulk.act(connection, lead.actor, Filter(question), Answer("no"), expected=22)
        assert refused.value.detail == 23
        name = bulk.act(connection, lead.actor, Filter(question), Answer("no", note="one glance"), expected=23)
    assert state(database, rows[1]["task"]) == "adjudicated"
    assert ann.next().task.queue == "kept"
    with database.write() as connection:
        (before,) = bulk.before(connection)
        assert (before.standing, before.detail["tasks"], before.detail["bulk"]) == (23, 23, name)
        assert bulk.undo(connection, lead.actor, name) == 23
        assert bulk.before(connection)[0].standing == 0
        with pytest.raises(Refused, match="not_settled"):
            bulk.undo(connection, lead.actor, name)
    assert state(database, rows[1]["task"]) == "pending" and state(database, held) == "decided"
    assert rows[1]["task"] in ann.all()


def test_bulk_over_conflicts_comes_back_as_conflicts(database, people, load, pairs):
    load(many_tasks(pairs[1], 3), share=1.0)
    found = Person(database, people["ann"]).all("yes")
    Person(database, people["ben"]).all("no")
    lead = Actor(people["lead"])
    with database.write() as connection:
        name = bulk.act(connection, lead, Filter("clip:low_similarity", state="conflict"), Answer("yes"), expected=3)
        bulk.undo(connection, lead, name)
    assert {state(database, one) for one in found} == {"conflict"}


def test_a_bulk_act_that_is_taken_back_leaves_what_was_answered_meanwhile(database, people, load, pairs):
    load(many_tasks(pairs[1], 2))
    ann = Person(database, people["ann"])
    held = ann.next().task.task
    with database.write() as connection:
        name = bulk.act(connection, Actor(people["lead"]), Filter("clip:low_similarity"), Answer("no"), expected=2)
    ann.answer(held, "yes")
    with database.write() as connection:
        assert bulk.undo(connection, Actor(people["lead"]), name) == 2
    assert state(database, held) == "decided", "one answer is no conflict"
