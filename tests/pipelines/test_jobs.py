"""Jobs: what they say, and refuse, before anything is written or removed."""

import pytest

from pipelines.flags import parser
from pipelines.jobs import RESIZED_EVIDENCE, open_pool_job, open_release_job
from pipelines.options import UsageError
from schemas.release import heartbeat
from tests.block_lists import write_lists
from tests.pools import make_pool
from tests.scoring import SAMPLE

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
    with pytest.raises(UsageError, match=r"nothing was selected for this policy, target and lists yet \(release mine\)"):
        open_release_job(args, pool)
    assert job.release.run() is not None, "what was selected is still there"


@pytest.mark.parametrize(("store", "told"), [("original", False), ("resized", True)])
def test_a_resized_pool_says_that_evidence_is_gone(tmp_path, store, told):
    args, _ = parser().parse_with_beam(
        ["--dataset", str(tmp_path / "data"), "--source", str(SAMPLE), "--store", store, "--scorers", "evidence"]
    )
    job = open_pool_job(args)
    assert (RESIZED_EVIDENCE in job.headline()) is told
    again, _ = parser().parse_with_beam(["--dataset", str(tmp_path / "data"), "--start_at", "score", "--scorers", "evidence"])
    assert (RESIZED_EVIDENCE in open_pool_job(again).headline()) is told
