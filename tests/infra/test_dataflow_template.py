"""The Flex Template: its parameters are the main job's flags, and its launcher builds one graph and ends."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.dataflow.launch import arguments
from infra.dataflow.metadata import LEFT_OUT, OWN, metadata
from pipelines.flags import parser
from tests.conftest import ROOT
from tests.scoring import SAMPLE

PARAMETERS = {each["name"]: each for each in metadata()["parameters"]}


def test_the_committed_file_is_what_the_flags_say():
    """python -m infra.dataflow.metadata > infra/dataflow/metadata.json"""
    assert json.loads((ROOT / "infra/dataflow/metadata.json").read_text("utf-8")) == metadata()


def test_every_flag_is_a_parameter_or_left_out_for_a_reason():
    flags = {action.dest for action in parser()._actions if action.option_strings} - {"help"}
    assert PARAMETERS.keys() | LEFT_OUT.keys() == flags and not PARAMETERS.keys() & LEFT_OUT.keys()
    assert OWN.keys() <= PARAMETERS.keys() and all(each["helpText"] for each in PARAMETERS.values())


@pytest.mark.parametrize("name", [name for name, each in PARAMETERS.items() if "regexes" in each and "defaultValue" in each])
def test_a_default_passes_its_own_regex(name):
    (regex,) = PARAMETERS[name]["regexes"]
    assert re.fullmatch(regex, PARAMETERS[name]["defaultValue"])


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("dataset", "gs://my-data/cats", "my-data/cats"),
        ("columns", "url=URL,caption=TEXT", "url"),
        ("sample", "0.001", "0"),
        ("unit_size", "5000", "0"),
        ("max_image_bytes", "1.5 GB", "big"),
        ("contact", "me@example.org", "me"),
        ("score_accelerator", "type:nvidia-tesla-t4;count:1;install-nvidia-driver", "T4"),
        ("score_min_ram", "16GB", "16"),
        ("rate_per_host", "0.5", "-1"),
    ],
)
def test_what_a_regex_lets_through_the_flag_takes(name, good, bad):
    (regex,) = PARAMETERS[name]["regexes"]
    assert re.fullmatch(regex, good) and not re.fullmatch(regex, bad)
    parser().parse_with_beam([f"--{name}={good}"])


def test_a_template_gives_every_parameter_a_value():
    given = ["--retry_failed=true", "--allow_missing=false", "--read_scorer=clip:a, clip:b", "--release=", "--region=r", "--job_name", "x"]
    assert arguments(given)[2:] == ["--retry_failed", "--read_scorer=clip:a", "--read_scorer=clip:b", "--region=r", "--job_name", "x"]
    assert arguments([])[0] == "--runner=DataflowRunner"


def test_the_launcher_hands_one_graph_over_and_ends(tmp_path: Path):
    """Beam's own submission, to a template's file: a folder stands for the bucket, and nobody is asked."""
    for name in ("staging", "temp"):
        (tmp_path / name).mkdir()
    job = tmp_path / "job.json"
    flags = {
        "dataset": tmp_path / "data", "source": SAMPLE, "stop_after": "score", "engine": "torch-f32", "allow_missing": "false",
        "score_accelerator": "type:nvidia-tesla-t4;count:1;install-nvidia-driver", "project": "my-project", "region": "us-central1",
        "template_location": job, "staging_location": tmp_path / "staging", "temp_location": tmp_path / "temp",
        "dataflow_endpoint": "http://localhost:1", "sdk_container_image": "r.dev/p/worker:0.1.0",
    }  # fmt: skip
    command = [sys.executable, "infra/dataflow/launch.py", *(f"--{name}={value}" for name, value in flags.items()), "--no_auth"]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0 and "handed to Dataflow" in run.stdout, run.stdout + run.stderr
    described = json.loads(job.read_text())
    images = described["environment"]["workerPools"][0]["sdkHarnessContainerImages"]
    assert {image["containerImage"] for image in images} == {"r.dev/p/worker:0.1.0"}
    assert list((tmp_path / "staging").rglob("pipeline.pb")) and not list((tmp_path / "data" / "pool").rglob("raw/*"))
