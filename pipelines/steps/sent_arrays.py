"""Arrays that one process of a machine shows another, without sending them: a call then carries where they lie."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sent:
    """Where an array lies: in memory that the process `pid` has open as `descriptor`; or itself, where the system has no such memory."""

    pid: int
    descriptor: int
    shape: tuple[int, ...]
    dtype: str
    array: np.ndarray | None = None


class Outbox:
    """Room for one array, which the next one takes. It belongs to no file: it is gone with the process, however that ends."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("pigment-inputs") if hasattr(os, "memfd_create") else None
        self._room: mmap.mmap | None = None

    def put(self, array: np.ndarray) -> Sent:
        """What the other process gets at the array by, until the next is put."""
        if self._descriptor is None or not array.nbytes:
            return Sent(0, 0, array.shape, array.dtype.str, array)
        if self._room is None or len(self._room) < array.nbytes:
            os.ftruncate(self._descriptor, array.nbytes)
            self._room = mmap.mmap(self._descriptor, array.nbytes)
        np.ndarray(array.shape, array.dtype, self._room)[...] = array
        return Sent(os.getpid(), self._descriptor, array.shape, array.dtype.str)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


@contextmanager
def received(sent: Sent) -> Iterator[np.ndarray]:
    """The array that another process of this machine and user has sent; its process must wait meanwhile. Raises OSError when it has ended."""
    if sent.array is not None:
        yield sent.array
        return
    with open(f"/proc/{sent.pid}/fd/{sent.descriptor}", "rb") as file:
        # A private mapping may be written to, as torch wants it, and copies nothing unless it is.
        room = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    yield np.ndarray(sent.shape, np.dtype(sent.dtype), room)
