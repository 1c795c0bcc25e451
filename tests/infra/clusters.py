"""Clusters of real processes on 127.0.0.1, from the same jars as the engines of pipelines.runners, as a user's own would be given to a job."""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipelines.runners import flink, spark
from pipelines.runners.parts import parts_of
from pipelines.runners.programs import HOST, end, free_port, start_java, wait_for
from pipelines.runners.worker_pool import WorkerPool


@dataclass(frozen=True)
class Cluster:
    """flags: for Beam, which name the cluster. workers: Spark's workers, or Flink's task managers. log: what all of it said."""

    flags: Sequence[str]
    workers: Sequence[subprocess.Popen[bytes]]
    log: Path

    def executors(self) -> list[psutil.Process]:
        """Of Spark: the processes that its workers started."""
        children = [child for worker in self.workers for child in psutil.Process(worker.pid).children(recursive=True)]
        return [child for child in children if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline())]

    def said(self) -> str:
        return "".join(path.read_text("utf-8", "replace") for path in sorted(self.log.parent.rglob("*")) if path.name in _LOGS)


_LOGS = ("cluster.log", "stderr", "stdout")  # the last two are an executor's, below the folder of its worker


@contextlib.contextmanager
def spark_cluster(folder: Path, *, workers: int = 2, settings: Sequence[str] = ()) -> Iterator[Cluster]:
    """A master, workers of one core each, and a job server. settings: of Spark, as in "speculation=true"."""
    parts, port = parts_of("spark"), free_port()
    home = folder / "home"
    home.mkdir(parents=True)
    (home / "jars").symlink_to(parts)  # what a worker starts executors with
    env = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": HOST, "SPARK_LOCAL_DIRS": str(folder / "local")}
    deploy = "org.apache.spark.deploy"
    with _log(folder) as log, contextlib.ExitStack() as stack:
        pool = stack.enter_context(contextlib.closing(WorkerPool()))
        master = start_java(
            f"{deploy}.master.Master", "--host", HOST, "--port", str(port), "--webui-port", "0", jars=parts, env=env, output=log
        )
        stack.callback(end, master)
        wait_for(port, master, "the master")
        started = []
        for number in range(workers):
            ours = free_port()
            worker = start_java(
                f"{deploy}.worker.Worker",
                *("--host", HOST, "--port", str(ours), "--webui-port", "0", "--cores", "1", "--memory", "1g"),
                *("--work-dir", str(folder / f"worker-{number}"), f"spark://{HOST}:{port}"),
                jars=parts,
                env=env,
                output=log,
            )
            stack.callback(end, worker)
            wait_for(ours, worker, "a worker")
            started.append(worker)
        server, job_port = spark.start_job_server(
            parts, folder / "driver", master=f"spark://{HOST}:{port}", settings=["executor.memory=512m", *settings], output=log
        )
        stack.callback(end, server)
        yield Cluster(_flags(job_port, pool), started, folder / "cluster.log")


@contextlib.contextmanager
def flink_cluster(folder: Path, *, task_managers: int = 2) -> Iterator[Cluster]:
    """A job manager, task managers of two slots each, and a job server."""
    parts, port, rest = parts_of("flink"), free_port(), free_port()
    settings: Mapping[str, str] = {
        **flink.CONFIGURATION,
        "jobmanager.rpc.address": HOST, "jobmanager.rpc.port": str(port), "rest.address": HOST, "rest.port": str(rest),
        "rest.bind-port": str(rest), "io.tmp.dirs": str(folder), "blob.storage.directory": str(folder), "taskmanager.numberOfTaskSlots": "2",
        # What Flink's shell script would have worked out from the memory of the machine.
        "taskmanager.cpu.cores": "1", "taskmanager.memory.task.heap.size": "512m", "taskmanager.memory.task.off-heap.size": "0",
        "taskmanager.memory.managed.size": "64m", "taskmanager.memory.network.min": "128m", "taskmanager.memory.network.max": "128m",
    }  # fmt: skip
    configured = flink.write_configuration(folder / "conf", settings)
    runtime = "org.apache.flink.runtime"
    with _log(folder) as log, contextlib.ExitStack() as stack:
        pool = stack.enter_context(contextlib.closing(WorkerPool()))
        manager = start_java(
            f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint", "--configDir", str(configured), jars=parts, output=log
        )
        stack.callback(end, manager)
        wait_for(rest, manager, "the job manager")
        started = []
        for _ in range(task_managers):
            runner = start_java(f"{runtime}.taskexecutor.TaskManagerRunner", "--configDir", str(configured), jars=parts, output=log)
            stack.callback(end, runner)
            started.append(runner)
        server, job_port = flink.start_job_server(parts, folder / "driver", master=f"{HOST}:{rest}", output=log)
        stack.callback(end, server)
        yield Cluster([*_flags(job_port, pool), "--parallelism=2", *flink.RETRIES], started, folder / "cluster.log")


def _flags(job_port: int, pool: WorkerPool) -> list[str]:
    return [f"--job_endpoint={HOST}:{job_port}", "--environment_type=EXTERNAL", f"--environment_config={pool.address}"]


@contextlib.contextmanager
def _log(folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cluster.log").open("ab") as log:
        yield log.fileno()
