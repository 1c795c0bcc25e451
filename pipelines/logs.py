"""Where logs go, and what stays on the screen. A log that cannot be written, on a full disk, costs the log and nothing else."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, TextIO

from schemas.store import Store, StoreError

_LINGER_S: Final = 1.0  # for what workers that are ending still say


def log_of(store: Store) -> Path:
    """The log of the jobs on a dataset: in it, or on this machine where it is behind a URL."""
    return store.beside / "logs" / "ingest.log"


@contextlib.contextmanager
def logs_to(path: Path) -> Iterator[None]:
    """Sends logging, and what workers and libraries write to stderr, to a file; the screen keeps its own descriptor (see screen()).

    By a pipe, not by the file's own descriptor: a worker whose stderr raises, for the disk is full, loses the answer that it was about to give,
    and Beam waits for it for ever. Raises StoreError when the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("ab", buffering=0)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    sys.stderr.flush()
    saved = os.dup(2)
    reading, writing = os.pipe()
    pump = threading.Thread(target=_pump, args=(reading, log), name="log", daemon=True)
    pump.start()
    os.dup2(writing, 2)
    handler = logging.StreamHandler(os.fdopen(writing, "w", buffering=1, encoding="utf-8", errors="backslashreplace"))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers, root.level = [handler], logging.INFO
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers, root.level = before, level
        handler.stream.close()
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        pump.join(_LINGER_S)  # it ends with the last process that has the pipe


def _pump(reading: int, log: IO[bytes]) -> None:
    with log:
        while said := os.read(reading, 1 << 16):
            with contextlib.suppress(OSError):
                log.write(said)
    os.close(reading)


@contextlib.contextmanager
def screen(out: TextIO) -> Iterator[TextIO]:
    """What a person sees, on a descriptor of its own: it stays the terminal while :func:`logs_to` sends the others away."""
    out.flush()
    with os.fdopen(os.dup(out.fileno()), "w", encoding="utf-8") as shown:
        yield shown
