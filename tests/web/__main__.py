"""Runs the small web: until Ctrl-C, or for as long as a command takes.

    python -m tests.web --out pigment-web
    python -m tests.web --out pigment-web -- python -m pipelines.ingest --source {pairs} --host_map {host_map} --dataset pigment-data
    python -m tests.web --table

{pairs} and {host_map} in the command stand for the paths of the source list and the host map. The exit code is the
command's; 128 + signal where a signal ended it.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from tests.web.plan import SAMPLE, plan
from tests.web.server import SmallWeb

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str]) -> int:
    own, command = _split(arguments)
    parser = argparse.ArgumentParser("python -m tests.web", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("pigment-web"), help="where the list and the host map go (default: %(default)s)")
    parser.add_argument("--sample", type=Path, default=SAMPLE, help="folder with metadata.csv and images (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help="one row of each kind of fault, about 150 rows in all")
    parser.add_argument("--table", action="store_true", help="print what is served, and end")
    told = parser.parse_args(own)
    if not (told.sample / "metadata.csv").is_file():
        parser.error(f"--sample {told.sample}: there is no metadata.csv in it")
    if told.table:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # for `| head`
        print(plan(told.sample, small=told.small).text())
        return 0
    with SmallWeb(told.sample, told.out, small=told.small) as web:
        stopped = None if command else _on_signals()  # before the line below: whoever reads it may stop us at once
        print(
            f"small web: {len(web.table)} rows in {web.pairs_csv}, hosts in {web.host_map}, the plan in {told.out / 'table.txt'}",
            flush=True,
        )
        if stopped is not None:
            stopped.wait()
            return 0
        return _run([part.replace("{pairs}", str(web.pairs_csv)).replace("{host_map}", str(web.host_map)) for part in command])


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before and behind the first bare `--`."""
    own = list(arguments)
    if "--" not in own:
        return own, []
    border = own.index("--")
    return own[:border], own[border + 1 :]


def _on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set from now on."""
    stopped = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: stopped.set())
    return stopped


def _run(command: list[str]) -> int:
    """Runs the command. It gets a process group of its own: Ctrl-C then reaches it once, through us, whoever pressed it, and its workers too."""
    try:
        child = subprocess.Popen(command, process_group=0)
    except OSError as error:
        print(f"python -m tests.web: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 2

    def forward(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):  # it ended in this moment
            os.killpg(child.pid, number)

    for number in _SIGNALS:
        signal.signal(number, forward)
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
