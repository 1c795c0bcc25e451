"""`python -m tests.follower FD`: runs commands one after another in one process, since each alone would import Beam and torch again.

In, on stdin: a line of JSON, {"module", "arguments", "stdin"}. Out, on descriptor FD: a line with the exit code.
"""

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from quality.command import command
from tests.conftest import ROOT


def module_of(name: str) -> str:
    """The module that `python -m name` runs: a package's is its __main__."""
    return f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name


class Follower:
    """The process, from outside. `folder`: where it works, and may import from."""

    def __init__(self, folder: Path):
        self.said = folder / "said.txt"
        read, write = os.pipe()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder)))}
        environment.pop("PIGMENT_BLOCK_LISTS", None)
        with self.said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.follower", str(write)],
                cwd=folder, env=environment, pass_fds=[write], stdin=subprocess.PIPE, stdout=said, stderr=said, text=True,
            )  # fmt: skip
        os.close(write)
        self._answers = os.fdopen(read)

    def run(self, module: str, arguments: list[str], stdin: str = "") -> int:
        """The exit code of a command. Raises ValueError when the process is gone."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"module": module, "arguments": arguments, "stdin": stdin}) + "\n")
        self._process.stdin.flush()
        return int(self._answers.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()


def _run(asked: dict[str, Any]) -> int:
    sys.stdin = io.StringIO(asked["stdin"])
    main = importlib.import_module(module_of(asked["module"])).main
    with contextlib.suppress(SystemExit):
        return command(lambda: main(asked["arguments"]))
    return 2


def main(descriptor: int) -> None:
    lines = sys.stdin
    with os.fdopen(descriptor, "w") as answers:
        for line in iter(lines.readline, ""):
            print(_run(json.loads(line)), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
