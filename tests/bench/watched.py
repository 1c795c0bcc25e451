"""Runs a command and says what it took, with all processes below it."""

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import psutil

_EVERY_S: Final = 0.5


@dataclass(frozen=True)
class Usage:
    """wall_s: of the clock. cpu_s: user and system time of all processes. peak_bytes: the largest sum of their proportional set sizes (PSS),
    looked at twice a second: a page that several processes share counts once."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def watched(command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Usage:
    """Runs the command to its end, its output to `log`. Raises RuntimeError where its exit code is not 0."""
    with log.open("wb") as output:
        began = perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env, cwd=cwd)
        seen = _Seen(process.pid)
        seen.start()
        _, status, of_reaped = os.wait4(process.pid, 0)  # of its children too, where it waited for them
        wall = perf_counter() - began
    seen.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n{log.read_text(errors='replace')[-3000:]}")
    return Usage(wall, max(sum(seen.cpu.values()), of_reaped.ru_utime + of_reaped.ru_stime), seen.peak)


class _Seen(threading.Thread):
    """CPU seconds by process as last seen, and the peak of the memory of all."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.cpu, self.peak = pid, dict[tuple[int, float], float](), 0
        self._ended = threading.Event()

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(_EVERY_S):
            try:
                root = psutil.Process(self.pid)
                processes = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            memory = 0
            for process in processes:
                try:
                    times = process.cpu_times()
                    self.cpu[process.pid, process.create_time()] = times.user + times.system
                    memory += pss(process.pid)
                except (psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
                    continue
            self.peak = max(self.peak, memory)


def pss(pid: int) -> int:
    """Bytes of a process, shared pages divided by who shares them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
