"""Clusters of real processes, one of which is killed in mid-job, by its id: the job ends right, with the same bytes."""

import re
import subprocess

from schemas.attempts import Attempts
from schemas.pool import Pool
from tests.conftest import digests
from tests.infra.clusters import flink_cluster, spark_cluster
from tests.infra.conftest import needs
from tests.infra.jobs import run, scored, until

UNITS = 8


def test_a_spark_executor_is_killed(tmp_path, slow_job, undisturbed):
    needs("spark")
    root, killed = tmp_path / "d", []
    with spark_cluster(tmp_path / "spark") as cluster:

        def kill(process: subprocess.Popen) -> None:
            until(lambda: scored(root) >= 1, process)
            victim = cluster.executors()[0]
            victim.kill()
            killed.append((victim.pid, scored(root)))

        job = run(root, *slow_job, "--runner", "SparkRunner", *cluster.flags, meanwhile=kill)
        assert job.code == 0, job.out + job.err
        assert killed and killed[0][1] < UNITS, "it was killed while units were left"
        assert "Lost executor" in cluster.said()
    assert digests(root) == undisturbed


def test_a_flink_task_manager_is_killed(tmp_path, slow_job, undisturbed):
    needs("flink")
    root, killed = tmp_path / "d", []
    with flink_cluster(tmp_path / "flink") as cluster:

        def kill(process: subprocess.Popen) -> None:
            until(lambda: scored(root) >= 1, process)
            tasks = [cluster.said(f"worker-{number}.log").count("to RUNNING") for number in range(len(cluster.workers))]
            victim = cluster.workers[tasks.index(max(tasks))]
            assert max(tasks) > 0 and victim.poll() is None
            victim.kill()
            killed.append((victim.pid, scored(root)))

        job = run(root, *slow_job, "--runner", "FlinkRunner", *cluster.flags, meanwhile=kill)
        assert job.code == 0, job.out + job.err
        assert killed and killed[0][1] < UNITS
        assert "to RESTARTING" in cluster.said("job-manager.log")
    assert digests(root) == undisturbed


def test_spark_speculates(tmp_path, slow_job, undisturbed):
    """The task with the straggling unit is begun a second time, on the other worker, and two attempts are at that unit."""
    needs("spark")
    speculation = ["speculation=true", "speculation.interval=100ms", "speculation.multiplier=1.01", "speculation.quantile=0.01"]
    straggling = [flag.replace(":Slow", ":Straggles") for flag in slow_job]
    root, noted = tmp_path / "d", []

    def look(process: subprocess.Popen) -> None:
        attempts = Attempts(Pool(root).store)
        until(lambda: 2 in attempts.noted().values(), process)
        noted.append(attempts.noted())

    with spark_cluster(tmp_path / "spark", settings=[*speculation, "speculation.minTaskRuntime=100ms"]) as cluster:
        job = run(root, *straggling, "--runner", "SparkRunner", *cluster.flags, meanwhile=look)
        assert job.code == 0, job.out + job.err
        assert re.search(r"Starting task \d+\.1 in stage", cluster.said("driver.log"))
    assert noted and digests(root) == undisturbed
