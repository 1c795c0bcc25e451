"""The pool's job: what it says before anything is written."""

import pytest

from pipelines.flags import parser
from pipelines.pool_job import RESIZED_EVIDENCE, open_pool_job
from tests.scoring import SAMPLE


@pytest.mark.parametrize(("store", "told"), [("original", False), ("resized", True)])
def test_a_resized_pool_says_that_evidence_is_gone(tmp_path, store, told):
    args, _ = parser().parse_with_beam(
        ["--dataset", str(tmp_path / "data"), "--source", str(SAMPLE), "--store", store, "--scorers", "evidence"]
    )
    job = open_pool_job(args)
    assert (RESIZED_EVIDENCE in job.headline()) is told
    again, _ = parser().parse_with_beam(["--dataset", str(tmp_path / "data"), "--start_at", "score", "--scorers", "evidence"])
    assert (RESIZED_EVIDENCE in open_pool_job(again).headline()) is told
