"""An engine that is started for the user: what is said when it is not there, that errors and Ctrl-C come through, and nothing stays behind."""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import psutil
import pytest

from pipelines.ingest import main
from pipelines.options import UsageError
from pipelines.run import command
from pipelines.runners.engine import LOCAL, Engine
from pipelines.runners.parts import PLACE
from schemas.pool import Pool
from tests.conftest import ROOT, digests
from tests.crashing import put_decoder
from tests.infra.conftest import needs
from tests.infra.jobs import run, scored, until
from tests.test_crashes import TRAPS, folder, rows_of  # noqa: F401  folder is a fixture

ENGINES = [(name, engine.NAME) for name, engine in LOCAL.items()]


@pytest.mark.parametrize("runner", LOCAL)
def test_without_its_parts_one_line_says_what_to_type(tmp_path, monkeypatch, capfd, runner):
    monkeypatch.setenv(PLACE, str(tmp_path / "none"))
    code = command(lambda: main(["--dataset", str(tmp_path / "d"), "--runner", runner]))
    said = capfd.readouterr().err
    assert code == 2 and said.count("\n") == 1 and "make runners" in said and not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("runner", "flag"),
    [
        ("PrismRunner", "--job_endpoint=127.0.0.1:1"),
        ("SparkRunner", "--spark_master_url=spark://127.0.0.1:1"),
        ("FlinkRunner", "--flink_master=127.0.0.1:1"),
    ],
)
def test_an_engine_of_the_user_s_starts_nothing(tmp_path, monkeypatch, runner, flag):
    monkeypatch.setenv(PLACE, str(tmp_path / "none"))
    flags = [*flag.split("="), "--experiments=x"]
    for given in (flags, [flag, "--experiments=x"]):
        with Engine(runner, workers=2, beam_flags=given) as engine, engine.up() as up:
            assert up == (runner, given)
    with pytest.raises(UsageError, match="make runners"):
        Engine(runner, workers=2, beam_flags=["--experiments=x"])


@pytest.mark.parametrize(("runner", "name"), ENGINES)
def test_a_step_s_own_error_comes_through_in_one_line(tmp_path, runner, name):
    needs(name)
    job = run(tmp_path / "d", "--limit", "5", "--scorers", "image", "--scorer", "tests.infra.slow:Raises", "--runner", runner)
    lines = job.err.strip().splitlines()
    assert job.code == 2, job.err
    assert (
        len(lines) == 1 and "scorer slow (1) raised at unit" in lines[0] and lines[0].endswith("ZeroDivisionError: a bug of the scorer's")
    )


@pytest.mark.parametrize(("runner", "name"), ENGINES)
def test_ctrl_c_ends_all_of_it(tmp_path, slow_job, undisturbed, runner, name):
    needs(name)
    root, tree = tmp_path / "d", []

    def interrupt(process: subprocess.Popen) -> None:
        until(lambda: scored(root) >= 1, process)
        tree.extend(psutil.Process(process.pid).children(recursive=True))
        os.killpg(process.pid, signal.SIGINT)

    job = run(root, *slow_job, "--runner", runner, meanwhile=interrupt)
    assert job.code == 130 and "the same command goes on" in job.err and "Traceback" not in job.err, job.err
    assert len(tree) >= 2  # the engine and a worker at least
    _, alive = psutil.wait_procs(tree, timeout=10)
    assert not alive
    again = run(root, *slow_job)
    assert again.code == 0 and digests(root) == undisturbed


@pytest.mark.parametrize(("runner", "name"), ENGINES)
def test_a_pair_that_crashes_its_worker(tmp_path, folder: Path, runner, name):  # noqa: F811
    """Its unit is tried twice, then row by row: by the engine, and by going on from the commits where that has given up."""
    needs(name)
    resized = (
        "--source",
        folder,
        "--store",
        "resized",
        "--store_size",
        "32",
        "--stop_after",
        "fetch",
        "--unit_size",
        "10",
        "--workers",
        "2",
    )
    path = os.pathsep.join([put_decoder(tmp_path / "decoder"), str(ROOT)])
    job = run(tmp_path / "d", *resized, "--runner", runner, env={"PYTHONPATH": path})
    assert job.code == 0, job.out + job.err
    found = rows_of(Pool(tmp_path / "d"))
    assert Counter(row["status"] for row in found.values()) == {"success": 28, "crashed": 2}
    assert {name for name, row in found.items() if row["status"] == "crashed"} == set(TRAPS)
    assert list(Pool(tmp_path / "d").store.list("pool/attempts")) == []
