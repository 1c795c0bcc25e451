"""Prism, Spark and Flink with Beam's job servers, into the folder where pipelines.runners looks for them.

`python -m infra.runners [prism] [spark] [flink]`: all of them where none is named. Each part is made in a folder of its own that appears whole, so
a run that was interrupted goes on with the part that it was at; what Go and Maven have fetched they keep in caches of their own.
Needs `go` (Prism), `java` and `mvn` (Spark, Flink). Exit codes: 0 all are there, 1 some could not be made, 2 wrong use.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.runners.parts import BEAM_JAVA, FOLDERS, PRISM, SPARK, place
from schemas.cache import built_once

_POM = Path(__file__).with_name("pom.xml")
_TAIL = 15  # lines of what a tool said that failed


class Failed(RuntimeError):
    """A part could not be made; the message says why."""


def main(argv: Sequence[str]) -> int:
    """Sets up the named parts; returns the exit code."""
    unknown = set(argv) - set(FOLDERS)
    if unknown:
        say(f"pigment: error: no part {', '.join(sorted(unknown))}; there are {', '.join(FOLDERS)}")
        return 2
    say(f"engines in {place()}")
    failed = 0
    for name in argv or list(FOLDERS):
        if (place() / FOLDERS[name]).is_dir():
            say(f"  {FOLDERS[name]:<26}is there")
            continue
        started = time.monotonic()
        try:
            built_once(FOLDERS[name], _MAKERS[name], place())
        except Failed as error:
            failed += 1
            say(f"  {FOLDERS[name]:<26}not made: {error}")
        else:
            say(f"  {FOLDERS[name]:<26}made in {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def _prism(folder: Path, _: Path) -> None:
    _run("go", "install", f"github.com/apache/beam/sdks/v2/go/cmd/prism@{PRISM}", env={"GOBIN": str(folder)})


def _jars(profile: str) -> Callable[[Path, Path], None]:
    def copy(folder: Path, _: Path) -> None:
        _run(
            *("mvn", "-B", "-q", "-f", str(_POM), "-P", profile, f"-Dbeam={BEAM_JAVA}", f"-Dspark={SPARK}"),
            *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"),
            env={},
        )

    return copy


_MAKERS = {"prism": _prism, "spark": _jars("spark"), "flink": _jars("flink")}


def _run(tool: str, *arguments: str, env: dict[str, str]) -> None:
    if shutil.which(tool) is None:
        raise Failed(f"{tool} is not on PATH")
    ran = subprocess.run([tool, *arguments], env={**os.environ, **env}, capture_output=True, text=True)
    if ran.returncode:
        said = (ran.stdout + ran.stderr).strip().splitlines()[-_TAIL:]
        raise Failed("\n    ".join([f"{tool} ended with exit status {ran.returncode}:", *said]))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
