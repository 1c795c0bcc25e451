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


def step_of(root: Path) -> str:
    """The step that a run is at, by what it has left so far."""
    if list(root.glob("releases/*/shards/*.parquet")):
        return "shard"
    if list(root.glob("releases/*/decisions/*.parquet")):
        return "select"
    if list(root.glob("pool/scores/*/*.parquet")):
        return "score"
    return "fetch" if list(root.glob("pool/files/*.json")) else "start"


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_kills_at_any_moment_change_no_byte(done: Done, tmp_path, mode):
    """SIGKILL to the whole process group at seeded moments of what a whole run takes; the same command goes on, is killed again, and ends at
    last as one that was not killed. What the web was asked before a kill is forgotten, so that each attempt meets the same faults.
    """
    moments, at = random.Random(f"20260-{mode}"), Counter[str]()
    whole_s = time.monotonic()
    done.web.reset()
    first = ingest("--dataset", tmp_path / "first", "--running_mode", mode, *web_flags(done.web))
    whole_s = time.monotonic() - whole_s
    assert first.returncode == 0 and digests(tmp_path / "first") == digests(done.root)
    kills = chains = 0
    while kills < KILLS:
        root = tmp_path / str(chains)
        command = [sys.executable, "-m", "pipelines.ingest", "--dataset", str(root), "--running_mode", mode, *web_flags(done.web)]
        ended = False
        while not ended and kills < KILLS:
            done.web.reset()
            run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                code = run.wait(timeout=moments.uniform(0.1, 1.0) * whole_s)
                assert code == 0, f"the run that went on after {kills} kills ended with {code}"
                ended = True
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
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
