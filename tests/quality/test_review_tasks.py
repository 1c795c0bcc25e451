"""Which questions people are asked, with which probability, and what they are shown."""

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from quality.command import UsageError
from quality.review.around import probabilities
from quality.review.gold import read_gold
from quality.review.sampling import draw, questions
from quality.review.shown import bound_signs
from quality.review.tasks import appended, main, make_tasks
from schemas.policy import Policy, Rule, parse_policy
from schemas.release import heartbeat, latest
from schemas.reviews import TASKS, TASKS_PATH, task_of
from tests.answers import answers
from tests.block_lists import write_lists
from tests.pools import make_pool
from tests.releases import jpeg, make_release
from tests.selecting import select

LOW = "clip:low_similarity"
TEXT = """
name = "test"
[captions]
personal_data = "redact"
[[rule]]
column = "license.class"
not_in = ["proprietary", "unknown"]
reason = "license:not_allowed"
overrule = false
[[rule]]
column = "clip.similarity"
min = 0.25
missing = "review"
reason = "clip:low_similarity"
[[rule]]
column = "clip.similarity"
min = 0.4
do = "review"
missing = "keep"
reason = "clip:low_similarity"
[[rule]]
column = "nsfw.open_nsfw"
max = 0.5
do = "review"
missing = "keep"
reason = "nsfw:possible"
[[rule]]
column = "image.width"
min = 50
do = "review"
missing = "keep"
reason = "image:too_small"
overrule = false
"""


@pytest.fixture(autouse=True)
def no_lists(monkeypatch):
    monkeypatch.delenv("PIGMENT_BLOCK_LISTS", raising=False)


def released(root, rows, *, said=None):
    pool, policy = make_pool(root, rows), parse_policy(TEXT, where="test.toml")
    release = select(pool, policy, "r", answers=said)
    release.put_run({"policy": policy.as_dict()})
    pool.adopt_settings("source", {})
    pool.store.put("releases/latest", b"r")
    return pool, release


def asked(tasks):
    """(row, question, queue) of unit 0."""
    return sorted((row["row"], row["question"], row["queue"]) for row in tasks.to_pylist())


ROWS = [
    {},
    {"clip.similarity": 0.3},
    {"clip.similarity": 0.3, "nsfw.open_nsfw": 0.9},
    {"clip.similarity": None},
    {"clip.similarity": 0.3, "license_url": None},
    {"clip.similarity": 0.1},
    {"clip.similarity": 0.1, "nsfw.open_nsfw": 0.9},
    {"clip.similarity": 0.1, "license_url": None},
    {"sha256": "ab" * 32},
    {"sha256": "ab" * 32, "clip.similarity": 0.45},
    {"status": "postponed"},
    {"image.width": 40},
]


def test_who_is_asked_what(tmp_path):
    pool, release = released(tmp_path, [ROWS])
    assert asked(make_tasks(pool, release, kept=1, dropped=1)) == [
        (0, "keep", "kept"), (1, LOW, "review"), (2, LOW, "review"), (2, "nsfw:possible", "review"), (3, "keep", "review"),
        (5, LOW, "dropped"), (6, LOW, "dropped"), (6, "nsfw:possible", "dropped"), (8, "keep", "kept"),
    ]  # fmt: skip
    assert {row for row, *_ in asked(make_tasks(pool, release, kept=0, dropped=0))} == {1, 2, 3}


def test_nobody_is_asked_again_about_a_rejected_pair(tmp_path):
    pool, release = released(tmp_path / "a", [ROWS[:2]])
    uid = release.read_decisions(release.decided()[0].unit)["uid"][1].as_py()
    pool, release = released(tmp_path / "b", [ROWS[:2]], said=answers((uid, LOW, "yes")))
    assert asked(make_tasks(pool, release, kept=1, dropped=1)) == [(0, "keep", "kept")]


def test_a_task_holds_what_a_person_needs(tmp_path):
    row = {
        "clip.similarity": 0.3,
        "caption": "mail kim@example.org",
        "title": "of kim@example.org",
        "creator": "Kim",
        "offset": 512,
        "size": 9,
    }
    pool, release = released(tmp_path, [[{}, row]])
    [found] = make_tasks(pool, release, kept=0, dropped=0, overlap=1).to_pylist()
    uid = release.read_decisions(found["unit"])["uid"][1].as_py()
    assert found == {
        "task": task_of(uid, LOW), "uid": uid, "question": LOW, "queue": "review", "release": "r", "verdict": "review", "reasons": [LOW],
        "caption": "mail [e-mail]", "title": "of [e-mail]", "creator": "Kim", "unit": release.decided()[0].unit, "row": 1, "tar": None,
        "offset": 512, "size": 9, "column": "clip.similarity", "value": "0.3", "bound": ">= 0.4", "license": None,
        "license_url": "https://creativecommons.org/licenses/by/4.0/", "source_page": None, "sampling_probability": 1.0, "overlap": 2,
        "gold": None, "order": 0,
    }  # fmt: skip


