"""Prism, Beam's runner for one machine, in Go: one worker process, whose bundles run in its threads."""

import os
import subprocess
from pathlib import Path

from pipelines import lifelines
from pipelines.runners.programs import free_port, wait_for

NAME = "prism"


def start(parts: Path, scratch: Path, *, workers: int) -> tuple[subprocess.Popen[bytes], int, list[str]]:
    """(the program, its job port, more flags for Beam). It knows one process a job; `workers` is not asked for."""
    port = free_port()
    command = [str(parts / "prism"), "-job_port", str(port), "-serve_http=false", "-log_kind", "text", "-log_level", "warn"]
    program = lifelines.start_program(command, env={**os.environ, "TMPDIR": str(scratch)}, stdin=subprocess.DEVNULL, stdout=2)
    wait_for(port, program, "Prism")
    return program, port, []
