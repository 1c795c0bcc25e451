"""Flink through Beam's portable job server: a mini cluster within it, or a cluster of somebody's."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipelines.runners.programs import HOST, start_job_server

NAME = "flink"
TRIES = 4  # as of Spark's tasks
CONFIGURATION = {
    "jobmanager.bind-host": HOST,
    "taskmanager.bind-host": HOST,
    "taskmanager.host": HOST,
    "rest.bind-address": HOST,
    "rest.bind-port": "0",
    # Beam's --number_of_execution_retries does nothing here: the job said "Recovery is suppressed by NoRestartBackoffTimeStrategy".
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": str(TRIES - 1),
    "restart-strategy.fixed-delay.delay": "1 s",
    "taskmanager.memory.network.min": "256m",  # a shuffle from n to n slots takes n² buffers of 32 KB, and select has several
    "taskmanager.memory.network.max": "256m",
}


def start(parts: Path, scratch: Path, *, workers: int) -> tuple[subprocess.Popen[bytes], int, list[str]]:
    """(the program, its job port, more flags for Beam): a mini cluster of `workers` slots, each with a worker process."""
    program, port = start_driver(parts, scratch, master="[local]")
    flags = [f"--parallelism={workers}", f"--sdk_worker_parallelism={workers}", "--environment_cache_millis=60000"]
    return program, port, flags


def start_driver(parts: Path, scratch: Path, *, master: str, output: int = 2) -> tuple[subprocess.Popen[bytes], int]:
    """(the program, its job port). output: as of start_java."""
    conf = write_configuration(scratch / "conf", {**CONFIGURATION, "io.tmp.dirs": str(scratch)})
    return start_job_server("Flink", ["--flink-master", master, "--flink-conf-dir", str(conf)], parts=parts, scratch=scratch, output=output)


def write_configuration(folder: Path, settings: Mapping[str, str]) -> Path:
    """Flink's configuration folder, made."""
    folder.mkdir(parents=True)
    (folder / "flink-conf.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()), "utf-8")
    return folder
