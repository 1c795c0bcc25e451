"""How a child process of ours lives: not by the terminal's Ctrl-C, and no longer than its parent."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def start(statement: str, *, env: Mapping[str, str], pass_fds: Sequence[int], **more: Any) -> subprocess.Popen[bytes]:
    """A Python that runs the statement, after `end_with_parent`. It ends with the thread that called this, too.

    It has a process group of its own: Ctrl-C is for the parent, who decides what becomes of its children. more: as of Popen.
    """
    command = [sys.executable, "-c", f"from pipelines.lifelines import end_with_parent; end_with_parent(); {statement}"]
    return subprocess.Popen(command, env=env, pass_fds=pass_fds, process_group=0, **more)


def end_with_parent() -> None:
    """In the child: the kernel ends it when its parent has ended, by SIGKILL too, and though native code does not come back.

    Where it cannot be told so, and where the parent ended before: the child reads the end of what its parent writes to.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
