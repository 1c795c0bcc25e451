"""Spark through Beam's portable job server, which is the driver: by itself in one process, or against a cluster."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from pipelines.runners.programs import HOST, free_port, start_java, wait_for

NAME = "spark"
TRIES = 4  # of a task: a unit that kills its process twice is done row by row the third time (schemas.attempts)


def start(parts: Path, scratch: Path, *, workers: int) -> tuple[subprocess.Popen[bytes], int, list[str]]:
    """(the program, its job port, more flags for Beam): a Spark of `workers` threads, each with a worker process."""
    program, port = start_job_server(parts, scratch, master=f"local[{workers},{TRIES}]")
    return program, port, [f"--sdk_worker_parallelism={workers}", "--environment_cache_millis=60000"]


def start_job_server(
    parts: Path, scratch: Path, *, master: str, settings: Sequence[str] = (), output: int = 2
) -> tuple[subprocess.Popen[bytes], int]:
    """(the program, its job port). settings: of Spark, as in "speculation=true". output: as of start_java."""
    port = free_port()
    told = ["ui.enabled=false", f"driver.host={HOST}", f"driver.bindAddress={HOST}", f"local.dir={scratch}", *settings]
    program = start_java(
        "org.apache.beam.runners.spark.SparkJobServerDriver",
        *("--job-host", HOST, "--job-port", str(port), "--artifact-port", "0", "--expansion-port", "0"),
        *("--artifacts-dir", str(scratch / "artifacts"), "--spark-master-url", master),
        jars=parts,
        settings=[f"-Djava.io.tmpdir={scratch}", *(f"-Dspark.{setting}" for setting in told)],
        env={"SPARK_LOCAL_IP": HOST},
        output=output,
    )  # fmt: skip
    wait_for(port, program, "Beam's job server for Spark")
    return program, port
