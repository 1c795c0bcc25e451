"""Models that the processes of a machine share: one copy, or one for each GPU, in a process of its own that they give inputs to.

It is Beam's MultiProcessShared: the first process to ask starts that one, which ends with it; the others then start another and ask again.
Inputs lie in shared memory: through the proxy's socket 64 float32 images take 190 ms, so 6 (tests/bench/shared_models.py).
"""

import contextlib
import hashlib
import logging
import multiprocessing.util
import os
import secrets
import tempfile
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from apache_beam.utils import multi_process_shared

from pipelines.steps.sent_arrays import Outbox, Sent, received
from pipelines.steps.slots import slot_of
from quality.engines import Call, Tower, start_here
from quality.engines.threads import bound_threads
from quality.scorers import towers_of
from quality.scorers.protocol import Scorer

SHARING: Final = ("auto", "machine", "process")
TRIES: Final = 2  # of one call: inputs with which the models' process ended twice are taken for the cause

log = logging.getLogger(__name__)


class ModelsDied(Exception):
    """The process that has the models ended each time that it was given some inputs."""


class SharedModels:
    """Starts the scorers' models: here, or in the process that this machine's share.

    sharing: "machine": all there; "process": all here, with weights that processes map (quality.engines.mapped); "auto": there what runs on a
    GPU, one copy for each, and here what runs on the CPU, where processes are what keeps all cores busy.
    """

    def __init__(self, scorers: Sequence[Scorer], sharing: str = "auto"):
        if sharing not in SHARING:
            raise ValueError(f"models are shared by {', '.join(SHARING)}, not {sharing!r}")
        self._scorers = [scorer for scorer in scorers if towers_of([scorer])]
        self._sharing = sharing
        self._lock = threading.Lock()
        self._server: Any = None

    def start(self, tower: Tower, engine: str) -> Call:
        """The tower on the engine, for one thread. Raises EngineError as quality.engines.start_here does, and ModelsDied."""
        if self._sharing == "process" or (self._sharing == "auto" and "cuda" not in engine):
            return start_here(tower, engine)
        self._ask("start", tower.name, engine)
        outbox = Outbox()
        return lambda inputs: self._ask("run", tower.name, engine, outbox.put(inputs))

    def pid(self) -> int:
        """Of the process that has the models."""
        return self._ask("pid")

    def _ask(self, method: str, *args: Any) -> Any:
        for _ in range(TRIES):
            server = None
            try:
                server = self._connected()
                return getattr(server, method)(*args)
            except (ConnectionError, EOFError) as error:
                log.warning("the process that has the models ended (%s: %s); another is started", type(error).__name__, error)
                with self._lock:
                    self._server = None if self._server is server else self._server
        raise ModelsDied(f"the process that has the models ended {TRIES} times at {method} {' '.join(map(str, args[:2]))}")

    def _connected(self) -> Any:
        with self._lock:
            if self._server is None:
                gpu = _gpu()
                what = f"{os.getuid()} {gpu} {sorted(scorer.version for scorer in self._scorers)} {os.environ.get('XDG_CACHE_HOME')}"
                folder = _private_folder()
                multi_process_shared.AUTH_KEY = _key(folder)  # Beam's own is known to all who can connect
                shared = multi_process_shared.MultiProcessShared(
                    partial(_Models, tuple(self._scorers), gpu),
                    tag=hashlib.sha256(what.encode()).hexdigest()[:16],
                    path=str(folder),
                    always_proxy=True,
                    spawn_process=True,
                )
                self._server = shared.acquire()
                if hasattr(shared, "_life_line"):  # it was started here; a child of multiprocessing would wait for it before Beam ends it
                    multiprocessing.util.Finalize(None, shared._life_line.close, exitpriority=0)
            return self._server


class _Models:
    """In the process that has the models. gpu: the only one that it sees, or None."""

    def __init__(self, scorers: Sequence[Scorer], gpu: str | None):
        if gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        bound_threads()
        self._towers = {tower.name: tower for tower in towers_of(scorers)}
        self._runs: dict[tuple[str, str], Call] = {}
        self._starting, self._device = threading.Lock(), threading.Lock()

    def pid(self) -> int:
        return os.getpid()

    def start(self, tower: str, engine: str) -> None:
        with self._starting:
            if (tower, engine) not in self._runs:
                self._runs[tower, engine] = start_here(self._towers[tower], engine, lanes=os.cpu_count() or 1)

    def run(self, tower: str, engine: str, sent: Sent) -> np.ndarray:
        """On a device one call at a time; on the CPU as many as there are cores, of one thread each, with the same weights."""
        self.start(tower, engine)  # another process may have asked the one before
        run = self._runs[tower, engine]
        with received(sent) as inputs:
            if "cuda" not in engine:
                return run(inputs)
            with self._device:
                return run(inputs)


def _gpu() -> str | None:
    """The GPU of this process, as CUDA_VISIBLE_DEVICES names it: processes take turns over those there are. None without any."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        return None
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name] or [str(number) for number in range(count)]
    return visible[slot_of(_private_folder()) % count]


def _private_folder() -> Path:
    """Where processes of this user meet. Raises PermissionError when somebody else made it."""
    folder = Path(tempfile.gettempdir()) / f"pigment-models-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} can be entered by others; remove it, or set TMPDIR")
    return folder


def _key(folder: Path) -> bytes:
    """What a process must know to be answered; made by the first."""
    path = folder / "key"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=folder) as made:  # 0600
            made.write(secrets.token_bytes(32))
            made.flush()
            with contextlib.suppress(FileExistsError):
                os.link(made.name, path)
    return path.read_bytes()
