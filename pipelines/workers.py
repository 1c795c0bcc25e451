"""Worker processes of Beam's FnApiRunner, watched: one that dies fails the graph at once, which would else wait for it for ever.

Beam 2.77 learns of the death in a thread of its own and tells nobody: what the dead process still owes is waited for without end, unless it
owes data too. Here all that it owes is answered by an error. Other workers end the work they have begun.
"""

import re
import signal
import threading
import time
from typing import Final

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner.worker_handlers import SubprocessSdkWorkerHandler, WorkerHandler

_AGAIN_S: Final = 0.2  # until what was asked of a dead worker meanwhile is answered too
_EXIT: Final = re.compile(r"return code (-?\d+)")

deaths: Final[list[str]] = []  # how each worker of this process's graphs ended that nobody had told to


def death_since(before: int, *, seconds: float) -> str | None:
    """How the newest worker ended, when more than `before` have; waits so long for one that an engine has heard of earlier than we."""
    deadline = time.monotonic() + seconds
    while len(deaths) <= before and time.monotonic() < deadline:
        time.sleep(0.05)
    return deaths[-1] if len(deaths) > before else None


class WorkerDied(RuntimeError):
    """A worker process ended by itself; `how` says how, the message what to do too."""

    def __init__(self, how: str):
        self.how = how
        super().__init__(
            f"a worker process {how}; what is committed stays: the same command goes on from here, with fewer --workers if memory ran out "
            "(the log says what stood on its screen)"
        )


@WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class WatchedWorkerHandler(SubprocessSdkWorkerHandler):
    """Takes the place of Beam's own for processes on this machine, for the whole of this process."""

    def start_worker(self) -> None:
        self._closing = threading.Event()
        self.worker = local_job_service.SubprocessSdkWorker(
            self._worker_command_line, self.control_address, self.provision_info, self.worker_id
        )
        self.worker_thread = threading.Thread(name="run_worker", target=self._run)
        self.worker_thread.start()

    def close(self) -> None:
        self._closing.set()
        super().close()

    def _run(self) -> None:
        try:
            self.worker.run()
            how = "ended"
        except RuntimeError as error:  # its exit status is not 0
            how = ending(str(error))
        if self._closing.is_set():
            return
        deaths.append(how)
        while not self._closing.wait(_AGAIN_S):
            for future in list(self.control_conn._futures_by_id.values()):
                future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=future.instruction_id, error=f"a worker process {how}"))


def ending(text: str) -> str:
    """How a process ended, in words, by the exit status in `text`: its own, or 128 and more from the shell that it ran in."""
    found = _EXIT.search(text)
    status = 0 if found is None else int(found[1])
    number = -status if status < 0 else status - 128
    if number in {known.value for known in signal.Signals}:
        return f"was ended by {signal.Signals(number).name}"
    return f"ended with exit status {status}"
