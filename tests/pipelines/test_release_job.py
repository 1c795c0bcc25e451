"""The release's job: what it refuses before anything is removed."""

import pytest

from pipelines.flags import parser
from pipelines.options import UsageError
from pipelines.release_job import open_release_job
from schemas.policy import PolicyError
from schemas.release import heartbeat
from schemas.units import Pass, ScorerInfo
from tests.block_lists import write_lists
from tests.pools import PASS, make_pool, unit

POLICY = 'name = "p"\n[[rule]]\ncolumn = "clip.similarity"\nmin = 0.2\nreason = "clip:low_similarity"\n'


def test_shards_are_not_made_of_what_was_selected_with_other_lists(tmp_path, monkeypatch):
    monkeypatch.delenv("PIGMENT_BLOCK_LISTS", raising=False)
    pool = make_pool(tmp_path / "data", [[{}]])
    (tmp_path / "p.toml").write_text(POLICY, "utf-8")
    flags = ["--dataset", pool.store.root, "--policy", str(tmp_path / "p.toml"), "--release", "mine", "--start_at"]
    args, _ = parser().parse_with_beam([*flags, "select"])
    job = open_release_job(args, pool)
    job.release.put_run({**job.run, "heartbeat": heartbeat()})
    args, _ = parser().parse_with_beam([*flags, "shard"])
    assert open_release_job(args, pool).digest == job.digest
    monkeypatch.setenv("PIGMENT_BLOCK_LISTS", str(write_lists(tmp_path / "lists", {"domains": ["bad.test"]})))
    with pytest.raises(UsageError, match=r"nothing was selected for this policy, target, lists and reviews yet \(release mine\)"):
        open_release_job(args, pool)
    assert job.release.run() is not None, "what was selected is still there"


def test_a_release_records_the_scorer_that_the_user_named(tmp_path, monkeypatch):
    monkeypatch.delenv("PIGMENT_BLOCK_LISTS", raising=False)
    pool = make_pool(tmp_path / "data", [[{}]])
    other, commit = Pass.of([ScorerInfo("clip", "ViT-B-32/openai@test", ("clip.similarity",))]), pool.raw_commit(unit(0))
    pool.put_pass(other)
    scores = pool.read_scores(PASS.name, unit(0), ["clip.similarity"])
    pool.commit_scores(other.name, unit(0), scores, input_digest=commit.content_digest)
    (tmp_path / "p.toml").write_text(POLICY, "utf-8")
    flags = ["--dataset", pool.store.root, "--policy", str(tmp_path / "p.toml"), "--start_at", "select"]

    def opened(*more: str):
        return open_release_job(parser().parse_with_beam([*flags, *more])[0], pool)

    with pytest.raises(PolicyError, match="--read_scorer clip:pigment-embedded"):
        opened()
    jobs = [opened("--read_scorer", name) for name in ("clip:pigment-embedded", "clip:ViT-B-32/openai")]
    assert [job.run["policy"]["rules"][0]["scorer"] for job in jobs] == ["clip:pigment-embedded", "clip:ViT-B-32/openai"]
    assert [[name for name, names in job.plan.scores.items() if "clip.similarity" in names] for job in jobs] == [[PASS.name], [other.name]]
    assert jobs[0].digest != jobs[1].digest
