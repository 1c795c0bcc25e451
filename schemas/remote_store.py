"""What all stores behind a URL have in common: neighbours are read together, a footer takes one request, a writer knows its own object again.

A create-only put that was answered by an error, or by nothing, may have been carried out: when it is sent again, it finds what it wrote
itself. So every one of them carries a token of its writer in the object's metadata, and who finds his own has won.
"""

import mmap
import os
import threading
import uuid
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pyarrow as pa

from schemas.store import Store, StoreError, is_url

TOKEN: Final = "pigment-writer"  # key of the writer's token in an object's metadata
TAIL: Final = 1 << 16  # bytes read at once from an object's end: the footers of our Parquet files have 5 to 25 KB
GAP: Final = 1 << 20  # bytes between two ranges that are read rather than asked for apart: 10 ms at 100 MB/s, no longer than a request
MOST: Final = 1 << 25  # bytes of joined ranges
_FIRST, _LONGEST = 1 << 20, 1 << 24  # bytes that a file reads ahead at least, and when it is read on and on
_AT_ONCE: Final = 8  # requests of one read_ranges
_HELD: Final = 1 << 26  # bytes of objects' ends that a process holds of a root
_VARIABLES: Final = ("AWS_", "GOOGLE_", "CLOUDSDK_", "STORAGE_")  # how those begin that name a server and who asks

Environment = tuple[tuple[str, str], ...]


