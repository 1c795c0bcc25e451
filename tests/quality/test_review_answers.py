"""Dealing, answering, skipping, taking back, settling, in bulk: what the database holds afterwards. On SQLite and on PostgreSQL."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import delete, event, select, text, update
from sqlalchemy.exc import DBAPIError

from quality.review.server import answers, bulk
from quality.review.server.answers import Answer, Refused, state_from_seats
from quality.review.server.audit import Actor, listing, record
from quality.review.server.auth import add_account
from quality.review.server.bulk import Filter
from quality.review.server.load import draw_of, load_tasks, overlap
from quality.review.server.models import accounts, journal, seats, tasks
from quality.review.server.queue import next_task
from quality.review.server.settings import Settings
from tests.reviews import PASSWORD, make_pool, many_tasks, put_tasks, task

SETTINGS = Settings(overlap_share=0.0, gold_share=0.0)


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


def test_items_come_in_order_and_once(database, people, load, pairs):
    rows = many_tasks(pairs[1], 7)
    load(rows)
    ann, ben = Person(database, people["ann"]), Person(database, people["ben"])
    first, second = ann.next().task.task, ben.next().task.task
    assert [first, second] == [rows[0]["task"], rows[1]["task"]]
    assert ann.next().task.task == first  # asked again, after a reload: the same
    ahead = ann.next(shown=[first]).task.task
    assert ahead == rows[2]["task"]
    assert sorted([*ann.all(), *ben.all()]) == sorted(row["task"] for row in rows)
    with database.read() as connection:
        given = connection.execute(select(journal.c.task).where(journal.c.act == "answer")).scalars().all()
    assert len(given) == len(set(given)) == 7


def test_dealing_walks_along_an_index(database, people, load, pairs):
    """Whoever sorts all free seats to take the first takes 0.15 s at 20,000 tasks."""
    load(many_tasks(pairs[1], 3000))
    plans = []

    def plan(connection, cursor, statement, values, *_):
        if statement.startswith("UPDATE seats"):
            cursor.execute(f"EXPLAIN {'QUERY PLAN ' if database.is_sqlite else ''}{statement}", values)
            plans.append(" ".join(str(row[-1]) for row in cursor.fetchall()))

    with database.write() as connection:
        connection.execute(text("ANALYZE"))
    event.listen(database.engine, "before_cursor_execute", plan)
    assert Person(database, people["ann"]).next().task.order == 0
    assert plans and all("seats_in_order" in each and "Sort" not in each and "ORDER BY" not in each for each in plans), plans


def test_the_same_answer_at_the_same_time_is_one(database, people, load, pairs):
    load(many_tasks(pairs[1], 1))
    ann = Person(database, people["ann"])
    one = ann.next().task.task
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: ann.answer(one, "yes", key="the same key"), range(8)))
    assert len(set(found)) == 1 and acts(database).count("answer") == 1
    ann.undo(one)
    assert ann.answer(one, "yes", key="the same key") == found[0] and ann.next().task.task == one  # late: it answers nothing anew


def test_no_more_than_held(database, people, load, pairs):
    load(many_tasks(pairs[1], 7))
    ann = Person(database, people["ann"])
    shown = []
    while (row := ann.next(shown).task) is not None:
        shown.append(row.task)
    assert len(shown) == SETTINGS.held and ann.next(shown).full


def test_overlap_is_blind_and_of_two_people(database, people, load, pairs):
    rows = many_tasks(pairs[1], 40)
    load(rows, share=0.3)
    twice = {row["task"] for row in rows if draw_of(row["task"]) < 0.3}
    assert 0 < len(twice) < 40
    ann, ben = Person(database, people["ann"]), Person(database, people["ben"])
    assert len(ann.all("yes")) == 40  # each once, though some have two seats
    assert set(ben.all("no")) == twice
    assert {task for task in twice if state(database, task) == "conflict"} == twice


def test_overlap_share_changes_before_work(database, people, load, pairs):
    rows = many_tasks(pairs[1], 40)
    load([*rows, task({**pairs[1][0], "uid": "f" * 32}, 40, overlap=3)])
    for share in (0.5, 0.2, 0.2, 1.0, 0.0):
        with database.write() as connection:
            overlap(connection, share)
            found = Counter(connection.execute(select(seats.c.task)).scalars())
        want = {row["task"]: 1 + (draw_of(row["task"]) < share) for row in rows}
        assert {name: count for name, count in found.items() if name in want} == want
        assert sum(found.values()) == sum(want.values()) + 3


def test_an_item_whose_time_is_up_goes_to_somebody_else(database, people, load, pairs):
    load(many_tasks(pairs[1], 1))
    ann, ben = Person(database, people["ann"]), Person(database, people["ben"])
    held = ann.next().task.task
    assert ben.next().task is None
    with database.write() as connection:
        connection.execute(update(seats).values(until=1))
    assert ann.next().task.task == held  # still ann's, who is back
    with database.write() as connection:
        connection.execute(update(seats).values(until=1))
    assert ben.next().task.task == held
    with pytest.raises(Refused, match="gone"):
        ann.answer(held)
    ben.answer(held)
    assert acts(database) == ["answer"]


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


def test_gold_goes_to_everybody_by_its_share(database, people, load, pairs):
    rows = many_tasks(pairs[1], 200, gold_every=4)
    load(rows)
    settings = replace(SETTINGS, gold_share=0.25)
    gold = {row["task"] for row in rows if row["queue"] == "gold"}
    ann, ben = Person(database, people["ann"], settings), Person(database, people["ben"], settings)
    for person in (ann, ben):
        found = [person.next().task.task for _ in range(1)]
        while len(found) < 60:
            person.answer(found[-1])
            found.append(person.next().task.task)
        assert 6 <= len(gold & set(found)) <= 26  # 15 expected of 60
        assert len(set(found)) == 60
    assert Person(database, people["lead"]).all() and not gold & set(Person(database, people["lead"]).all())  # share 0: none


def test_a_rest_after_the_cap(database, people, load, pairs):
    load(many_tasks(pairs[1], 6))
    ann = Person(database, people["ann"], replace(SETTINGS, exposure_cap=2, rest_minutes=20))
    for _ in range(2):
        ann.answer(ann.next().task.task)
    found = ann.next()
    assert found.task is None and found.rest == 20
    with database.write() as connection:
        connection.execute(update(accounts).values(last_shown=accounts.c.last_shown - 20 * 60_000))
    assert ann.next().task is not None


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


def test_many_at_once_get_different_items(database, people, load, pairs):
    load(many_tasks(pairs[1], 64))
    found, settings = [], replace(SETTINGS, held=20)
    with database.write() as connection:
        row = dict(connection.execute(select(accounts).where(accounts.c.name == "ann")).mappings().one())
        del row["id"]
        values = [{**row, "name": f"p{n}"} for n in range(8)]
        ids = [connection.execute(accounts.insert().values(**each).returning(accounts.c.id)).scalar_one() for each in values]

    def work(account):
        person, shown = Person(database, account, settings), []
        for _ in range(8):
            shown.append(person.next(shown).task.task)
        found.extend(shown)

    threads = [threading.Thread(target=work, args=(account,)) for account in ids]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == len(set(found)) == 64


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


def test_the_journal_is_only_added_to(database, people):
    with database.write() as connection:
        record(connection, Actor(people["ann"]), "login")
    for change in (update(journal).values(act="logout"), delete(journal)):
        with pytest.raises(DBAPIError, match="only ever added to"), database.write() as connection:
            connection.execute(change)
