"""The images, as far as they can be looked at without an engine: what they are made of, and their Python steps, run for real.

Not built here: the base images, Beam's boot program and the template's launcher are not to be had.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from tests.conftest import ROOT, SOAK

FOLDER = ROOT / "infra" / "dataflow"
ENTRYPOINTS = {"worker": '["/opt/apache/beam/boot"]', "launcher": '["/opt/google/dataflow/python_template_launcher"]'}


@pytest.fixture(scope="module")
def steps() -> list[dict[str, str]]:
    with (FOLDER / "Dockerfile").open("rb") as file:
        return [step for step in DockerfileParser(fileobj=file).structure if step["instruction"] != "COMMENT"]


def arguments(steps: list[dict[str, str]]) -> dict[str, str]:
    return dict(step["value"].split("=", 1) for step in steps if step["instruction"] == "ARG")


def stages(steps: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for step in steps:
        if step["instruction"] == "FROM":
            found[step["value"].split(" AS ")[1]] = current = []
        elif step["instruction"] != "ARG":
            current.append(step)
    return found


def context() -> list[str]:
    """What the build sees, by the ignore file: all but what starts with `!` is left out."""
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    return [line[1:] for line in lines if line.startswith("!")]


def test_one_python_and_one_beam(steps):
    told = arguments(steps)
    python = f"{sys.version_info.major}.{sys.version_info.minor}" if sys.version_info < (3, 12) else "3.11"
    assert f"python{python}_sdk:{version('apache-beam')}" in told["BEAM_SDK"]
    assert f"python{python.replace('.', '')}-" in told["TEMPLATE_LAUNCHER"]
    assert told["BUILDER"].startswith(f"python:{python}-") and told["BASE"].startswith(f"python:{python}-slim")
    locked = re.search(r"^apache-beam==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None and told["BEAM_SDK"].endswith(f":{locked[1]}")


def test_all_that_is_copied_is_there_and_not_ignored(steps):
    copied = [step["value"].split()[:-1] for step in steps if step["instruction"] == "COPY" and "--from" not in step["value"]]
    for name in [name for names in copied for name in names]:
        assert (ROOT / name).exists(), name
        assert any(name == kept or fnmatch(name, f"{kept}/*") for kept in context()), f"{name} is ignored"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    files = {project["project"]["readme"], *project["project"]["license-files"]}
    assert packages | files <= {name for names in copied for name in names}


def test_what_is_installed_is_in_the_lock(steps):
    installs = [step["value"] for step in stages(steps)["build"] if "uv pip install" in step["value"]]
    for install in " && ".join(installs).split("&&"):
        assert "--constraint requirements.lock" in install or "--no-deps" in install
    extras = re.findall(r"--extra (\w+)", " ".join(installs))
    assert extras and set(extras) <= tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()


def test_both_kinds_of_worker_start_beam_and_the_launcher_the_template(steps):
    assert {"worker-none", "worker-nvidia"} <= stages(steps).keys()
    for name, entrypoint in ENTRYPOINTS.items():
        last = stages(steps)[name][-1]
        assert (last["instruction"], last["value"]) == ("ENTRYPOINT", entrypoint)
    beam = next(step["value"] for step in stages(steps)["worker"] if step["instruction"] == "COPY")
    assert beam == "--from=beam /opt/apache/beam /opt/apache/beam"


@pytest.mark.skipif(not SOAK, reason="not run: PIGMENT_SOAK=1 builds the wheel and bakes all models (15 s of a core)")
def test_the_python_steps_run_and_leave_every_model_in_the_cache(steps, tmp_path: Path):
    """The wheel is made of the build's context alone, and the models are baked with nothing of this checkout to be seen."""
    build, site, home = tmp_path / "build", tmp_path / "site", tmp_path / "elsewhere"
    home.mkdir()
    for name in context():
        place = build / name
        place.parent.mkdir(parents=True, exist_ok=True)
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, place, ignore=skip) if (ROOT / name).is_dir() else shutil.copy(ROOT / name, place)
    uv = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        site,
        build,
    ]
    subprocess.run(uv, check=True, cwd=build, timeout=120)
    environment = {**os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONNOUSERSITE": "1"}
    baked = subprocess.run(
        [sys.executable, build / "infra/dataflow/bake.py"], cwd=home, env=environment, capture_output=True, text=True, timeout=300
    )
    assert baked.returncode == 0, baked.stderr
    assert "embedded CLIP" in baked.stdout and "embed.image on openvino-f32" in baked.stdout and "scorer faces" in baked.stdout
    assert len(list((tmp_path / "cache/pigment/towers").glob("*.onnx"))) == 2
    look = (
        "import pipelines.ingest, quality.embedded_clip as e, apache_beam.runners.dataflow.internal.apiclient;"
        "print(pipelines.__file__); f = e.embedded_model_dir(); print(f.stat().st_mtime_ns == int(__import__('sys').argv[1]))"
    )
    (folder,) = (tmp_path / "cache/pigment").glob("embedded-clip-*")
    command = [sys.executable, "-c", look, str(folder.stat().st_mtime_ns)]
    seen = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120)
    assert seen.stdout.split() == [str(site / "pipelines/__init__.py"), "True"], seen.stdout + seen.stderr
