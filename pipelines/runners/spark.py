"""Spark through Beam's portable job server, which is the driver: by itself in one process, or against a cluster."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from pipelines.runners.programs import HOST, start_job_server

NAME = "spark"
TRIES = 4  # of a task: a unit that kills its process twice is done row by row the third time (schemas.attempts)


def start(parts: Path, scratch: Path, *, workers: int) -> tuple[subprocess.Popen[bytes], int, list[str]]:
    """(the program, its job port, more flags for Beam): a Spark of `workers` threads, each with a worker process."""
    program, port = start_driver(parts, scratch, master=f"local[{workers},{TRIES}]")
    return program, port, [f"--sdk_worker_parallelism={workers}", "--environment_cache_millis=60000"]


def start_driver(
    parts: Path, scratch: Path, *, master: str, settings: Sequence[str] = (), output: int = 2
) -> tuple[subprocess.Popen[bytes], int]:
    """(the program, its job port). settings: of Spark, as in "speculation=true". output: as of start_java."""
    told = ["ui.enabled=false", f"driver.host={HOST}", f"driver.bindAddress={HOST}", f"local.dir={scratch}", *settings]
    return start_job_server(
        "Spark", ["--spark-master-url", master], parts=parts, scratch=scratch, settings=[f"-Dspark.{setting}" for setting in told],
        env={"SPARK_LOCAL_IP": HOST}, output=output,
    )  # fmt: skip