def test_samples_have_their_share_and_nest(tmp_path):
    pool, release = released(tmp_path, [[{}] * 1500, [{"clip.similarity": 0.1}] * 1500])
    small, large = (make_tasks(pool, release, kept=share, dropped=share / 2) for share in (0.1, 0.4))
    for tasks, share in ((small, 0.1), (large, 0.4)):
        of = {queue: [row for row in tasks.to_pylist() if row["queue"] == queue] for queue in ("kept", "dropped")}
        for queue, wanted in (("kept", share), ("dropped", share / 2)):
            assert {row["sampling_probability"] for row in of[queue]} == {wanted}
            assert abs(len(of[queue]) - 1500 * wanted) < 4 * (1500 * wanted * (1 - wanted)) ** 0.5, "four standard deviations"
            assert sorted(row["order"] for row in of[queue]) == list(range(len(of[queue])))
            assert all(draw(row["uid"]) < wanted for row in of[queue])
    assert set(small["task"].to_pylist()) < set(large["task"].to_pylist())
    assert make_tasks(pool, release, kept=0.1, dropped=0.05).equals(small)


def test_making_anew_appends_and_a_larger_share_raises_probabilities(tmp_path):
    pool, release = released(tmp_path, [[{}] * 200])
    small, large = (make_tasks(pool, release, kept=share) for share in (0.2, 0.5))
    both = appended(small, large)
    assert both["task"].to_pylist()[: small.num_rows] == small["task"].to_pylist()
    assert set(both["task"].to_pylist()) == set(large["task"].to_pylist()) and set(both["sampling_probability"].to_pylist()) == {0.5}
    assert sorted(both["order"].to_pylist()) == list(range(both.num_rows))
    assert appended(large, small).equals(large), "a smaller share takes nothing back"


def test_around_a_bound_near_pairs_are_likelier_and_weights_add_up(tmp_path):
    values = np.random.default_rng(7).uniform(0, 0.9, 1000).round(4)
    pool, release = released(tmp_path, [[{"clip.similarity": float(value)} for value in values]])
    tasks = make_tasks(pool, release, around="clip.similarity", pairs=300)
    assert set(tasks["question"].to_pylist()) == {LOW} and set(tasks["queue"].to_pylist()) == {"kept", "review", "dropped"}
    chances = np.asarray(tasks["sampling_probability"])
    assert abs((1 / chances).sum() - 1000) < 150, "one over the probability adds up to the pool"
    distance = np.abs(np.array([float(text) for text in tasks["value"].to_pylist()])[:, None] - [0.25, 0.4]).min(axis=1)
    assert chances[distance < 0.005].min() > 3 * chances[distance > 0.2].max()
    with pytest.raises(
        UsageError, match=r"no min, max or top_fraction on 'license\.class'; it has them on clip\.similarity, nsfw\.open_nsfw"
    ):
        make_tasks(pool, release, around="license.class")
    with pytest.raises(UsageError, match=f"gives 'nsfw:high'; it gives {LOW}"):
        make_tasks(pool, release, around="clip.similarity", question="nsfw:high")


def test_every_stratum_gets_an_equal_part():
    chances = probabilities(np.linspace(0, 1, 1000, endpoint=False), [0.5], 60)
    assert sorted(set(chances)) == [10 / 350, 10 / 100, 10 / 50] and chances.sum() == pytest.approx(60)
    assert chances[499] == chances[500] == 0.2 and chances[0] == chances[999] == 10 / 350
    assert (probabilities(np.array([0.1, 0.2]), [0.5], 60) == 1).all() and len(probabilities(np.empty(0), [0.5], 60)) == 0


def test_pairs_on_block_lists_never_appear_and_go_when_they_are_listed(tmp_path, monkeypatch):
    pool, release = released(tmp_path / "data", [[{"url": "http://bad.test/1.png"}, {}]])
    assert main(["--dataset", pool.store.root, "--kept", "1"]) == 0
    assert pq.read_table(tmp_path / "data" / TASKS_PATH).num_rows == 2
    monkeypatch.setenv("PIGMENT_BLOCK_LISTS", str(write_lists(tmp_path / "lists", {"domains": ["bad.test"]})))
    assert asked(make_tasks(pool, release, kept=1)) == [(1, "keep", "kept")]
    assert main(["--dataset", pool.store.root, "--kept", "1"]) == 0
    assert pq.read_table(tmp_path / "data" / TASKS_PATH)["row"].to_pylist() == [1], "the task that was there is gone"


