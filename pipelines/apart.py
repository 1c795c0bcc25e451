"""A function in a process of its own, which may die of what it is given: the caller lives on and knows of what."""

import contextlib
import pickle
import socket
import subprocess
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from apache_beam.internal import pickler

from pipelines import lifelines


class Died(Exception):
    """The process ended, or took too long, while it worked on what it was given."""


class Apart:
    """Calls, one after the other, of the function that `make(*args)` returns, in a child process that starts with the first.

    Both ends must know what is sent by import; `make` and `args` are pickled as Beam pickles. A call raises what the function raised, or Died,
    after `seconds` too; the next call then starts another process. For one thread, which the child does not outlive. Ctrl-C does not reach it.
    """

    def __init__(self, make: Callable[..., Callable[[Any], Any]], *args: Any, seconds: float):
        self._made = pickler.dumps((make, args))
        self._seconds = seconds
        self._child: subprocess.Popen | None = None
        self._connection: Connection | None = None

    def __call__(self, given: Any) -> Any:
        connection = self._connection or self._start()
        try:
            connection.send(given)
            if not connection.poll(self._seconds):
                raise Died(f"no answer in {self._seconds:,.0f} s")
            done, answer = connection.recv()
        except (EOFError, OSError) as error:
            raise Died(f"the process ended by itself ({self._ended()})") from error
        except Died:
            self.close()
            raise
        if not done:
            raise answer
        return answer

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.kill()
            self._ended()

    def _start(self) -> Connection:
        """Raises RuntimeError when not even `make` returns: that is not the fault of anything given."""
        ours, theirs = socket.socketpair()
        with theirs:
            statement = f"from pipelines.apart import serve; serve({theirs.fileno()})"
            self._child = lifelines.start(statement, env=lifelines.importing_alike(), pass_fds=[theirs.fileno()])
        self._connection = Connection(ours.detach())
        try:
            self._connection.send(self._made)
            self._connection.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(f"a process of its own could not be started ({self._ended()}); its log says why") from error
        return self._connection

    def _ended(self) -> str:
        """Waits for the child, which is ending; returns how it ended."""
        assert self._child is not None and self._connection is not None
        self._connection.close()
        status = self._child.wait()
        self._child = self._connection = None
        return f"signal {-status}" if status < 0 else f"exit status {status}"


def serve(descriptor: int) -> None:
    """The child's side; ends when the parent closes its end, or ends."""
    connection = Connection(descriptor)
    make, args = pickler.loads(connection.recv())
    function = make(*args)
    connection.send(None)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            given = connection.recv()
            try:
                answer = True, function(given)
            except Exception as error:
                answer = False, _sendable(error)
            connection.send(answer)


def _sendable(error: Exception) -> Exception:
    """The error, or its text where it cannot be pickled and read again."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a class of somebody else's does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
