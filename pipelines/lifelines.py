"""How a child process of ours lives: not by the terminal's Ctrl-C, and no longer than its parent."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
# Without an import of ours, which would take Beam's two seconds. The kernel remembers the wish through exec.
_BECOME: Final = f"""
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGKILL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def start(statement: str, *, env: Mapping[str, str], pass_fds: Sequence[int] = (), **more: Any) -> subprocess.Popen[bytes]:
    """A Python that runs the statement, after `end_with_parent`. It ends with the thread that called this, too.

    It has a process group of its own: Ctrl-C is for the parent, who decides what becomes of its children. more: as of Popen.
    """
    command = [sys.executable, "-c", f"from pipelines.lifelines import end_with_parent; end_with_parent(); {statement}"]
    return subprocess.Popen(command, env=env, pass_fds=pass_fds, process_group=0, **more)


def start_program(command: Sequence[str], *, env: Mapping[str, str], **more: Any) -> subprocess.Popen[bytes]:
    """Another program, that lives as what `start` makes does."""
    return subprocess.Popen([sys.executable, "-S", "-c", _BECOME, *command], env=env, process_group=0, **more)


def end_with_parent() -> None:
    """In the child: the kernel ends it when its parent has ended, by SIGKILL too, and though native code does not come back.

    Where it cannot be told so, and where the parent ended before: the child reads the end of what its parent writes to.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def importing_alike() -> dict[str, str]:
    """The environment in which a Python of ours imports what this one does."""
    given = os.environ.get("PYTHONPATH")
    path = [*([given] if given else []), *(part or os.getcwd() for part in sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
