"""A bound from people's answers: labels and their weights, the proposal and what it costs, the new policy file."""

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from quality.command import UsageError
from quality.named_scorers import with_scorers
from quality.review.bounds import Bound, find_bound, moves, with_number
from quality.review.calibrate import main
from quality.review.files import put_table, read_answers, read_tasks
from quality.review.labels import labels_of
from quality.review.tasks import appended, make_tasks
from quality.review.thresholds import points_of, propose
from quality.rules import PACKAGED, find_policy
from schemas.columns import table_of
from schemas.policy import parse_policy, parse_stored_policy, read_policy
from schemas.reviews import ANSWERS, ANSWERS_PATH, TASKS, TASKS_PATH, task_of
from tests.pools import make_pool
from tests.selecting import select

LOW = "clip:low_similarity"
TEXT = """# what this is for
name = "mine"   # ours

[[rule]]
column = "clip.similarity"
do = "drop"
min = 0.25      # from the card
reason = "clip:low_similarity"

[[rule]]
column = "clip.similarity"
min = 0.5
do = "review"   # [[rule]] in a comment
missing = "keep"
reason = "clip:low_similarity"

[[rule]]
column = "nsfw.open_nsfw"
max = 0.5
reason = "nsfw:high"
"""


def rows(schema, *given):
    return table_of([{"adjudicates": False, "release": "r", **row, "task": task_of(row["uid"], row["question"])} for row in given], schema)


def said(uid, question, answer, *, queue="review", chance=1.0, reviewer="kim", **more):
    return {
        "uid": uid,
        "question": question,
        "answer": answer,
        "queue": queue,
        "sampling_probability": chance,
        "reviewer": reviewer,
        **more,
    }


def test_a_label_is_the_question_itself_or_what_keep_implies():
    given = rows(
        ANSWERS,
        said("a", LOW, "yes"),
        said("a", "keep", "yes"),  # the question itself counts
        said("b", "keep", "yes"),
        said("c", "keep", "no", reasons=["nsfw:high", LOW]),
        said("d", "keep", "no", reasons=["nsfw:high"]),  # for other reasons: left out
        said("e", "keep", "no"),
        said("f", LOW, "unsure"),
        said("g", LOW, "yes", queue="gold"),  # not drawn by chance
        said("h", "nsfw:high", "yes"),  # another question
        said("i", "keep", "no", reasons=[LOW]),
        said("i", "keep", "no", reasons=[], reviewer="lee"),
        said("i", "keep", "no", reasons=["nsfw:high"], reviewer="lead", adjudicates=True),
    )
    found = labels_of(given, None, LOW)
    assert found.truth == {"a": True, "b": False, "c": True} and (found.direct, found.implied, found.other) == (1, 2, 3)
    half = rows(ANSWERS, said("i", "keep", "no", reasons=[LOW]), said("i", "keep", "no", reviewer="lee"))
    assert labels_of(half, None, LOW).truth == {"i": True}, "half of them name it"


def test_a_label_stands_for_one_over_its_probability_and_for_what_is_not_answered_yet():
    tasks = rows(
        TASKS,
        *({"uid": f"k{n}", "question": "keep", "queue": "kept", "sampling_probability": 0.1} for n in range(4)),
        *({"uid": f"d{n}", "question": LOW, "queue": "dropped", "sampling_probability": 0.5} for n in range(2)),
        {"uid": "k0", "question": LOW, "queue": "kept", "sampling_probability": 0.5},  # also near the bound: the larger of its chances
        {"uid": "g", "question": LOW, "queue": "gold", "sampling_probability": 1.0},
    )
    given = rows(
        ANSWERS,
        said("k0", LOW, "no", queue="kept", chance=0.5),
        said("k1", "keep", "yes", queue="kept", chance=0.1),
        said("d0", LOW, "yes", queue="dropped", chance=0.5),
        said("d1", LOW, "no", queue="dropped", chance=0.5),
    )
    found = labels_of(given, tasks, LOW)
    assert found.weights == {"k0": 2.0, "k1": pytest.approx(30.0), "d0": 2.0, "d1": 2.0} and found.asked == 6
    assert labels_of(given, None, LOW).weights == {"k0": 2.0, "k1": 10.0, "d0": 2.0, "d1": 2.0}


