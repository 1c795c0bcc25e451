"""Running a graph: with what its workers start."""

import os
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest

from pipelines.run import run_graph


@pytest.mark.parametrize(("given", "expected"), [(None, "system 1"), ("2", "system 2")])
def test_workers_that_shuffle_have_one_heap_unless_the_user_said_otherwise(tmp_path: Path, monkeypatch, given, expected):
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    if given is not None:
        monkeypatch.setenv("MALLOC_ARENA_MAX", given)

    def heap(folder: str) -> Iterator[str]:  # in here, so that it is pickled whole: workers cannot import this module
        path = Path(folder, str(os.getpid()))
        path.write_text(f"{pa.default_memory_pool().backend_name} {os.environ.get('MALLOC_ARENA_MAX')}")
        yield folder

    def graph(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create([str(tmp_path)]) | beam.FlatMap(heap)

    run_graph(graph, runner="DirectRunner", mode="multi_processing", workers=1, shuffles=True)
    assert [path.read_text() for path in tmp_path.iterdir() if path.name != str(os.getpid())] == [expected]
    assert os.environ.get("MALLOC_ARENA_MAX") == given and "ARROW_DEFAULT_MEMORY_POOL" not in os.environ
