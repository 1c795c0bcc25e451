"""The main job as a process of its own, looked at while it runs: how far it is, and what all of its processes take."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import ROOT

_EVERY_S = 0.5
_TOO_LONG_S = 1500.0


@dataclass
class Job:
    """How a job went: its exit code, screen, seconds, and the most memory that all processes had (MB, PSS)."""

    code: int = -1
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0


def run(
    root: Path,
    *flags: str | Path,
    env: Mapping[str, str] | None = None,
    meanwhile: Callable[[subprocess.Popen[str]], None] = lambda _: None,
) -> Job:
    """The main job into `root`. meanwhile: called while it runs."""
    command = [sys.executable, "-m", "pipelines.ingest", "--dataset", str(root), *map(str, flags)]
    job, ended, started = Job(), threading.Event(), time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heeds_ctrl_c,
    )
    watch = threading.Thread(target=_watch, args=(job, ended), daemon=True)
    watch.start()
    try:
        meanwhile(process)
        job.out, job.err = process.communicate(timeout=_TOO_LONG_S)
    finally:
        process.kill()
        process.wait()
        ended.set()
        watch.join()
    job.code, job.seconds = process.returncode, time.monotonic() - started
    return job


def _heeds_ctrl_c() -> None:
    """A shell's background job, as these tests may be, ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def scored(root: Path) -> int:
    """Units that are scored."""
    return len(list(root.glob("pool/scores/*/*.parquet")))


def until(reached: Callable[[], bool], process: subprocess.Popen[str], *, seconds: float = 600.0) -> None:
    """Waits while the process runs. Fails when it ends, or the time is up."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None, "the job ended before"
        assert time.monotonic() < deadline, f"not reached in {seconds:.0f} s"
        time.sleep(0.1)


def _watch(job: Job, ended: threading.Event) -> None:
    """PSS, in which what processes share counts once; of all that these tests have started, a cluster too."""
    ours = psutil.Process()
    while not ended.wait(_EVERY_S):
        total = 0
        for process in ours.children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError):
                total += process.memory_full_info().pss
        job.peak_mb = max(job.peak_mb, total / 1e6)
