"""Python workers for an engine on this machine: it asks here for each that it needs, in Beam's words (environment type EXTERNAL).

Beam's own pool (worker_pool_main) listens on all addresses, leaves its workers alive when it is killed, and does not say that one died.
"""

import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from pipelines import lifelines
from pipelines.runners.programs import HOST
from pipelines.workers import deaths, ending

_ENDS_S: Final = 5.0  # for a worker that was told to; then it is killed


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Listens on `address` until it is closed. A worker that a signal ends is noted in pipelines.workers.deaths, but for SIGTERM, which is ours."""

    def __init__(self) -> None:
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._starter = ThreadPoolExecutor(1, "start workers")  # they end with the thread that started them: one that lives as long as this
        self._server = grpc.server(ThreadPoolExecutor(8, "worker pool"))
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(self, self._server)
        self.address = f"{HOST}:{self._server.add_insecure_port(f'{HOST}:0')}"
        self._server.start()

    def StartWorker(self, request, context):
        worker = self._starter.submit(self._start, request.control_endpoint.url, request.worker_id).result()
        self._workers[request.worker_id] = worker
        threading.Thread(target=_watch, args=(worker,), name="watch a worker", daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request, context):
        worker = self._workers.pop(request.worker_id, None)
        if worker is not None:
            worker.terminate()  # Prism asks for it when a worker has died, too, and may ask before the system has told us
        return beam_fn_api_pb2.StopWorkerResponse()

    def close(self) -> None:
        """Ends the workers."""
        self._server.stop(None)
        workers = list(self._workers.values())
        for worker in workers:
            worker.terminate()
        for worker in workers:
            try:
                worker.wait(_ENDS_S)
            except subprocess.TimeoutExpired:
                worker.kill()
        self._starter.shutdown()

    def _start(self, control: str, name: str) -> subprocess.Popen[bytes]:
        statement = f"from apache_beam.runners.worker.sdk_worker import SdkHarness; SdkHarness({control!r}, worker_id={name!r}).run()"
        return lifelines.start(statement, env=lifelines.importing_alike(), stdin=subprocess.DEVNULL, stdout=2)


def _watch(worker: subprocess.Popen[bytes]) -> None:
    """A worker whose engine went away ends with an exit status: it says nothing about what it worked on."""
    status = worker.wait()
    if status < 0 and status != -signal.SIGTERM:
        deaths.append(ending(f"return code {status}"))
