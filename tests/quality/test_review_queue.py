"""Who is dealt which task: order, overlap, gold, rests, and many at once. On SQLite and on PostgreSQL."""

import threading
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import event, select, text, update

from quality.review.server.answers import Refused
from quality.review.server.load import draw_of, overlap
from quality.review.server.models import accounts, journal, seats
from tests.annotators import SETTINGS, Person, acts, state
from tests.reviews import many_tasks, task


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
