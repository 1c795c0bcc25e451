"""The tar of a unit, in the order of rows, from images that come in any order, in bounded memory."""

import tempfile
import threading
from pathlib import Path
from typing import IO, Final

from pipelines.fetch.store import EXTENSIONS, Outcome
from pipelines.tar import TarWriter

IN_MEMORY: Final = 64_000_000  # bytes of a unit that wait in memory for a lower row; further ones wait in a temporary file


def key_of(row: int) -> str:
    """The member name of a row's image in the unit's tar, extension apart (img2dataset's form)."""
    return f"{row:06d}"


class Sink:
    """Outcomes and images of `rows` rows. Safe to call from several threads; `path` is made when the first image is written."""

    def __init__(self, path: Path, rows: int, *, in_memory: int = IN_MEMORY):
        self.outcomes: list[Outcome | None] = [None] * rows
        self._path = path
        self._missing = rows
        self._next = 0  # the lowest row that is not written yet
        self._waiting: dict[int, bytes | tuple[int, int]] = {}  # bytes, or (offset, size) in the spool
        self._room = in_memory
        self._tar: TarWriter | None = None
        self._spool: IO[bytes] | None = None
        self._spooled = 0
        self._lock = threading.Lock()

    def put(self, row: int, outcome: Outcome, data: bytes | None) -> bool:
        """Takes what became of a row. Returns True for the call that completes the unit."""
        with self._lock:
            assert self.outcomes[row] is None, f"row {row} has an outcome already"
            self.outcomes[row] = outcome
            self._missing -= 1
            if row == self._next:
                self._write(row, outcome, data)
                self._write_waiting()
            elif data is not None:
                self._waiting[row] = self._keep(data)
            return self._missing == 0

    def whole(self) -> list[Outcome]:
        """The outcomes of all rows, once the unit is complete."""
        outcomes = [outcome for outcome in self.outcomes if outcome is not None]
        assert len(outcomes) == len(self.outcomes)
        return outcomes

    def close(self) -> tuple[Path, str] | None:
        """Ends the tar; returns its path and SHA-256 (hex), or None when no row has an image."""
        if self._spool is not None:
            self._spool.close()
        return None if self._tar is None else (self._path, self._tar.close())

    def discard(self) -> None:
        """Removes what was written."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _write(self, row: int, outcome: Outcome, data: bytes | None) -> None:
        self._next = row + 1
        if data is None:
            return
        if self._tar is None:
            self._tar = TarWriter(self._path)
        assert outcome.format is not None
        outcome.offset = self._tar.add(f"{key_of(row)}.{EXTENSIONS[outcome.format]}", data)

    def _write_waiting(self) -> None:
        while self._next < len(self.outcomes) and (outcome := self.outcomes[self._next]) is not None:
            kept = self._waiting.pop(self._next, None)
            self._write(self._next, outcome, None if kept is None else self._fetch(kept))

    def _keep(self, data: bytes) -> bytes | tuple[int, int]:
        if len(data) <= self._room:
            self._room -= len(data)
            return data
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(prefix="pigment-", dir=self._path.parent)  # noqa: SIM115 (lives as long as the sink)
        self._spool.seek(self._spooled)
        self._spool.write(data)
        self._spooled += len(data)
        return self._spooled - len(data), len(data)

    def _fetch(self, kept: bytes | tuple[int, int]) -> bytes:
        if isinstance(kept, bytes):
            self._room += len(kept)
            return kept
        assert self._spool is not None
        self._spool.seek(kept[0])
        return self._spool.read(kept[1])