def test_lists_of_bytes_are_held_against_the_stored_image(tmp_path, monkeypatch):
    pool, release = make_release(tmp_path, units=1)
    release.put_run({"policy": parse_policy(TEXT, where="t").as_dict(), "heartbeat": heartbeat()})
    monkeypatch.setenv("PIGMENT_BLOCK_LISTS", str(write_lists(tmp_path / "lists", {"md5": [hashlib.md5(jpeg(1)).hexdigest()]})))
    found = {row for row, _, queue in asked(make_tasks(pool, release, kept=1)) if queue == "kept"}
    assert found == {0, 2, 3, 4, 5}, "row 1's bytes are listed"


def test_gold_items_are_in_no_other_queue(tmp_path):
    pool, release = released(tmp_path, [ROWS])
    uids = release.read_decisions(release.decided()[0].unit)["uid"].to_pylist()
    (tmp_path / "gold.csv").write_text(f"uid,question,answer\n{uids[1]},{LOW},no\n{uids[7]},keep,no\n")
    tasks = make_tasks(pool, release, kept=0, dropped=0, gold=read_gold(str(tmp_path / "gold.csv"), pool, release))
    found = {(row["row"], row["question"]): (row["queue"], row["gold"]) for row in tasks.to_pylist()}
    assert found[1, LOW] == ("gold", "no") and found[7, "keep"] == ("gold", "no") and found[2, LOW] == ("review", None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("UID,keep,maybe", "row 2: 'maybe' is no known answer: yes or no"),
        ("UID,clip:bad,yes", "row 2: 'clip:bad' is no question"),
        ("ffff,keep,yes", "row 2: release r has no fetched pair 'ffff'"),
        ("UID,nsfw:high,no", "row 2: the pair and question of row 1 again"),
    ],
)
def test_a_bad_row_of_gold_is_named(tmp_path, line, message):
    pool, release = released(tmp_path, [[{}]])
    uid = release.read_decisions(release.decided()[0].unit)["uid"][0].as_py()
    (tmp_path / "gold.csv").write_text(f"uid,question,answer\n{uid},nsfw:high,yes\n{line.replace('UID', uid)}\n")
    with pytest.raises(UsageError, match=f"gold.csv: {message}"):
        read_gold(str(tmp_path / "gold.csv"), pool, release)


def test_the_command_says_what_is_wanted_and_writes_the_same_again(tmp_path, capsys):
    pool, release = released(tmp_path, [ROWS])
    assert latest(pool.store) == release.name and main(["--dataset", str(tmp_path), "--kept", "1", "--dropped", "1"]) == 0
    said = capsys.readouterr().out
    assert "Release r: 9 tasks, 9 of them new" in said and "1 pairs for review are not asked about" in said
    first = (tmp_path / TASKS_PATH).read_bytes()
    assert pq.read_table(tmp_path / TASKS_PATH).schema.names == TASKS.names
    assert main(["--dataset", str(tmp_path), "--kept", "1", "--dropped", "1"]) == 0
    assert "9 tasks, 0 of them new" in capsys.readouterr().out and (tmp_path / TASKS_PATH).read_bytes() == first
    for flags, message in (
        (["--dataset", str(tmp_path / "none")], "no dataset here"),
        (["--dataset", str(tmp_path), "--release", "x"], "no release x"),
        (["--dataset", str(tmp_path), "--kept", "2"], "is not from 0 to 1"),
        (["--dataset", str(tmp_path), "--question", LOW], "add --around"),
    ):
        with pytest.raises(UsageError, match=message):
            main(flags)


@pytest.mark.parametrize(
    ("rule", "signs"),
    [
        (Rule("c", LOW, min=0.11), ">= 0.11"),
        (Rule("c", LOW, min=1, max=3), ">= 1; <= 3"),
        (Rule("c", LOW, in_=(False,)), "= false"),
        (Rule("c", LOW, not_in=("a", "b")), "≠ a, b"),
        (Rule("c", LOW, top_fraction=0.3), "in the top 30% of the passing pairs"),
    ],
)
def test_bounds_in_signs(rule, signs):
    assert bound_signs(rule) == signs
    assert bound_signs(Rule("c", LOW, top_fraction=0.3), 0.25) == ">= 0.25"


def test_questions_of_a_policy_without_freedom():
    firm = Policy("firm", (Rule("c", LOW, min=1, overrule=False),))
    assert questions(firm, "review", [LOW]) == () and questions(firm, "keep", ["review:accepted"]) == ("keep",)
