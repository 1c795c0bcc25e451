"""Decisions as a job takes them: which it finds, what of them counts, what it says."""

import pytest

from pipelines.explain import main as explain
from pipelines.flags import parser
from pipelines.release_job import open_release_job
from pipelines.reviews import open_reviews
from quality.block_lists import ENVIRONMENT, BlockLists
from quality.command import UsageError
from quality.review.files import put_table
from schemas.reviews import ANSWERS_PATH
from schemas.store import Store
from tests.answers import answers
from tests.block_lists import lists_of
from tests.pipelines.test_select_reviews import LOW, RULES, pairs, policy_of
from tests.pools import make_pool
from tests.selecting import select

NOTHING = BlockLists({})


@pytest.fixture
def pool(tmp_path):
    return make_pool(tmp_path / "data", [[{"clip.similarity": 0.1, "size": 1}, {"size": 1}], [{"license_url": None, "size": 1}]])


def uids(pool):
    return [uid for unit in sorted(pool.committed()) for uid in pool.read_raw(unit, ["uid"])["uid"].to_pylist()]


def opened(pool, given=None, lists=NOTHING):
    return open_reviews(pool, sorted(pool.committed()), given, lists)


def test_without_answers_nothing_was_decided(pool):
    found = opened(pool)
    assert (found.digest, found.told(), found.line({"accepted": 0, "rejected": 0})) == (None, None, None)


def test_only_what_is_settled_about_pairs_of_the_pool_counts(pool, tmp_path):
    one, two, three = uids(pool)
    said = [(one, LOW, "no"), (two, "keep", "unsure"), ("f" * 32, "keep", "no"), ("e" * 32, LOW, "no"), (three, "keep", "no")]
    put_table(pool.store, ANSWERS_PATH, answers(*said))
    found = opened(pool)
    assert {(row["uid"], row["question"], row["answer"]) for row in found.settled.to_pylist()} == {(one, LOW, "no"), (three, "keep", "no")}
    assert (found.unsettled, found.elsewhere) == (1, 2)
    assert found.line({"accepted": 1, "rejected": 1}) == (
        "people decided about 2 pairs: 1 rows accepted, 1 rejected; questions left open: 1; decisions about pairs that this pool does not "
        f"have: 2  ({pool.store.path_of(ANSWERS_PATH)})"
    )
    assert opened(pool, "none").digest is None
    put_table(Store(tmp_path), "mine.parquet", answers(said[0]))
    assert opened(pool, str(tmp_path / "mine.parquet")).settled["uid"].to_pylist() == [one]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([("a" * 32, "keep", "yes"), ("a" * 32, "keep", "maybe")], "row 2: 'maybe' is no answer: yes, no or unsure"),
        ([("a" * 32, "clip:bad", "yes")], "row 1: 'clip:bad' is no question: a reason of pigment, or keep"),
        ([(None, "keep", "yes")], "row 1: has no uid"),
        ([("a" * 32, "keep", "yes", "kim"), ("a" * 32, "keep", "no", "kim")], "row 2: kim answered task .* in row 1 already"),
    ],
)
def test_a_bad_row_is_named(pool, said, message):
    put_table(pool.store, ANSWERS_PATH, answers(*said))
    with pytest.raises(UsageError, match=f"decisions.parquet: {message}"):
        opened(pool)


def test_no_file_and_no_parquet(pool, tmp_path):
    with pytest.raises(UsageError, match="is not there"):
        opened(pool, str(tmp_path / "gone.parquet"))
    (tmp_path / "text.parquet").write_text("uid,question,answer\n")
    with pytest.raises(UsageError, match="no Parquet file"):
        opened(pool, str(tmp_path / "text.parquet"))
    put_table(Store(tmp_path), "half.parquet", answers(("a", "keep", "yes")).drop_columns("answer"))
    with pytest.raises(UsageError, match="no column 'answer'"):
        opened(pool, str(tmp_path / "half.parquet"))