def test_what_nobody_speaks_for_is_told(dataset, capsys):
    pool, _ = dataset
    answers = read_answers(pool.store)
    put_table(pool.store, ANSWERS_PATH, answers.filter(pc.not_equal(answers["queue"], "kept")))
    assert run(pool, "--rule", "2") == 0
    told = capsys.readouterr().out
    asked = set(read_tasks(pool.store).filter(pc.field("queue") == "kept")["uid"].to_pylist())
    assert f"note      {len(asked):,} pairs of the queue 'kept' were asked about and nothing is settled there" in told
    assert "note      nothing is known of pairs that the bound lets pass: nor are recall" in told
    put_table(pool.store, ANSWERS_PATH, answers)
    assert run(pool, "--rule", "2") == 0 and "note " not in capsys.readouterr().out


def bound_of(number=1, field="min"):
    return Bound(parse_policy(TEXT, where="t"), number, field)


def test_precision_and_recall_by_hand():
    values, truth = np.array([0.1, 0.2, 0.3, 0.4]), np.array([True, False, True, False])
    weights = np.array([1.0, 3.0, 1.0, 5.0])
    points = {point.at: point for point in points_of(bound_of(), values, truth, weights)}
    assert sorted(points) == [0.1, 0.2, 0.25, 0.3, 0.4] and points[0.1].precision["value"] is None
    assert (points[0.2].precision["value"], points[0.2].recall["value"]) == (1.0, 0.5)
    assert (points[0.25].precision["value"], points[0.25].recall["value"]) == (1 / 4, 0.5), "a bound is inclusive: 0.2 is called"
    assert (points[0.4].precision["value"], points[0.4].recall["value"]) == (2 / 5, 1.0)
    assert points[0.4].precision["high"] - points[0.4].precision["low"] > 0.6, "3 labels of unequal weights are few"
    above = {point.at: point for point in points_of(bound_of(3, "max"), values, ~truth, weights)}
    assert (above[0.3].precision["value"], above[0.3].recall["value"]) == (1.0, 5 / 8)


def test_the_proposal_reaches_the_target_and_has_most_of_the_other():
    values = np.arange(10) / 10
    truth = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], bool)
    points = points_of(bound_of(), values, truth, np.ones(10))
    assert propose(points, now=0.25, precision=1.0, recall=None).at == 0.25, "of equals the one that stands"
    assert propose(points, now=0.25, precision=0.8, recall=None).at == 0.6
    assert propose(points, now=0.25, precision=None, recall=1.0).at == 0.6
    assert propose(points, now=0.25, precision=None, recall=0.5).at == 0.25, "of those that reach it the most precise"
    assert propose(points_of(bound_of(), values, np.zeros(10, bool), np.ones(10)), now=0.25, precision=0.5, recall=None) is None


def test_which_bound_is_meant():
    policy = parse_policy(TEXT, where="t")
    assert find_bound(policy, "clip.similarity", None, 2) == Bound(policy, 2, "min")
    assert find_bound(policy, "nsfw.open_nsfw", "nsfw:high", None) == Bound(policy, 3, "max")
    with pytest.raises(UsageError, match=r"several bounds on clip\.similarity \(rule 1: .*drop, min = 0\.25, rule 2: .*--rule NUMBER"):
        find_bound(policy, "clip.similarity", None, None)
    with pytest.raises(UsageError, match=r"no min or max on image\.aspect; it has them on clip\.similarity, nsfw\.open_nsfw"):
        find_bound(policy, "image.aspect", None, None)


