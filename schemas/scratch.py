"""Temporary folders that say whether their maker still lives, so that what killed processes left can be removed at once.

A folder is locked (flock) for as long as it is in use; the system lets go of the lock when the process dies, however it dies.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

_PREFIX: Final = "pigment-scratch-"


class Scratch:
    """A new folder below the system's temporary one, `path`; gone when it is closed. what: a word for its name."""

    def __init__(self, what: str = "tmp"):
        with _making():
            self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{what}-"))
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Removes the folder and all that is in it. Once."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def sweep() -> list[str]:
    """Removes the folders of processes that are gone, of this user; returns their paths. Safe while others run."""
    swept = []
    with _making():
        for path in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
            with contextlib.suppress(FileNotFoundError):  # its maker has removed it meanwhile
                if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid() and _is_free(path):
                    shutil.rmtree(path, ignore_errors=True)
                    swept.append(str(path))
    return swept


def _is_free(folder: Path) -> bool:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


@contextlib.contextmanager
def _making() -> Iterator[None]:
    """Nobody sweeps between the making of a folder and its lock."""
    place = os.open(Path(tempfile.gettempdir(), f".{_PREFIX}{os.getuid()}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)