class RemoteStore(Store, ABC):
    """Objects below the URL `root`. Cheap to make, safe to pickle: every process opens its own. Reads may run in several threads.

    A kind of store gives what begins with an underscore; each raises FileNotFoundError for what is not there, and StoreError.
    """

    def __init__(self, root: str):
        if not urlsplit(root).netloc:
            raise StoreError(f"{root}: no bucket or host; write it as in s3://bucket/prefix")
        self.root = root.rstrip("/")

    @property
    def local(self) -> None:
        return None

    @property
    def beside(self) -> Path:
        scheme, _, place = self.root.partition("://")
        return Path("pigment-local", scheme, place).absolute()

    def path_of(self, path: str) -> str:
        return path if is_url(path) or path.startswith("/") else f"{self.root}/{path}"

    # ---- what a kind of store gives

    @abstractmethod
    def _whole(self, path: str) -> bytes:
        """The whole object."""

    @abstractmethod
    def _range(self, path: str, start: int, end: int) -> bytes:
        """Its bytes from `start` to before `end`; fewer where it ends before."""

    @abstractmethod
    def _tail(self, path: str, size: int) -> tuple[bytes, int]:
        """(its last `size` bytes, its length), by one request."""

    @abstractmethod
    def _write(self, path: str, data: bytes | mmap.mmap, token: str | None) -> bool:
        """Writes it whole, with the token in its metadata unless there is an object, or in place of that when token is None.

        Returns whether it was written, as far as the answer says.
        """

    @abstractmethod
    def _token(self, path: str) -> str | None:
        """The token in its metadata."""

    @abstractmethod
    def _listed(self, prefix: str) -> Iterable[tuple[str, int]]:
        """(path, size) of all objects below the folder `prefix`."""

    @abstractmethod
    def _remove(self, path: str) -> None:
        """Removes it."""

    # ---- the interface

    def check_writable(self) -> None:
        """Raises StoreError where the bucket is not there, or may not be listed, written to or deleted from: lists, puts and deletes once."""
        next(iter(self._listed(".pigment")), None)
        probe = f".pigment/{uuid.uuid4().hex}"
        self._write(probe, b"may be deleted", None)
        self.delete(probe)

    def put(self, path: str, data: bytes | Path) -> None:
        self._ends.forget(path)
        with _content(data) as content:
            self._write(path, content, None)

    def put_new(self, path: str, data: bytes | Path) -> bool:
        self._ends.forget(path)
        token = uuid.uuid4().hex
        with _content(data) as content:
            if self._write(path, content, token):
                return True
        try:
            return self._token(path) == token
        except FileNotFoundError:  # it was there, and was deleted since
            return False

    def read(self, path: str) -> bytes:
        return self._whole(path)

    def _parts(self, path: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Ranges that lie near each other by one request, several of these at a time."""
        parts = [b""] * len(ranges)
        runs = joined(ranges)

        def read(run: "Run") -> None:
            start, end, numbers = run
            got = memoryview(self._range(path, start, end))
            for number in numbers:
                offset, size = ranges[number]
                parts[number] = bytes(got[offset - start : offset - start + size])

        if len(runs) <= 1:
            list(map(read, runs))
        else:
            with ThreadPoolExecutor(min(_AT_ONCE, len(runs))) as readers:
                list(readers.map(read, runs))
        return parts

    def open(self, path: str, *, kept: bool = False) -> pa.NativeFile:
        store, path = self._where(path)
        if store is not self:
            return store.open(path, kept=kept)
        end = self._ends.get(path) if kept else None
        if end is None:
            end = self._tail(path, TAIL)
            if kept:
                self._ends.keep(path, end)
        return pa.PythonFile(_File(self, path, *end), mode="r")

    @property
    def _ends(self) -> "_Ends":
        return _ends_of(self.root, environment_of(), os.getpid())

    def exists(self, path: str) -> bool:
        try:
            self.state(path)
        except FileNotFoundError:
            return False
        return True

    @abstractmethod
    def state(self, path: str) -> tuple[int, str]: ...

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        return iter(sorted(self._listed(prefix)))

    def delete(self, path: str) -> None:
        self._ends.forget(path)
        try:
            self._remove(path)
        except FileNotFoundError:
            return

    def leftovers(self, prefix: str = "") -> Sequence[str]:
        """None: an object is there whole or not at all."""
        return ()

    def delete_leftover(self, path: str) -> None:
        raise AssertionError("there are no leftovers behind a URL")


Run = tuple[int, int, list[int]]  # start, end, and which ranges lie in it


def joined(ranges: Sequence[tuple[int, int]]) -> list[Run]:
    """The ranges (offset, size) by requests: those of at most GAP bytes between them together, up to MOST bytes. Empty ones need none."""
    runs: list[Run] = []
    for number in sorted((number for number, (_, size) in enumerate(ranges) if size), key=lambda number: ranges[number]):
        start, end = ranges[number][0], sum(ranges[number])
        if runs and start - runs[-1][1] <= GAP and end - runs[-1][0] <= MOST:
            first, last, numbers = runs[-1]
            runs[-1] = first, max(last, end), [*numbers, number]
        else:
            runs.append((start, end, [number]))
    return runs


@contextmanager
def _content(data: bytes | Path) -> Iterator[bytes | mmap.mmap]:
    """The bytes to be put; of a file mapped, so that a tar of 256 MB takes no memory of ours."""
    if isinstance(data, bytes):
        yield data
    elif not data.stat().st_size:  # nothing can be mapped
        yield b""
    else:
        with data.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


class _File:
    """What Arrow asks of a Python file. Its end is at hand (tail, of `size` bytes in all); reads ahead from where it is asked."""

    def __init__(self, store: RemoteStore, path: str, tail: bytes, size: int):
        self._store, self._path, self._at, self._size, self.closed = store, path, 0, size, False
        self._blocks = [(self._size - len(tail), memoryview(tail))]  # the end, and what was read last: (offset, bytes)
        self._ahead = _FIRST

    def read(self, size: int = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._at + size, self._size)
        start, self._at = self._at, max(self._at, end)
        parts = []
        while start < end:
            offset, block = self._block(start, end)
            parts.append(block[start - offset : end - offset])
            start = min(end, offset + len(block))
        return b"".join(parts)

    def _block(self, start: int, end: int) -> tuple[int, memoryview]:
        """A block that holds the byte at `start`: one at hand, else one that is read, to `end` and further."""
        for offset, block in self._blocks:
            if offset <= start < offset + len(block):
                return offset, block
        known = self._blocks[0][0]  # from there on the object's end is at hand
        last = self._blocks[-1]
        self._ahead = min(2 * self._ahead, _LONGEST) if len(self._blocks) > 1 and start == last[0] + len(last[1]) else _FIRST
        stop = min(known, max(end, start + self._ahead))
        block = memoryview(self._store._range(self._path, start, stop))
        if len(block) != stop - start:
            raise StoreError(f"{self._store.path_of(self._path)} was changed while it was read; run the same command again")
        self._blocks[1:] = [(start, block)]
        return start, block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed, self._blocks = True, []


class _Ends:
    """The ends of objects that never change, (bytes, length of the whole) by path: footers are read again and again. The oldest leave first."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    def get(self, path: str) -> tuple[bytes, int] | None:
        return self._found.get(path)

    def keep(self, path: str, end: tuple[bytes, int]) -> None:
        self.forget(path)
        with self._lock:
            self._found[path] = end
            self._bytes += len(end[0])
            while self._bytes > _HELD:
                self._bytes -= len(self._found.popitem(last=False)[1][0])

    def forget(self, path: str) -> None:
        with self._lock:
            self._bytes -= len(self._found.pop(path, (b"", 0))[0])


@lru_cache(maxsize=16)
def _ends_of(root: str, environment: Environment, process: int) -> _Ends:
    """One of a root in a process, however many stores are unpickled there."""
    return _Ends()


def environment_of() -> Environment:
    """What names a server and who asks: what was made under another environment is not taken again."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(_VARIABLES)))