def test_a_releases_digest_hangs_on_decisions_and_only_on_those_that_count(pool, tmp_path):
    (tmp_path / "p.toml").write_text(RULES, "utf-8")
    args, _ = parser().parse_with_beam(["--dataset", pool.store.root, "--policy", str(tmp_path / "p.toml"), "--start_at", "select"])
    without = open_release_job(args, pool).digest
    one, two, _ = uids(pool)
    put_table(pool.store, ANSWERS_PATH, answers((one, LOW, "unsure"), ("f" * 32, "keep", "no")))
    assert open_release_job(args, pool).digest == without
    put_table(pool.store, ANSWERS_PATH, answers((one, LOW, "no")))
    job = open_release_job(args, pool)
    assert job.digest != without and job.run["reviews"] == {"digest": job.reviews.digest, "settled": 1, "pairs": 1}
    put_table(pool.store, ANSWERS_PATH, answers((one, LOW, "no"), (two, "keep", "unsure")))
    assert open_release_job(args, pool).digest == job.digest
    with job.writing():
        assert job.release.read_settled(job.reviews.digest).equals(job.reviews.settled)
    args.reviews = "none"
    assert open_release_job(args, pool).digest == without


def test_nothing_is_frozen_of_a_pair_that_is_listed_now(pool, tmp_path, monkeypatch):
    one, _, three = uids(pool)
    put_table(pool.store, ANSWERS_PATH, answers((one, LOW, "no"), (three, "keep", "no")))
    lists = lists_of(tmp_path / "lists", urls=["http://host.test/1/0.png"])  # the pair of the second unit
    found = opened(pool, lists=lists)
    assert (found.settled["uid"].to_pylist(), found.listed, found.elsewhere) == ([one], 1, 0)
    assert "decisions about pairs on a block list now, which do not count: 1" in found.line({"accepted": 1, "rejected": 0})
    (tmp_path / "p.toml").write_text(RULES, "utf-8")
    args, _ = parser().parse_with_beam(["--dataset", pool.store.root, "--policy", str(tmp_path / "p.toml"), "--start_at", "select"])
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "lists"))
    job = open_release_job(args, pool)
    with job.writing():
        assert job.release.read_settled(job.reviews.digest)["uid"].to_pylist() == [one]
    put_table(pool.store, ANSWERS_PATH, answers((three, "keep", "no")))
    assert open_release_job(args, pool).run["reviews"] is None, "nothing that counts is settled"


def told(pool, uid, capsys):
    assert explain(["--dataset", pool.store.root, "--uid", uid, "--release", "child"]) == 0
    return capsys.readouterr().out


def test_explain_says_what_people_decided_and_what_it_changed(pool, capsys):
    one, two, three = uids(pool)
    pool.adopt_settings("source", {})
    policy = policy_of(RULES)
    parent = select(pool, policy, "parent")
    parent.put_run({"policy": policy.as_dict()})
    said = answers(
        (one, LOW, "no"), (one, "nsfw:high", "yes"), (two, "keep", "no"), (three, "keep", "yes"), (three, "license:not_allowed", "no")
    )
    child = select(pool, policy, "child", answers=said)
    child.put_run({"policy": policy.as_dict(), "parent": "parent"})
    assert [row["verdict"] for row in pairs(child).values()] == ["keep", "drop", "drop"]
    first = told(pool, one, capsys)
    assert f"people     no to {LOW}: {LOW} does not count\n" in first
    assert "people     yes to nsfw:high: changes nothing, for no rule of the policy can give that reason\n" in first
    assert f"before     drop, because {LOW}  (release parent, its parent)\n" in first
    second = told(pool, two, capsys)
    assert "people     no to keep: it is rejected\nbefore     keep  (release parent, its parent)\n" in second
    assert "would have kept it\n  people who decide otherwise\n" in second
    third = told(pool, three, capsys)
    assert "people     no to license:not_allowed: changes nothing, for the policy lets nobody overrule it\n" in third
    assert (
        "people     yes to keep: the rules find nothing that it could lift; license:not_allowed stands, for nobody may overrule it\n"
        in third
    )
    assert "before" not in third, "nothing changed for it"