def test_only_the_number_changes():
    changed = with_number(TEXT, bound_of(), 0.3, where="t", folder=Path())
    assert changed == TEXT.replace("min = 0.25", "min = 0.3")
    assert with_number(TEXT, bound_of(2), 0.45, where="t", folder=Path()) == TEXT.replace("min = 0.5", "min = 0.45")
    assert with_number(TEXT, bound_of(3, "max"), 1.0, where="t", folder=Path()) == TEXT.replace("max = 0.5", "max = 1.0")
    inline = 'name = "i"\nrule = [{column = "clip.similarity", min = 0.25, reason = "clip:low_similarity"}]\n'
    with pytest.raises(UsageError, match=r"rule 1 is not written as \[\[rule\]\]"):
        with_number(inline, Bound(parse_policy(inline, where="i"), 1, "min"), 0.3, where="i", folder=Path())


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_bound_of_every_packaged_policy_can_be_moved(path):
    policy, text = read_policy(path), path.read_text("utf-8")
    for number, rule in enumerate(policy.rules, 1):
        for field in ("min", "max"):
            if (value := getattr(rule, field)) is not None:
                changed = with_number(text, Bound(policy, number, field), value + 1.0, where=str(path), folder=path.parent)
                assert len([1 for one, other in zip(text.splitlines(), changed.splitlines(), strict=True) if one != other]) == 1


@pytest.fixture
def dataset(tmp_path):
    """Similarities 0.00 to 0.99; the reason truly holds below 0.35. All answered: the review queue, half of the dropped, a fifth of the kept."""
    (tmp_path / "mine.toml").write_text(TEXT)
    policy = read_policy(tmp_path / "mine.toml")
    pool = make_pool(
        tmp_path / "data", [[{"clip.similarity": n / 100, "nsfw.open_nsfw": 0.9 if n == 60 else 0.1} for n in range(100)] * 10]
    )
    release = select(pool, policy, "r")
    release.put_run({"policy": policy.as_dict(), "policy_digest": policy.digest})
    pool.adopt_settings("source", {})
    pool.store.put("releases/latest", b"r")
    tasks = appended(TASKS.empty_table(), make_tasks(pool, release, kept=0.2, dropped=0.5))
    put_table(pool.store, TASKS_PATH, tasks)
    at = {row["uid"]: row["clip.similarity"] for row in release.read_decisions(release.decided()[0].unit).to_pylist()}
    given = []
    for task in tasks.to_pylist():
        holds = at[task["uid"]] < 0.345
        answer = {"keep": "no" if holds else "yes", LOW: "yes" if holds else "no", "nsfw:high": "yes"}[task["question"]]
        given.append(said(task["uid"], task["question"], answer, queue=task["queue"], chance=task["sampling_probability"], reasons=[LOW]))
    put_table(pool.store, ANSWERS_PATH, rows(ANSWERS, *given))
    return pool, release


def run(pool, *flags):
    return main(["--dataset", pool.store.root, "--column", "clip.similarity", *flags])


