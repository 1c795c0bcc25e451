"""One run of the main job on the small web serves all tests that look at a finished dataset."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from schemas.pool import Pool
from schemas.release import Release, latest
from tests import appending
from tests.web import SmallWeb

# Machines are noisy: a slow example is no fault.
settings.register_profile("pigment", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pigment")

# Several processes of several threads each would fight for two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent
SOAK = os.environ.get("PIGMENT_SOAK") == "1"
# Short waits: the small web's silent hosts never answer, and its slow ones take under half a second.
QUICK = ("--unit_size", "30", "--image_timeout", "4", "--connect_timeout", "2", "--engine", "onnxruntime-f32")


def ingest(*flags: str | Path, module: str = "pipelines.ingest", **more) -> subprocess.CompletedProcess:
    """Runs a command of ours as a user does; never raises."""
    command = [sys.executable, "-m", module, *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, **more)


def web_flags(web: SmallWeb) -> Sequence[str]:
    return ("--source", str(web.pairs_csv), "--host_map", str(web.host_map), *QUICK)


@dataclass(frozen=True)
class Done:
    """A finished dataset: its web's table, what the command printed, its pool and its release."""

    web: SmallWeb
    root: Path
    run: subprocess.CompletedProcess

    @property
    def pool(self) -> Pool:
        return Pool(self.root)

    @property
    def release(self) -> Release:
        name = latest(self.pool.store)
        assert name is not None
        return Release(self.pool.store, name)

    def ledger(self) -> dict[str, dict]:
        """By source_id: raw columns and decision of every pair."""
        found = {}
        for unit in sorted(self.pool.committed()):
            decisions = self.release.read_decisions(unit).to_pylist()
            for raw, decision in zip(self.pool.read_raw(unit).to_pylist(), decisions, strict=True):
                found[raw["source_id"]] = {**raw, **decision, "unit": unit}
        return found


def digests(root: Path | str) -> dict[str, bytes]:
    """Every decision file and shard of the newest release of a folder or URL, by name."""
    store = Pool(root).store
    release = Release(store, str(latest(store)))
    found = (path for part in ("decisions", "shards") for path, _ in store.list(f"{release.path}/{part}"))
    return {path.removeprefix(f"{release.path}/"): store.read(path) for path in found}


@pytest.fixture(scope="session")
def small_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallWeb]:
    with SmallWeb(directory=tmp_path_factory.mktemp("web"), small=True) as web:
        yield web


@pytest.fixture(scope="session")
def done(small_web: SmallWeb, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The main job in its default mode: several processes, over real HTTP."""
    root = tmp_path_factory.mktemp("done") / "data"
    small_web.reset()
    run = ingest("--dataset", root, *web_flags(small_web))
    assert run.returncode == 0, run.stdout + run.stderr + (root / "logs" / "ingest.log").read_text("utf-8", "replace")[-5000:]
    return Done(small_web, root, run)


@pytest.fixture
def copied(done: Done, tmp_path: Path) -> Path:
    """A copy of the finished dataset, to be spoilt."""
    return Path(shutil.copytree(done.root, tmp_path / "data"))


def manifest_of(root: Path) -> dict:
    return json.loads((root / "releases" / str(latest(Pool(root).store)) / "manifest.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def append_sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(folder that a dataset is begun from, folder that is appended)."""
    return appending.make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def append_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "appended.toml"
    path.write_text(appending.POLICY)
    return path


@pytest.fixture(scope="session")
def appended(append_sources, append_policy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release, Release]:
    """(dataset, its release before the append, its release after)."""
    root = tmp_path_factory.mktemp("appended") / "data"
    before = appending.run(root, "--source", append_sources[0], "--policy", append_policy)
    return root, before, appending.run(root, "--source", append_sources[1], "--add_source", "--policy", append_policy)
