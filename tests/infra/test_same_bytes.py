"""The main job over the small web on every engine: the same decisions and shards, to the byte."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import digests, web_flags
from tests.infra import figures
from tests.infra.clusters import spark_cluster
from tests.infra.conftest import needs
from tests.infra.jobs import run
from tests.web import SmallWeb


@contextlib.contextmanager
def _local(*flags: str) -> Iterator[Sequence[str]]:
    yield flags


@contextlib.contextmanager
def _standalone(folder: Path) -> Iterator[Sequence[str]]:
    with spark_cluster(folder) as cluster:
        yield ("--runner", "SparkRunner", *cluster.flags)


Flags = Callable[[Path], contextlib.AbstractContextManager[Sequence[str]]]
ENGINES: dict[str, tuple[str, Flags]] = {
    "DirectRunner, in_memory": ("", lambda _: _local("--running_mode", "in_memory")),
    "DirectRunner, multi_threading": ("", lambda _: _local("--running_mode", "multi_threading", "--workers", "2")),
    "DirectRunner, multi_processing": ("", lambda _: _local("--running_mode", "multi_processing", "--workers", "2")),
    "Prism": ("prism", lambda _: _local("--runner", "PrismRunner")),
    "Flink, mini cluster of 2 slots": ("flink", lambda _: _local("--runner", "FlinkRunner", "--workers", "2")),
    "Spark, one process of 2 threads": ("spark", lambda _: _local("--runner", "SparkRunner", "--workers", "2")),
    "Spark, standalone: master and 2 workers": ("spark", _standalone),
}


@pytest.fixture(scope="module")
def first() -> dict[str, bytes]:
    """The files of the first engine that was run."""
    return {}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_bytes(small_web: SmallWeb, tmp_path: Path, first: dict[str, bytes], engine: str):
    part, flags_in = ENGINES[engine]
    needs(part or "prism")
    small_web.reset()
    with flags_in(tmp_path / "cluster") as flags:
        job = run(tmp_path / "d", *web_flags(small_web), *flags)
    assert job.code == 0, job.out + job.err
    found = digests(tmp_path / "d")
    digest = hashlib.sha256()
    for name, data in sorted(found.items()):
        digest.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    figures.taken.append(figures.Row(engine, digest.hexdigest(), job.seconds, job.peak_mb))
    first.update(first or found)
    assert found == first
