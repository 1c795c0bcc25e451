"""Kill -9 at random moments, again and again, over fetch, score, select and shard: the same bytes, nothing lost, nothing left behind."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from schemas.pool import Pool
from tests.conftest import ROOT, SOAK, Done, digests, ingest, web_flags

KILLS = 50 if SOAK else 2  # of each mode
STEPS = ("start", "fetch", "score", "select", "shard")
AFTER_S = 2.0  # from the moment at which a step is seen to have begun to the kill, at most


def step_of(root: Path) -> str:
    """The step that a run is at, by what it has left so far."""
    if list(root.glob("releases/*/shards/*.parquet")):
        return "shard"
    if list(root.glob("releases/*/decisions/*.parquet")):
        return "select"
    if list(root.glob("pool/scores/*/*.parquet")):
        return "score"
    return "fetch" if list(root.glob("pool/files/*.json")) else "start"


def killed(command: list[str], root: Path, step: str, after_s: float) -> bool:
    """Runs the command until `after_s` after the step has begun, then kills its process group; False where it ended before, with exit code 0."""
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while run.poll() is None and STEPS.index(step_of(root)) < STEPS.index(step):
        time.sleep(0.02)
    try:
        code = run.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return True
    assert code == 0, f"the run that went on ended with {code}"
    return False


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_kills_at_any_moment_change_no_byte(done: Done, tmp_path, mode):
    """SIGKILL to the whole process group at seeded moments of every step; the same command goes on, is killed again, and ends at last as one
    that was not killed. What the web was asked before a kill is forgotten, so that each attempt meets the same faults.
    """
    moments, at = random.Random(f"20260-{mode}"), Counter[str]()
    kills = chains = 0
    while kills < KILLS:
        root = tmp_path / str(chains)
        command = [sys.executable, "-m", "pipelines.ingest", "--dataset", str(root), "--running_mode", mode, *web_flags(done.web)]
        step = "start"
        while kills < KILLS:
            step = moments.choice(STEPS[STEPS.index(step) :])  # one that is over does not come again
            done.web.reset()
            if not killed(command, root, step, moments.uniform(0, 5 if step == "start" else AFTER_S)):
                break
            kills += 1
            at[step_of(root)] += 1
        chains += 1
        done.web.reset()
        last = ingest(*command[3:])
        assert last.returncode == 0, last.stdout + last.stderr
        assert digests(root) == digests(done.root), f"{kills} kills, chain {chains}"
        pool = Pool(root)
        assert sum(pool.planned_units().values()) == sum(commit.rows for unit in pool.committed() if (commit := pool.raw_commit(unit)))
        assert ingest("--dataset", root, module="pipelines.sweep").returncode == 0
        assert not list(root.rglob("*#*")) and len(list(root.glob("pool/raw/*.tar"))) <= len(pool.committed())
    print(f"{mode}: {kills} kills in {chains} chains, at {dict(at)}")


def test_nothing_stays_in_the_temporary_folder(done: Done, tmp_path):
    """A killed run leaves its temporary files; the next one of the same machine removes those of processes that are gone."""
    own = tmp_path / "temporary"
    own.mkdir()
    root = tmp_path / "data"
    environment = {**os.environ, "TMPDIR": str(own)}
    command = [sys.executable, "-m", "pipelines.ingest", "--dataset", str(root), "--stop_after", "fetch", *web_flags(done.web)]
    done.web.reset()
    run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(own.glob("pigment-scratch-fetch-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(own.glob("pigment-scratch-fetch-*"))
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done.web.reset()
    assert subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode == 0
    assert not list(own.glob("pigment-*"))
