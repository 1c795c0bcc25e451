"""Which flags a graph runs with on Prism, Spark and Flink: the user's own, or those of an engine that is started for them."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from pipelines.runners import flink, prism, spark
from pipelines.runners.parts import parts_of
from pipelines.runners.programs import end, java
from pipelines.runners.worker_pool import WorkerPool
from schemas.scratch import Scratch

LOCAL: Final = {"PrismRunner": prism, "SparkRunner": spark, "FlinkRunner": flink}
# Flags of Beam's that say where the user's own engine, or job server, is.
_OWN: Final = (
    "--job_endpoint", "--environment_type", "--prism_location",
    "--spark_master_url", "--spark_rest_url", "--spark_submit_uber_jar", "--spark_job_server_jar",
    "--flink_master", "--flink_submit_uber_jar", "--flink_job_server_jar",
)  # fmt: skip


class Engine:
    """What runs the graphs of a command. An engine on this machine starts with the first of them and stays up for the others.

    runner: as the user named it. beam_flags: the user's, for Beam; where they name an engine nothing is started. Raises UsageError when the
    parts of the engine are not on this machine.
    """

    def __init__(self, runner: str, *, workers: int, beam_flags: Sequence[str] = ()):
        self._runner, self._workers, self._flags = runner, workers, list(beam_flags)
        own = any(flag.partition("=")[0] in _OWN for flag in beam_flags)
        self._local = None if own else LOCAL.get(runner)
        self._up: list[str] | None = None
        self._standing = contextlib.ExitStack()
        if self._local is not None:
            self._parts = parts_of(self._local.NAME)
            if self._local is not prism:
                java()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Ends what was started; the next graph starts it anew."""
        self._up = None
        self._standing.close()

    @contextlib.contextmanager
    def up(self) -> Iterator[tuple[str, list[str]]]:
        """(runner, flags) for Beam. A graph that fails in the block leaves an engine that cannot be trusted: it is ended."""
        try:
            yield (self._runner, self._flags) if self._local is None else ("PortableRunner", self._started())
        except BaseException:
            self.end()
            raise

    def _started(self) -> list[str]:
        if self._up is None:
            assert self._local is not None
            pool = WorkerPool()
            self._standing.callback(pool.close)
            scratch = self._standing.enter_context(Scratch(self._local.NAME))
            program, port, flags = self._local.start(self._parts, scratch, workers=self._workers)
            self._standing.callback(end, program)
            self._up = [
                f"--job_endpoint=127.0.0.1:{port}",
                "--job_server_timeout=600",  # on a machine that is busy Beam's 60 s are too few
                "--environment_type=EXTERNAL",
                f"--environment_config={pool.address}",
                "--experiments=disable_logging_submission_environment",  # which would ask pip, for seconds
                *flags,
                *self._flags,
            ]
        return self._up
