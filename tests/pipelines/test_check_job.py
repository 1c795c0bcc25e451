"""--check_job: the real graphs hold, offline, and each check sees what it is there for."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.check_job import check_job
from pipelines.dataflow import checks
from pipelines.dataflow.hand_over import hands_over
from pipelines.dataflow.translate import Graph, translate
from pipelines.flags import parser
from pipelines.ingest import main, pool_graph, select_graph, shard_graph
from pipelines.options import EXIT_USAGE, UsageError
from tests.conftest import ingest

T4 = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
IMAGE = "us-central1-docker.pkg.dev/p/pigment/worker@sha256:" + "0" * 64
CLOUD = ("--runner", "DataflowRunner", "--project", "my-project", "--region", "us-central1", "--temp_location", "gs://my-data/tmp")
JOB = (*CLOUD, "--dataset", "gs://my-data/cats", "--source", "gs://my-data/lists/*.parquet", "--contact", "me@example.org")

# Stands where Python looks first: whoever opens a connection, or asks for a name, is told off.
OFFLINE = """
import socket
def refuse(*args, **named):
    raise SystemExit(f"asked the network: {args}")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
"""


def test_the_job_holds_without_network_and_credentials(tmp_path: Path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(OFFLINE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    run = ingest(*JOB, "--check_job", "1e8", "--score_accelerator", T4, "--score_min_ram", "12GB", "--sdk_container_image", IMAGE)
    assert run.returncode == 0, run.stdout + run.stderr
    told = " ".join(run.stdout.split())
    assert "a job of 100,000,000 pairs" in told and "all 21 checks hold" in told
    assert f"Score/Score: accelerator {T4}, min_ram_bytes 12000000000" in told
    assert "side inputs Check hosts/When all are asked: one number" in told
    assert "4 PCollections, all as Arrow IPC" in told


def test_what_is_missing_is_told(tmp_path: Path):
    flags = ["--runner", "DataflowRunner", "--contact", "me@example.org", "--dataset", str(tmp_path / "d"), "--check_job", "1000"]
    lines, code = check_job(*parser().parse_with_beam(flags), (pool_graph, select_graph, shard_graph))
    assert code == EXIT_USAGE
    assert [line.split()[1] for line in lines if line.startswith("FAIL")] == ["flags", "places", "container"]
    assert any("missing: --project, --region, --temp_location" in line for line in lines) and lines[-1] == "3 of 21 checks failed"
    assert not (tmp_path / "d").exists()


def test_only_for_dataflow(tmp_path: Path):
    with pytest.raises(UsageError, match="add --runner DataflowRunner"):
        main(["--check_job", "--dataset", str(tmp_path / "d")])


@pytest.fixture
def graph(tmp_path: Path) -> Callable[[Callable[[beam.Pipeline], object]], Graph]:
    return lambda build: translate("graph", build, CLOUD[2:], tmp_path)


def batch_of(number: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    yield number, pa.record_batch({"n": [number]})


def score(unit: str) -> str:
    return unit


def test_an_unbounded_side_input(graph):
    def build(pipeline: beam.Pipeline) -> None:
        units = pipeline | "Units" >> beam.Create(["a", "b"])
        _ = units | "With all others" >> beam.Map(lambda unit, others: unit, beam.pvalue.AsList(units))

    found = checks.side_inputs(graph(build))
    assert not found.ok and "With all others (AsList)" in found.told


def test_a_known_side_input_that_became_a_list(graph):
    def build(pipeline: beam.Pipeline) -> None:
        units = pipeline | "Units" >> beam.Create(["a", "b"])
        _ = units | "Select" >> _Outer("Decide", beam.Map(lambda unit, others: unit, beam.pvalue.AsIter(units)))

    found = checks.side_inputs(graph(build))
    assert not found.ok and "Select/Decide (AsIter)" in found.told


class _Outer(beam.PTransform):
    def __init__(self, label: str, inner: beam.PTransform):
        self.inner = label >> inner

    def expand(self, given):
        return given | self.inner


def scoring(*, hints: dict[str, str], shuffled: bool, elsewhere: bool = False) -> Callable[[beam.Pipeline], None]:
    def build(pipeline: beam.Pipeline) -> None:
        units = pipeline | "Units" >> beam.Create(["a", "b"])
        fetched = units | "Fetch" >> beam.Map(score).with_resource_hints(**(hints if elsewhere else {}))
        if shuffled:
            fetched = fetched | "Spread to score" >> beam.Reshuffle()
        _ = fetched | "Score" >> _Outer("Score", beam.Map(score)).with_resource_hints(**hints)

    return build


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (scoring(hints={}, shuffled=True), "scoring does not carry it"),
        (scoring(hints={"accelerator": T4}, shuffled=False), "Score/Score is fused with the step before"),
        (scoring(hints={"accelerator": T4}, shuffled=True, elsewhere=True), "also on Fetch"),
    ],
    ids=["missing", "fused", "elsewhere"],
)
def test_resource_hints_that_miss(graph, build, told):
    found = checks.hints(graph(build), asked=True)
    assert not found.ok and told in found.told


def test_resource_hints_that_hit(graph):
    assert checks.hints(graph(scoring(hints={"accelerator": T4}, shuffled=True)), asked=True) == checks.Found(
        "resource hints", True, f"Score/Score: accelerator {T4}"
    )


@pytest.mark.parametrize(("kind", "ok"), [(tuple[int, pa.RecordBatch], True), (dict[int, pa.RecordBatch], False)])
def test_pickled_batches(graph, kind, ok):
    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | "Numbers" >> beam.Create([1]) | "Batches" >> beam.FlatMap(batch_of).with_output_types(kind)

    found = checks.batches(graph(build))
    assert found.ok is ok and ("Batches" in found.told) is not ok


def test_a_function_of_main(graph, monkeypatch):
    def local(unit: str) -> str:
        return unit

    local.__module__ = "__main__"
    monkeypatch.setattr(sys.modules["__main__"], "local", local, raising=False)

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | "Units" >> beam.Create(["a"]) | "Of main" >> beam.Map(local) | "Of a module" >> beam.Map(score)

    found = checks.main_module(graph(build))
    assert not found.ok and found.told.startswith("captured in Of main:")


def test_names_that_nobody_reads(graph):
    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | "Units" >> beam.Create(["a"]) | beam.Map(lambda unit: unit) | "do_it_2" >> beam.Map(score)

    found = checks.names(graph(build))
    assert not found.ok and "<lambda at test_check_job.py" in found.told and "'do_it_2'" in found.told and "Units" not in found.told


def test_a_graph_that_carries_its_data(graph, tmp_path, monkeypatch):
    """In small: 10 MB take seconds."""
    monkeypatch.setattr(checks, "MOST_BYTES", 1_000_000)

    def built(data: bytes) -> Callable[[beam.Pipeline], object]:
        return lambda pipeline: pipeline | "Units" >> beam.Create([data])

    assert checks.size(graph(built(b"few"))).ok
    found = checks.size(translate("large", built(random.Random(0).randbytes(1_100_000)), CLOUD[2:], tmp_path))
    assert not found.ok and "Dataflow's limit is 1 MB" in found.told


@pytest.mark.parametrize(
    ("image", "ok"),
    [
        (IMAGE, True),
        ("r.dev/p/worker:1.2.3", True),
        ("r.dev:5000/p/worker", False),
        ("r.dev/p/worker:latest", False),
        ("r.dev/p/worker@sha256:12", False),
        (None, False),
    ],
)
def test_images_that_move(image, ok):
    assert checks.image(image).ok is ok


def test_temporary_files_without_a_bucket():
    assert not checks.flags(PipelineOptions(["--project", "my-project", "--region", "r", "--temp_location", "/tmp/x"])).ok


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--score_accelerator", "T4"], "not like type:nvidia-tesla-t4"),
        (["--score_min_ram", "lots"], "no size"),
        (["--check_job", "1.5"], "not a whole number"),
    ],
)
def test_flags_are_checked(flags, error, capsys):
    with pytest.raises((SystemExit, UsageError)) as raised:
        parser().parse_with_beam(flags)
    assert error in str(raised.value) + capsys.readouterr().err


def test_hints_choose_no_machine_here(tmp_path: Path):
    with pytest.raises(UsageError, match="--score_min_ram chooses machines, and DirectRunner runs on this one"):
        main(["--dataset", str(tmp_path / "d"), "--score_min_ram", "8GB"])


@pytest.mark.parametrize(
    ("flags", "one"),
    [
        (["--stop_after", "score"], True),
        (["--start_at", "select", "--stop_after", "select"], True),
        (["--start_at", "shard", "--stop_after", "shard"], True),
        ([], False),
        (["--start_at", "select"], False),
    ],
)
def test_a_template_launches_one_graph(flags, one):
    args, beam_flags = parser().parse_with_beam([*flags, "--template_location", "gs://my-data/job"])
    if one:
        assert hands_over(args, beam_flags)
    else:
        with pytest.raises(UsageError, match="launches one graph"):
            hands_over(args, beam_flags)
    assert not hands_over(args, [])
