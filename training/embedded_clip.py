"""Where the embedded CLIP model lies, for what may not import quality."""

import subprocess
import sys
from functools import cache
from pathlib import Path

from training.command import Mistake


class ClipModelError(Mistake):
    """A CLIP model cannot be had as named; the message says why, and what can."""


@cache
def embedded_clip_dir() -> Path:
    """The open_clip folder of the embedded CLIP model, put together, once a machine, by the program that does so at run time; its name has
    the digest of the weights. Raises ClipModelError."""
    command = [sys.executable, "-m", "quality.embedded_clip"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        raise ClipModelError(f"the embedded CLIP model could not be put together by {' '.join(command)}: {last}")
    return Path(run.stdout.strip().splitlines()[-1])
