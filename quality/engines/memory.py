"""How much memory there is for a call of an engine, and how many rows of a call fit into it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_CGROUPS: Final = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))  # version 2, 1
# Of what is free, for calls of a model: the rest is for pixels decoded ahead (quality.scorers.batch), other models and other programs.
SHARE: Final = 0.25


def free_memory(*, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this machine, or the control group of this process, can still give; None where nobody says."""
    found = []
    try:
        lines = (proc / "meminfo").read_text("ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    for limit, used in _CGROUPS:
        try:
            found.append(int((cgroups / limit).read_text("ascii")) - int((cgroups / used).read_text("ascii")))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return max(0, min(found)) if found else None


def share_of_process() -> int | None:
    """Bytes for the calls of one model in one process, where each core has a process that scores; None where nobody says."""
    free = free_memory()
    return None if free is None else int(free * SHARE / (os.cpu_count() or 1))


def rows_that_fit(bytes_a_row: float, budget: int | None, *, least: int, most: int) -> int:
    """`most` rows of a call, halved until they fit into `budget` bytes, and never below `least`."""
    rows = most
    while budget is not None and rows // 2 >= least and rows * bytes_a_row > budget:
        rows //= 2
    return rows


def peak_of(call: Callable[[], object]) -> int | None:
    """Bytes by which this process grew at most while it called; None where the system does not say."""
    status = Path("/proc/self/status")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
        before = _status(status, "VmRSS:")
        call()
        return max(0, _status(status, "VmHWM:") - before)
    except OSError:
        return None


def _status(path: Path, key: str) -> int:
    return next(int(line.split()[1]) * 1024 for line in path.read_text("ascii").splitlines() if line.startswith(key))
