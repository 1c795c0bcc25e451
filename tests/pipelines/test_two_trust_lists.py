"""A pool whose evidence was read with one list of trust anchors, or with two: `deepfake` reads the one that the flags name, or nothing."""

from pathlib import Path

import pytest

from pipelines.flags import parser
from pipelines.options import UsageError
from pipelines.pool_job import PoolJob, open_pool_job
from pipelines.steps.score_units import ScoreUnits, stored_columns
from quality.scorers.evidence import Evidence
from quality.scorers.faces import Faces
from quality.scorers.image import Image
from quality.scorers.protocol import info_of
from schemas.pool import Pool
from schemas.units import Pass, PoolError
from tests.pools import make_pool
from tests.trust.labelled import trust_list


@pytest.fixture
def anchors(tmp_path) -> Path:
    return trust_list(tmp_path)


@pytest.fixture
def pool(tmp_path) -> Pool:
    pool = make_pool(tmp_path / "data", [[{}]])
    pool.adopt_settings("source", {})
    return pool


def opened(pool: Pool, *flags: str) -> PoolJob:
    args, _ = parser().parse_with_beam(["--dataset", str(pool.store.root), "--start_at", "score", "--scorers", "deepfake", *flags])
    return open_pool_job(args)


def test_the_list_that_the_flags_name_is_read(pool, anchors):
    without = Pass.of([info_of(scorer) for scorer in (Evidence(), Faces(), Image())])
    with_list = Pass.of([info_of(Evidence(anchors))])
    pool.put_pass(without)
    pool.put_pass(with_list)
    for flags, pass_ in (([], without), (["--c2pa_trust", str(anchors)], with_list)):
        job = opened(pool, *flags)
        ScoreUnits(pool, job.scorers, job.pass_, threads=1, reads=job.reads)
        found = stored_columns(pool, job.scorers, job.pass_, reads=job.reads)
        assert found["evidence.c2pa"] == pass_.name
        assert found["faces.count"] == without.name
    with pytest.raises(PoolError, match=r"column evidence\.\w+ is in the passes"):
        ScoreUnits(pool, job.scorers, job.pass_, threads=1)


def test_evidence_of_another_list_is_not_taken_for_that_of_the_flags(pool, anchors):
    """The version would say that nobody was trusted, and the scores that somebody was."""
    pool.put_pass(Pass.of([info_of(scorer) for scorer in (Evidence(anchors), Faces(), Image())]))
    before = pool.passes()
    with pytest.raises(
        UsageError, match=r"deepfake would read what evidence:metadata gives, .* has evidence:metadata\+trust-\w{8}; give the flags"
    ):
        opened(pool)
    assert pool.passes() == before
