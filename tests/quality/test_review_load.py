"""From the table of tasks into the database and out again as decisions: what is added, what stays, what block lists take away."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import simplejpeg
from sqlalchemy import select

from quality.block_lists import read_lists
from quality.command import UsageError
from quality.review.server import answers
from quality.review.server.answers import Answer
from quality.review.server.audit import Actor
from quality.review.server.auth import add_account
from quality.review.server.images import NoImage, rendered
from quality.review.server.listed import ListedPairs
from quality.review.server.load import load_tasks
from quality.review.server.models import seats, tasks
from quality.review.server.queue import next_task
from quality.review.server.settings import Settings
from quality.review.server.standing import export, standing
from schemas.columns import table_of
from schemas.pool import Pool
from schemas.reviews import ANSWERS, ANSWERS_PATH
from schemas.units import unit_name
from schemas.user_tar import UserTar
from tests.bench.review import measure
from tests.conftest import SOAK
from tests.pools import unit
from tests.reviews import PASSWORD, command, drawing, make_pool, many_tasks, put_tasks, task
from tests.tars import sample, write_tar

SETTINGS = Settings(overlap_share=0.0, gold_share=0.0)


@pytest.fixture
def pool(tmp_path):
    return make_pool(tmp_path / "data", images=6)


def lists(folder: Path, **files: str):
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, "utf-8")
    return read_lists(None, {"PIGMENT_BLOCK_LISTS": str(folder)})


def judge(database, account, words):
    """Answers the next items with these words; returns {task: word}."""
    given = {}
    for word in words:
        with database.write() as connection:
            row = next_task(connection, account, [], SETTINGS).task
            answers.answer(connection, Actor(account), row.task, Answer(word), key=f"key-{account}-{row.task}", settings=SETTINGS)
        given[row.task] = word
    return given


def test_new_tasks_are_added_and_known_ones_stay(database, pool):
    where, pairs = pool
    rows = many_tasks(pairs, 9)
    put_tasks(where, rows[:5])
    assert load_tasks(database, where).added == 5
    with database.write() as connection:
        ann = add_account(connection, "ann", "annotator", PASSWORD)
    given = judge(database, ann, ["yes", "no"])
    moved = [{**row, "tar": "pool/raw/other.tar", "offset": 1024, "caption": "changed"} for row in rows]
    put_tasks(where, moved)
    found = load_tasks(database, where)
    assert (found.added, found.total) == (4, 9)
    assert load_tasks(database, where).added == 0
    with database.read() as connection:
        there = {row.task: row for row in connection.execute(select(tasks))}
        count = len(connection.execute(select(seats.c.id)).all())
    assert {name: row.state for name, row in there.items() if row.state != "pending"} == dict.fromkeys(given, "decided")
    assert {row.tar for row in there.values()} == {"pool/raw/other.tar"}  # a pair may have moved within the pool
    assert [there[row["task"]].caption == "changed" for row in rows] == [False] * 5 + [True] * 4
    assert count == 9 + round(sum(row.draw < 0.1 for row in there.values() if row.state == "pending"))


@pytest.mark.parametrize("kind", ["md5", "sha256", "urls", "pdq"])
def test_pairs_on_a_list_are_shown_to_nobody(database, pool, tmp_path, kind):
    where, pairs = pool
    data = drawing(2)
    entry = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest(), "urls": pairs[2]["url"],
             "pdq": pairs[2]["image.pdq"].hex()}[kind]  # fmt: skip
    rows = [task(pair, order) for order, pair in enumerate(pairs)]
    put_tasks(where, rows[:4])
    load_tasks(database, where)  # loaded before it was listed
    with database.write() as connection:
        ann = add_account(connection, "ann", "annotator", PASSWORD)
    judge(database, ann, ["yes", "no", "yes"])
    put_tasks(where, rows)
    found = load_tasks(database, where, ListedPairs(where, lists(tmp_path / "lists", **{kind: entry})))
    assert (found.blocked, found.total) == (1, 5)
    with database.read() as connection:
        row = connection.execute(select(tasks).where(tasks.c.task == rows[2]["task"])).one()
        assert (row.uid, row.caption, row.creator, row.tar, row.license_url) == (None,) * 5 and row.blocked
        assert rows[2]["task"] not in standing(connection)["task"].to_pylist()
        assert standing(connection).num_rows == 2
    with database.write() as connection:
        with pytest.raises(answers.Refused, match="settled"):
            answers.undo(connection, Actor(ann), rows[2]["task"], key="undo", settings=SETTINGS)


def test_a_listed_pair_is_never_loaded(database, pool, tmp_path):
    where, pairs = pool
    put_tasks(where, [task(pair, order) for order, pair in enumerate(pairs)])
    load_tasks(database, where, ListedPairs(where, lists(tmp_path / "lists", domains="host.test")))
    with database.read() as connection:
        assert connection.execute(select(tasks.c.task)).all() == []
    assert load_tasks(database, where).added == 6  # when the list is gone


def test_a_pair_in_a_tar_of_the_users_is_loaded_from_that_tar_alone(database, pool, tmp_path):
    where, pairs = pool
    mine, other = (write_tar(tmp_path / f"{name}.tar", sample("0", 1)) for name in ("mine", "other"))
    taken = unit_name("ab" * 8, 0)
    where.commit(taken, where.read_raw(unit(0)), tar=UserTar.of(mine), input_digest="input")
    row = {**task(pairs[0], 0), "unit": taken, "tar": str(mine)}
    for spoilt in ({"tar": str(other)}, {"unit": unit(0)}, {"unit": "../x"}):
        put_tasks(where, [{**row, **spoilt}])
        with pytest.raises(UsageError, match="no path of a tar"):
            load_tasks(database, where)
    put_tasks(where, [row])
    assert load_tasks(database, where).added == 1


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        ({"tar": "../../etc/passwd.tar"}, "no path of a tar"),
        ({"tar": "/etc/passwd.tar"}, "no path of a tar"),
        ({"tar": "pool/raw/x.parquet"}, "no path of a tar"),
        ({"question": "clip:ugly"}, "unknown reason"),
        ({"queue": "other"}, "queue is not one of"),
        ({"gold": "yes"}, "gold is neither"),
        ({"overlap": 0}, "overlap is below 1"),
        ({"task": "x"}, "32 hex digits"),
        ({"offset": None}, "offset or size"),
    ],
)
def test_a_broken_table_is_refused_by_its_row(database, pool, spoilt, says):
    where, pairs = pool
    put_tasks(where, [task(pairs[0], 0), {**task(pairs[1], 1), **spoilt}])
    with pytest.raises(UsageError, match=says):
        load_tasks(database, where)


def test_commands_say_what_is_missing(tmp_path, pool):
    where, _ = pool
    root = where.store.root
    run = command("serve", "--dataset", root)
    assert run.returncode == 2 and "python -m quality.review tasks --dataset" in run.stderr and "Traceback" not in run.stderr
    for line, says in (
        (("nonsense",), "unknown command"),
        (("users", "add", "--dataset", root), "needs a name"),
        (("users", "add", "a/b", "--dataset", root), "1 to 32 letters"),
        (("users", "add", "ann", "--dataset", root), "10 to 256 letters"),
        (("users", "disable", "ann", "--dataset", root), "no account 'ann'"),
        (("serve", "--dataset", root, "--host", "0.0.0.0"), "unencrypted"),
        (("serve", "--dataset", root, "--host", "0.0.0.0", "--behind_proxy"), "keep --host 127.0.0.1"),
        (("serve", "--dataset", tmp_path / "nowhere"), "no dataset here"),
        (("users", "add", "ann", "--dataset", tmp_path / "nowhere"), "no dataset here"),
        (("serve", "--dataset", root, "--held", "1"), "from 2 to 20"),
        (("serve", "--dataset", root, "--database", "mysql://x/y"), "only sqlite"),
        (("serve", "--dataset", root, "--database", "sqlite://"), "lost with the process"),
        (("serve", "--dataset", root, "--database", "postgresql://x:secret@127.0.0.1:1/y"), "give another --database"),
    ):
        run = command(*line, stdin="short\n")
        assert run.returncode == 2 and says in run.stderr and "Traceback" not in run.stderr and "secret" not in run.stderr, (
            line,
            run.stderr,
        )
    assert not (tmp_path / "nowhere").exists()
    assert "serve" in command().stdout and "export" in command("--help").stdout


def test_a_task_that_the_table_has_no_more_is_gone_but_for_what_was_answered(database, pool):
    where, pairs = pool
    rows = many_tasks(pairs, 6)
    put_tasks(where, rows)
    load_tasks(database, where)
    with database.write() as connection:
        ann, ben = (add_account(connection, name, "annotator", PASSWORD) for name in ("ann", "ben"))
    given = judge(database, ann, ["yes"])
    with database.write() as connection:
        held = next_task(connection, ben, [], SETTINGS).task.task
    stays = next(row for row in rows if row["task"] not in (*given, held))
    put_tasks(where, [{**stays, "sampling_probability": 0.5}])
    assert load_tasks(database, where).total == 2
    with database.read() as connection:
        there = {row.task: row.sampling_probability for row in connection.execute(select(tasks))}
        assert there == {stays["task"]: 0.5, **dict.fromkeys(given, rows[0]["sampling_probability"])}
        assert standing(connection)["task"].to_pylist() == list(given)
    assert list(judge(database, ben, ["no"])) == [stays["task"]]
    with database.write() as connection:
        assert next_task(connection, ben, [], SETTINGS).task is None


def test_of_two_words_of_one_person_the_newer_is_exported(database, pool):
    where, pairs = pool
    put_tasks(where, many_tasks(pairs, 2))
    load_tasks(database, where)
    with database.write() as connection:
        ann = add_account(connection, "ann", "annotator", PASSWORD)
    first, second = judge(database, ann, ["yes", "yes"])
    with database.write() as connection:
        export(connection, where.store)
    rows = pq.read_table(where.store.path_of(ANSWERS_PATH)).to_pylist()
    for row in rows:  # the same person, in another tool: later about the one, earlier about the other
        row.update(answer="no", tool="another", time=row["time"] + timedelta(hours=1 if row["task"] == first else -1))
    pq.write_table(table_of(rows, ANSWERS), where.store.path_of(ANSWERS_PATH))
    for _ in range(2):
        with database.write() as connection:
            assert export(connection, where.store) == (1, 1)
        table = pq.read_table(where.store.path_of(ANSWERS_PATH)).to_pylist()
        assert {row["task"]: row["answer"] for row in table} == {first: "no", second: "yes"}


def test_export_keeps_what_it_does_not_know(database, pool):
    where, pairs = pool
    rows = many_tasks(pairs, 4)
    put_tasks(where, rows)
    load_tasks(database, where)
    with database.write() as connection:
        ann = add_account(connection, "ann", "annotator", PASSWORD)
    given = judge(database, ann, ["yes", "no", "unsure"])
    first, second, third = given
    base = {"uid": "u" * 32, "question": "keep", "sampling_probability": 1.0, "queue": "review", "release": "one", "answer": "no"}
    others = [
        {**base, "task": first, "reviewer": "cho", "tool": "Label Studio 1.0", "adjudicates": False},
        {**base, "task": second, "reviewer": "ann", "tool": "an older database", "adjudicates": False},  # ours is newer
        {**base, "task": "f" * 32, "reviewer": "ann", "tool": "an older database", "adjudicates": False},
    ]
    pq.write_table(table_of(others, ANSWERS), where.store.path_of(ANSWERS_PATH))
    with database.write() as connection:
        assert export(connection, where.store) == (3, 2)
        answers.undo(connection, Actor(ann), second, key="undo", settings=SETTINGS)
    for _ in range(2):  # the same again
        with database.write() as connection:
            assert export(connection, where.store) == (2, 2)
    table = pq.read_table(where.store.path_of(ANSWERS_PATH))
    assert table.schema.equals(ANSWERS, check_metadata=False)
    found = {(row["task"], row["reviewer"]): row["answer"] for row in table.to_pylist()}
    assert found == {(first, "ann"): "yes", (third, "ann"): "unsure", (first, "cho"): "no", ("f" * 32, "ann"): "no"}


def test_settings_have_bounds():
    assert Settings().changed({"held": "5", "overlap_share": "0.25", "grey": "1", "queues": "kept,review"}) == replace(
        Settings(), held=5, overlap_share=0.25, grey=True, queues=("review", "kept")
    )
    bad_values = {
        "held": ("x", 1, 21),
        "gold_share": ("0.51",),
        "overlap_share": ("nan",),
        "queues": ("gold", ""),
        "grey": ("yes",),
        "new": (1,),
    }
    for bad in ({name: value} for name, values in bad_values.items() for value in values):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Settings().changed(bad)


def test_a_blurred_image_is_blurred_by_us(pool):
    where, pairs = pool
    place = {"tar": pairs[0]["tar"], "offset": pairs[0]["offset"], "size": pairs[0]["size"]}
    sharp = simplejpeg.decode_jpeg(rendered(where.store, **place, blur_side=0, grey=False))
    blurred = simplejpeg.decode_jpeg(rendered(where.store, **place, blur_side=24, grey=False))
    grey = simplejpeg.decode_jpeg(rendered(where.store, **place, blur_side=24, grey=True))
    assert sharp.shape == (480, 640, 3) and blurred.shape == grey.shape == (288, 384, 3)
    assert detail(blurred) < detail(sharp) / 20
    assert abs(grey[..., 0].astype(int) - grey[..., 1]).max() <= 2 < abs(blurred[..., 0].astype(int) - blurred[..., 1]).max()
    for spoilt in ({**place, "offset": 10**9}, {**place, "tar": "pool/raw/none.tar"}, {**place, "size": 100}):
        with pytest.raises(NoImage):
            rendered(where.store, **spoilt, blur_side=24, grey=False)


def detail(pixels):
    """Mean square of differences between neighbours."""
    return float(((pixels[:, 1:].astype(float) - pixels[:, :-1]) ** 2).mean())


def test_many_people_and_a_server_that_is_killed(database_url, tmp_path):
    """tests/bench/review.py, small: no answer that was acknowledged is lost or doubled, and no task is given to too many."""
    people, seconds, kills = (50, 120, 20) if SOAK else (8, 8, 2)
    url = None if database_url.startswith("sqlite") else database_url
    found = measure(tmp_path / "many", url, people=people, seconds=seconds, kills=kills)
    assert found["kills"] == kills and found["decided"] > people
    assert {name: found[name] for name in ("lost", "doubled", "crowded", "unknown", "refused")} == {
        "lost": 0, "doubled": 0, "crowded": 0, "unknown": 0, "refused": {},
    }  # fmt: skip


def test_pool_is_only_read(pool, database):
    where, pairs = pool
    before = {str(path): path.read_bytes() for path in Path(where.store.root, "pool").rglob("*") if path.is_file()}
    put_tasks(where, many_tasks(pairs, 3))
    load_tasks(database, Pool(where.store.root))
    assert {str(path): path.read_bytes() for path in Path(where.store.root, "pool").rglob("*") if path.is_file()} == before
