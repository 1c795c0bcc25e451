"""Programs of an engine: Java with what it must be told, free ports, waiting until somebody answers there."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipelines import lifelines
from pipelines.options import UsageError
from pipelines.workers import ending

HOST: Final = "127.0.0.1"
_STARTS_S: Final = 90.0  # for a Java on a machine that is busy; some seconds on one that is not
# Of java.base: what Spark and Flink reach into, and Java 17 shuts.
_OPENED: Final = (
    "sun.nio.ch",
    "java.nio",
    "java.util",
    "java.lang",
    "java.lang.invoke",
    "java.util.concurrent",
    "java.net",
    "sun.security.action",
)
OPENED: Final = tuple(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED)


def free_port() -> int:
    """A port of this machine's that nobody has, for now."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return found.getsockname()[1]


def java() -> str:
    """The Java to run. Raises UsageError when there is none."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(str(Path(home, "bin", "java")) if home else "java")
    if found is None:
        raise UsageError("Spark and Flink need a Java (11 or 17) on PATH or in JAVA_HOME; there is none")
    return found


def start_java(
    main: str, *arguments: str, jars: Path, settings: Sequence[str] = (), env: Mapping[str, str] | None = None, output: int = 2
) -> subprocess.Popen[bytes]:
    """A Java program that ends with this thread. settings: flags of the Java itself. output: descriptor of what it says; our stderr."""
    command = [java(), *OPENED, *settings, "-cp", f"{jars}/*", main, *arguments]
    return lifelines.start_program(command, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def start_job_server(
    name: str,
    flags: Sequence[str],
    *,
    parts: Path,
    scratch: Path,
    settings: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    output: int = 2,
) -> tuple[subprocess.Popen[bytes], int]:
    """(Beam's job server of an engine, its job port), once it answers. name: Spark or Flink. flags: the engine's own. The rest: as of start_java."""
    port = free_port()
    program = start_java(
        f"org.apache.beam.runners.{name.lower()}.{name}JobServerDriver",
        *("--job-host", HOST, "--job-port", str(port), "--artifact-port", "0", "--expansion-port", "0"),
        *("--artifacts-dir", str(scratch / "artifacts"), *flags),
        jars=parts, settings=[f"-Djava.io.tmpdir={scratch}", *settings], env=env, output=output,
    )  # fmt: skip
    wait_for(port, program, f"Beam's job server for {name}")
    return program, port


def wait_for(port: int, child: subprocess.Popen[bytes], what: str) -> None:
    """Until somebody listens on the port. Raises RuntimeError when the child ends before, or takes too long; it is ended then."""
    deadline = time.monotonic() + _STARTS_S
    while time.monotonic() < deadline:
        if (status := child.poll()) is not None:
            raise RuntimeError(f"{what} {ending(f'return code {status}')} while it started; its last lines in the log say why")
        with socket.socket() as asked:
            asked.settimeout(1.0)
            if asked.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    end(child)
    raise RuntimeError(f"{what} does not answer on port {port} after {_STARTS_S:.0f} s; the log says what it does")


def end(child: subprocess.Popen[bytes]) -> None:
    """At once: nothing that an engine of ours keeps outlives it, its files are in a folder that goes too."""
    child.kill()
    child.wait()
