"""Jobs on real engines. They are slow and big: `make test-runners` runs them, `make test` says that they were not run."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.options import UsageError
from pipelines.runners.parts import parts_of
from tests.conftest import digests, ingest
from tests.scoring import SAMPLE

ON_ENGINES = os.environ.get("PIGMENT_RUNNER_TESTS") == "1"
NOT_RUN = "not run: needs Prism, Spark and Flink; make test-runners"
POLICY = 'name = "aspect"\nsimilarity = "image.sharpness"\n[[rule]]\ncolumn = "image.aspect"\nmax = 2\nreason = "image:aspect"\n'


def needs(engine: str) -> None:
    """Skips the test where the engine is not to be run, or not there."""
    if not ON_ENGINES:
        pytest.skip(NOT_RUN)
    try:
        parts_of(engine)
    except UsageError as error:
        pytest.skip(f"not run: {error}")


@pytest.fixture(scope="session")
def slow_job(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """Flags of a job whose scoring takes its time and little else: what is killed in its midst is killed in its midst."""
    if not ON_ENGINES:
        pytest.skip(NOT_RUN)
    policy = tmp_path_factory.mktemp("policy") / "aspect.toml"
    policy.write_text(POLICY, "utf-8")
    scorers = ("--scorers", "image", "--scorer", "tests.infra.slow:Slow")
    return ("--source", str(SAMPLE), "--limit", "80", "--unit_size", "10", *scorers, "--policy", str(policy), "--workers", "2")


@pytest.fixture(scope="session")
def undisturbed(slow_job: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the slow job gives on the in-process runner."""
    root: Path = tmp_path_factory.mktemp("undisturbed") / "data"
    run = ingest("--dataset", root, *slow_job)
    assert run.returncode == 0, run.stdout + run.stderr
    return digests(root)