def test_the_bound_that_people_mean_is_found_with_its_cost(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool, _ = dataset
    assert run(pool, "--rule", "1", "--target_precision", "1", "--policy", "mine.toml", "--accept", "better") == 0
    told = capsys.readouterr().out
    assert "rule 1    clip.similarity min = 0.25: drop, clip:low_similarity" in told
    assert "proposed for a precision of 1: min = 0.35, now 0.25" in told and "  review -> drop          100 pairs" in told
    assert "-min = 0.25      # from the card\n+min = 0.35      # from the card\n" in told
    assert Path("better.toml").read_text() == TEXT.replace("min = 0.25", "min = 0.35") and "--policy better.toml" in told
    with pytest.raises(UsageError, match=r"better\.toml: that file stands"):
        run(pool, "--rule", "1", "--policy", "mine.toml", "--accept", "better.toml")
    assert capsys.readouterr().out == ""
    assert run(pool, "--rule", "1", "--target_recall", "0.5", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["proposed"]["precision"]["value"] == 1.0 and 0.5 <= data["proposed"]["recall"]["value"] <= 1
    assert data["labels"]["direct"] > 300 and 50 < data["labels"]["implied"] < 150


def test_a_release_that_read_scorer_named_scorers_for_can_be_calibrated(dataset, tmp_path, capsys, monkeypatch):
    """Such a release's policy names scorers that its file does not: the file is found and changed, and what comes next names them again."""
    monkeypatch.chdir(tmp_path)
    pool, _ = dataset
    scorer = next(info.identity for info in pool.passes()[0].scorers if info.name == "clip")
    policy = with_scorers(read_policy("mine.toml"), [scorer])
    assert policy.digest != read_policy("mine.toml").digest
    release = select(pool, policy, "named")
    release.put_run({"policy": policy.as_dict(), "policy_digest": policy.digest})
    asked = ("--rule", "1", "--target_precision", "1", "--release", "named", "--policy", "mine.toml", "--accept")
    assert run(pool, *asked, "better") == 0
    assert Path("better.toml").read_text() == TEXT.replace("min = 0.25", "min = 0.35")
    assert capsys.readouterr().out.endswith(f"--policy better.toml --read_scorer {scorer}\n")
    Path("mine.toml").write_text(TEXT.replace("max = 0.5", "max = 0.6"))
    with pytest.raises(UsageError, match=r"--policy mine\.toml is not what the release was made by"):
        run(pool, *asked, "other")
    Path("mine.toml").write_text(TEXT.replace("min = 0.25", 'min = 0.25\nscorer = "clip:another"'))
    with pytest.raises(UsageError, match=r"--policy mine\.toml is not what the release was made by"):
        run(pool, *asked, "other")


def test_moves_are_what_select_then_does(dataset, tmp_path):
    pool, release = dataset
    for number, at in ((1, 0.35), (1, 0.1), (2, 0.6), (2, 0.3)):
        bound = Bound(read_policy(tmp_path / "mine.toml"), number, "min")
        after = select(pool, bound.moved(at), f"r{number}{at}")
        pairs = [each.read_decisions(each.decided()[0].unit)["verdict"].to_pylist() for each in (release, after)]
        changed = [(one, other) for one, other in zip(*pairs, strict=True) if one != other]
        assert moves(release, bound, at) == {move: changed.count(move) for move in set(changed)}


def test_mistakes_are_told(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool, _ = dataset
    for flags, message in (
        (("--rule", "1", "--accept", "x"), "made by no packaged policy; give its file with --policy"),
        (("--rule", "1", "--accept", "x", "--policy", "embedded"), "--policy embedded is not what the release was made by"),
        (("--rule", "1", "--answers", "none.parquet"), "none.parquet is not there"),
        (("--rule", "9"), "no min or max on clip.similarity in rule 9"),
        (("--rule", "1", "--target_recall", "95"), "95 is not from 0 to 1"),
        (("--rule", "1", "--target_precision", "1", "--target_recall", "1"), "not allowed with"),
    ):
        with pytest.raises(UsageError, match=message.replace(".", r"\.")):
            run(pool, *flags)
    assert not Path("x.toml").exists()
    pool.store.delete(ANSWERS_PATH)
    with pytest.raises(UsageError, match="has no answers yet"):
        run(pool, "--rule", "1")


def test_estimates_from_samples_are_close_to_the_truth():
    """1,000 pools' worth: weighted precision is unbiased where kept and dropped pairs are asked with different chances."""
    rng, found = np.random.default_rng(3), []
    values = rng.uniform(0, 1, 4000)
    truth = rng.uniform(0, 1, 4000) < np.clip(1.2 - values, 0, 1)
    chance = np.where(values < 0.25, 0.4, 0.05)
    bound = bound_of()
    called = bound.calls(values, 0.6)
    true = truth[called].mean()
    for _ in range(60):
        drawn = rng.uniform(0, 1, 4000) < chance
        points = points_of(bound, np.r_[values[drawn], 0.6], np.r_[truth[drawn], False], np.r_[1 / chance[drawn], 1e-9])
        found.append(next(point.precision for point in points if point.at == 0.6))
    assert abs(np.mean([each["value"] for each in found]) - true) < 0.02
    assert sum(each["low"] <= true <= each["high"] for each in found) >= 52, "of 60 intervals of 95 %"


def test_embedded_policy_is_found_by_its_digest():
    from quality.review.bounds import policy_file

    stored = parse_stored_policy(json.loads(json.dumps(find_policy("embedded").as_dict())))
    assert policy_file(stored, None) == PACKAGED / "embedded.toml"
