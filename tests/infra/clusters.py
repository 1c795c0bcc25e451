"""Clusters of real processes on 127.0.0.1, from the same jars as the engines of pipelines.runners, as a user's own would be given to a job."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipelines.runners import flink, spark
from pipelines.runners.parts import BEAM_JAVA, parts_of
from pipelines.runners.programs import HOST, end, free_port, start_java, wait_for
from pipelines.runners.worker_pool import WorkerPool


@dataclass(frozen=True)
class Cluster:
    """flags: for Beam, which name the cluster. workers: Spark's workers, or Flink's task managers. folder: of all that it writes."""

    flags: Sequence[str]
    workers: Sequence[subprocess.Popen[bytes]]
    folder: Path

    def executors(self) -> list[psutil.Process]:
        """Of Spark: the processes that its workers started."""
        children = [child for worker in self.workers for child in psutil.Process(worker.pid).children(recursive=True)]
        return [child for child in children if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline())]

    def said(self, name: str = "*.log") -> str:
        """What the processes wrote, those of Spark's executors too; or that of one, as in "worker-0.log"."""
        names = [name] if name != "*.log" else [name, "worker-*/*/*/std*"]
        return "".join(path.read_text("utf-8", "replace") for name in names for path in sorted(self.folder.glob(name)))


class _Starting(contextlib.ExitStack):
    """The processes of a cluster as they start, each with a log of its own; the last that started ends first."""

    def __init__(self, folder: Path, engine: str):
        super().__init__()
        self.folder, self.parts = folder, parts_of(engine)
        (folder / "driver").mkdir(parents=True)
        self.pool = self.enter_context(contextlib.closing(WorkerPool()))

    def log(self, name: str) -> int:
        return self.enter_context((self.folder / f"{name}.log").open("ab")).fileno()

    def java(self, name: str, main: str, *arguments: str, port: int | None = None, **env: str) -> subprocess.Popen[bytes]:
        """Waits for the port, if one is given."""
        process = start_java(main, *arguments, jars=self.parts, env=env, output=self.log(name))
        self.callback(end, process)
        if port is not None:
            wait_for(port, process, name)
        return process

    def flags(self, job_port: int, runners: str) -> list[str]:
        """runners: a jar of them is staged. Where none is named all that the job server has, 300 MB, would go to every executor, which has it."""
        to_workers = ["--environment_type=EXTERNAL", f"--environment_config={self.pool.address}", "--environment_cache_millis=60000"]
        staged = f"--files_to_stage={self.parts / f'{runners}-{BEAM_JAVA}.jar'}"
        return [f"--job_endpoint={HOST}:{job_port}", "--job_server_timeout=600", *to_workers, staged]


@contextlib.contextmanager
def spark_cluster(folder: Path, *, workers: int = 2, settings: Sequence[str] = ()) -> Iterator[Cluster]:
    """A master, workers of one core each, and a job server. settings: of Spark, as in "speculation=true".

    Each worker is a host by itself, 127.0.0.1, .2, …: Spark speculates on another host only.
    """
    with _Starting(folder, "spark") as starting:
        home, port, deploy = folder / "home", free_port(), "org.apache.spark.deploy"
        home.mkdir()
        (home / "jars").symlink_to(starting.parts)  # what a worker starts executors with
        env = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": HOST, "SPARK_SCALA_VERSION": "2.12", "SPARK_LOCAL_DIRS": str(folder / "local")}
        starting.java("master", f"{deploy}.master.Master", "--host", HOST, "--webui-port", "0", "--port", str(port), port=port, **env)
        url, started = f"spark://{HOST}:{port}", []
        for number in range(workers):
            host = f"127.0.0.{1 + number}"
            has = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"worker-{number}"))
            where = ("--host", host, "--webui-port", "0")
            started.append(
                starting.java(f"worker-{number}", f"{deploy}.worker.Worker", *where, *has, url, **{**env, "SPARK_LOCAL_IP": host})
            )
        server, job_port = spark.start_driver(
            starting.parts,
            folder / "driver",
            master=url,
            settings=["executor.memory=512m", *settings],
            output=starting.log("driver"),
        )
        starting.callback(end, server)
        yield Cluster(starting.flags(job_port, "beam-runners-spark-3"), started, folder)


@contextlib.contextmanager
def flink_cluster(folder: Path, *, task_managers: int = 2) -> Iterator[Cluster]:
    """A job manager, task managers of two slots each, and a job server."""
    with _Starting(folder, "flink") as starting:
        port, rest, runtime = free_port(), free_port(), "org.apache.flink.runtime"
        settings = {
            **flink.CONFIGURATION,
            "jobmanager.rpc.address": HOST, "jobmanager.rpc.port": str(port), "rest.address": HOST, "rest.port": str(rest),
            "rest.bind-port": str(rest), "io.tmp.dirs": str(folder), "blob.storage.directory": str(folder),
            "taskmanager.numberOfTaskSlots": "2",
            # What Flink's shell script would have worked out from the memory of the machine.
            "taskmanager.cpu.cores": "1", "taskmanager.memory.task.heap.size": "512m", "taskmanager.memory.task.off-heap.size": "0",
            "taskmanager.memory.framework.heap.size": "128m", "taskmanager.memory.framework.off-heap.size": "128m",
            "taskmanager.memory.jvm-metaspace.size": "256m",
            "taskmanager.memory.jvm-overhead.min": "192m", "taskmanager.memory.jvm-overhead.max": "192m",
            "taskmanager.memory.managed.size": "64m", "taskmanager.memory.network.min": "128m", "taskmanager.memory.network.max": "128m",
        }  # fmt: skip
        conf = ("--configDir", str(flink.write_configuration(folder / "conf", settings)))
        starting.java("job-manager", f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint", *conf, port=rest)
        started = [starting.java(f"worker-{number}", f"{runtime}.taskexecutor.TaskManagerRunner", *conf) for number in range(task_managers)]
        server, job_port = flink.start_driver(starting.parts, folder / "driver", master=f"{HOST}:{rest}", output=starting.log("driver"))
        starting.callback(end, server)
        yield Cluster([*starting.flags(job_port, "beam-runners-flink-1.19"), "--parallelism=2"], started, folder)
