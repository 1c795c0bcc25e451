"""Clusters of real processes, one of which is killed in mid-job, by its id: the job ends right, with the same bytes."""

import subprocess

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
    """Every task that takes longer than another is begun a second time."""
    needs("spark")
    speculation = ["speculation=true", "speculation.interval=100ms", "speculation.multiplier=1.01", "speculation.quantile=0.01"]
    with spark_cluster(tmp_path / "spark", settings=[*speculation, "speculation.minTaskRuntime=100ms"]) as cluster:
        job = run(tmp_path / "d", *slow_job, "--runner", "SparkRunner", *cluster.flags)
        assert job.code == 0, job.out + job.err
        assert "as speculatable because" in cluster.said()
    assert digests(tmp_path / "d") == undisturbed
