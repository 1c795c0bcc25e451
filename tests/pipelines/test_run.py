"""Running a graph: with what its workers start, and that the death of one is told and not waited for."""

import os
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest

from pipelines.options import EXIT_BUG
from pipelines.run import command, run_graph
from pipelines.workers import WorkerDied, ending


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


def segfault_at(number: int, folder: str):
    """A DoFn, pickled whole."""

    class Segfault(beam.DoFn):
        def process(self, element: int) -> Iterator[int]:
            if element == number:
                import ctypes

                ctypes.string_at(0)
            Path(folder, str(element)).touch()
            yield element

    return Segfault()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of Beam, whose reader lost its worker
@pytest.mark.parametrize("gives", [True, False], ids=["gives data", "gives nothing"])
def test_a_worker_that_dies_ends_the_graph_and_the_others_end_their_work(tmp_path: Path, gives: bool):
    """Beam alone waits for ever where the dead worker owed no data."""

    def graph(pipeline: beam.Pipeline) -> None:
        elements = pipeline | beam.Create(range(8)) | beam.Reshuffle() | beam.ParDo(segfault_at(3, str(tmp_path)))
        if gives:
            _ = elements | "Again" >> beam.Reshuffle() | beam.Map(str)

    with pytest.raises(WorkerDied, match=r"was ended by SIGSEGV.*the same command goes on from here"):
        run_graph(graph, runner="DirectRunner", mode="multi_processing", workers=2)
    done = {int(path.name) for path in tmp_path.iterdir()}
    assert 3 not in done and len(done) >= 4


def test_a_death_is_told_in_one_line(capfd):
    def dies() -> int:
        raise WorkerDied("was ended by SIGKILL")

    assert command(dies) == EXIT_BUG
    assert capfd.readouterr().err.startswith("pigment: error: a worker process was ended by SIGKILL; what is committed stays")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("return code 139", "was ended by SIGSEGV"),
        ("return code -9", "was ended by SIGKILL"),
        ("return code 3", "ended with exit status 3"),
    ],
)
def test_how_a_process_ended(text, told):
    assert ending(f"Worker subprocess exited with {text}") == told
