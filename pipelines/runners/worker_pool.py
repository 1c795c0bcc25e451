"""Python workers for an engine on this machine: it asks here for each that it needs, in Beam's words (environment type EXTERNAL).

Beam's own pool (worker_pool_main) listens on all addresses, leaves its workers alive when it is killed, and does not say that one died.
"""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from pipelines import lifelines
from pipelines.runners.programs import HOST
from pipelines.workers import deaths, ending


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Listens on `address` until it is closed. A worker that a signal ends which we did not send is noted in pipelines.workers.deaths."""

    def __init__(self) -> None:
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped: set[str] = set()
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor(1, "start workers")  # they end with the thread that started them: one that lives as long as this
        self._server = grpc.server(ThreadPoolExecutor(8, "worker pool"))
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(self, self._server)
        self.address = f"{HOST}:{self._server.add_insecure_port(f'{HOST}:0')}"
        self._server.start()

    def StartWorker(self, request, context):
        worker = self._starter.submit(self._start, request.control_endpoint.url, request.worker_id).result()
        with self._lock:
            self._workers[request.worker_id] = worker
        threading.Thread(target=self._watch, args=(request.worker_id, worker), name="watch a worker", daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request, context):
        with self._lock:
            self._stopped.add(request.worker_id)
            worker = self._workers.pop(request.worker_id, None)
        if worker is not None:
            worker.kill()
        return beam_fn_api_pb2.StopWorkerResponse()

    def close(self) -> None:
        """Ends the workers."""
        self._server.stop(None)
        with self._lock:
            self._stopped |= set(self._workers)
            workers = list(self._workers.values())
        for worker in workers:
            worker.kill()
            worker.wait()
        self._starter.shutdown()

    def _start(self, control: str, name: str) -> subprocess.Popen[bytes]:
        statement = f"from apache_beam.runners.worker.sdk_worker import SdkHarness; SdkHarness({control!r}, worker_id={name!r}).run()"
        return lifelines.start(statement, env=lifelines.importing_alike(), stdin=subprocess.DEVNULL, stdout=2)

    def _watch(self, name: str, worker: subprocess.Popen[bytes]) -> None:
        status = worker.wait()
        with self._lock:
            expected = name in self._stopped
        # Whose engine went away ends with an exit status: it says nothing about what it worked on.
        if status < 0 and not expected:
            deaths.append(ending(f"return code {status}"))
