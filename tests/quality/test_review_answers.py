"""Answering, skipping, taking back, settling: what the database holds afterwards. On SQLite and on PostgreSQL."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from quality.review.server import answers
from quality.review.server.answers import Answer, Refused, state_from_seats
from quality.review.server.audit import Actor, record
from quality.review.server.models import journal, seats, tasks
from tests.annotators import SETTINGS, Person, acts, state
from tests.reviews import many_tasks


@pytest.mark.parametrize(
    ("state", "given"),
    [
        ("pending", [[], [None], ["yes", None]]),
        ("decided", [["yes"]]),
        ("agreed", [["yes", "yes"], ["unsure", "unsure"]]),
        ("conflict", [["yes", "no"], ["yes", "unsure"], ["no", "no", "yes"]]),
    ],
)
def test_state_from_seats(database, load, pairs, state, given):
    rows = many_tasks(pairs[1], len(given) + 1)
    rows[-1] |= {"queue": "gold", "gold": "yes"}
    load(rows)
    with database.write() as connection:
        connection.execute(delete(seats))
        for row, said in zip(rows, [*given, ["yes", "no"]], strict=True):
            for person, word in enumerate(said):
                found = None if word is None else record(connection, Actor(person), "answer", task=row["task"], answer=word)
                seat = {"queue": row["queue"], "order": row["order"], "state": "answered" if word else "free", "revealed": False}
                connection.execute(seats.insert().values(task=row["task"], account=person, record=found, **seat))
        states = dict(connection.execute(select(tasks.c.task, state_from_seats())).all())
    assert states == {row["task"]: state for row in rows[:-1]} | {rows[-1]["task"]: "decided"}


def test_the_same_answer_at_the_same_time_is_one(database, people, load, pairs):
    load(many_tasks(pairs[1], 1))
    ann = Person(database, people["ann"])
    one = ann.next().task.task
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: ann.answer(one, "yes", key="the same key"), range(8)))
    assert len(set(found)) == 1 and acts(database).count("answer") == 1
    ann.undo(one)
    assert ann.answer(one, "yes", key="the same key") == found[0] and ann.next().task.task == one  # late: it answers nothing anew


def test_same_key_is_the_same_answer(database, people, load, pairs):
    load(many_tasks(pairs[1], 2))
    ann = Person(database, people["ann"])
    held = ann.next().task.task
    saved = ann.answer(held, "no", key="one-and-only")
    assert ann.answer(held, "no", key="one-and-only") == saved
    with pytest.raises(Refused, match="answered"):
        ann.answer(held, "yes", key="another-key")
    with pytest.raises(Refused, match="answered"):  # who changed their mind is told that the first answer stands
        ann.answer(held, "yes", key="one-and-only")
    assert acts(database) == ["answer"]


def test_only_what_one_holds_can_be_answered(database, people, load, pairs):
    rows = many_tasks(pairs[1], 2)
    load(rows)
    with pytest.raises(Refused, match="gone"):
        Person(database, people["ann"]).answer(rows[0]["task"])
    with pytest.raises(Refused, match="gone"):
        Person(database, people["ann"]).answer("0" * 32)


def test_undo_is_a_record_and_gives_the_item_back(database, people, load, pairs):
    load(many_tasks(pairs[1], 3))
    ann = Person(database, people["ann"])
    first, second = ann.next().task.task, None
    ann.answer(first, "no")
    second = ann.next().task.task
    ann.answer(second, "no")
    assert ann.undo() == second and state(database, second) == "pending"
    assert ann.undo(first) == first
    assert ann.next().task.task in (first, second)
    ann.answer(first, "yes")
    assert state(database, first) == "decided" and acts(database) == ["answer", "answer", "undo", "undo", "answer"]
    with database.read() as connection:
        undone = connection.execute(select(journal.c.undoes).where(journal.c.act == "undo").order_by(journal.c.id)).scalars().all()
        given = connection.execute(select(journal.c.id).where(journal.c.act == "answer").order_by(journal.c.id)).scalars().all()
    assert undone == [given[1], given[0]]
    assert ann.undo() == first
    with pytest.raises(Refused, match="nothing"):
        ann.undo()


def test_skip_is_for_good_and_gives_it_to_others(database, people, load, pairs):
    load(many_tasks(pairs[1], 1))
    ann, ben = Person(database, people["ann"]), Person(database, people["ben"])
    held = ann.next().task.task
    ann.skip(held)
    assert ann.next().task is None and ben.next().task.task == held


def test_no_to_keep_says_why(database, people, load, pairs):
    rows = many_tasks(pairs[1], 1, keep_every=1)
    load(rows)
    ann = Person(database, people["ann"])
    held = ann.next().task.task
    for bad in ({"word": "no"}, {"word": "yes", "reasons": ("image:empty",)}, {"word": "no", "reasons": ("image:ugly",)}, {"word": "perhaps"},
                {"word": "no", "note": "x" * 2001}):  # fmt: skip
        with pytest.raises(Refused, match="bad"):
            ann.answer(held, **bad)
    saved = ann.answer(held, "no", reasons=("image:empty", "nsfw:high"), note="무엇\u2400", seconds=1e9)
    with database.read() as connection:
        row = connection.execute(select(journal).where(journal.c.id == saved)).one()
    assert (row.answer, row.reasons, row.note) == ("no", ["image:empty", "nsfw:high"], "무엇\u2400")
    assert 0 <= row.seconds < 60 and row.blurred and not row.revealed  # no longer than the item was held


def test_settling_and_reopening(database, people, load, pairs):
    load(many_tasks(pairs[1], 1), share=1.0)
    ann, ben, lead = (Person(database, people[name]) for name in ("ann", "ben", "lead"))
    (one,) = ann.all("yes")
    ben.all("no")
    with database.write() as connection:
        answers.adjudicate(connection, lead.actor, one, Answer("no"))
    assert state(database, one) == "adjudicated"
    for act in (lambda: ann.undo(one), lambda: _settle(database, lead, one)):
        with pytest.raises(Refused, match="settled"):
            act()
    with database.write() as connection:
        answers.reopen(connection, lead.actor, one)
    assert state(database, one) == "conflict"
    assert ann.undo(one) == one and state(database, one) == "pending"


def _settle(database, lead, one):
    with database.write() as connection:
        answers.adjudicate(connection, lead.actor, one, Answer("yes"))


def test_two_who_answer_at_once_see_each_other(database, people, load, pairs):
    """Without the lock on the task, each sees the other's answer as not given yet, and the task stays pending."""
    load(many_tasks(pairs[1], 12), share=1.0)
    ann, ben = Person(database, people["ann"], replace(SETTINGS, held=20)), Person(database, people["ben"], replace(SETTINGS, held=20))
    for person in (ann, ben):
        shown = []
        while (row := person.next(shown).task) is not None:
            shown.append(row.task)
        assert len(shown) == 12
    barrier = threading.Barrier(2)

    def work(person):
        for one in shown:
            barrier.wait()
            person.answer(one)

    both = [threading.Thread(target=work, args=(person,)) for person in (ann, ben)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert {state(database, one) for one in shown} == {"agreed"}


def test_the_journal_is_only_added_to(database, people):
    with database.write() as connection:
        record(connection, Actor(people["ann"]), "login")
    for change in (update(journal).values(act="logout"), delete(journal)):
        with pytest.raises(DBAPIError, match="only ever added to"), database.write() as connection:
            connection.execute(change)
