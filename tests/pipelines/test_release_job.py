"""The release's job: what it refuses before anything is removed."""

import pytest

from pipelines.flags import parser
from pipelines.options import UsageError
from pipelines.release_job import open_release_job
from schemas.release import heartbeat
from tests.block_lists import write_lists
from tests.pools import make_pool

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
