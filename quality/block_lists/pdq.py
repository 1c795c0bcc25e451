"""Which PDQ hashes lie near a listed one: each is compared with every entry, 57 µs against 100,000 of them (measured, one core).

Bands, as in quality.near_duplicates, took 37 µs at that length: too little gained for their memory.
"""

from collections.abc import Iterable

import numpy as np
from numba import njit

from quality.near.kernels import TILE, hits
from quality.near_duplicates import words_of


class PdqList:
    """hashes: 32 bytes each."""

    def __init__(self, hashes: Iterable[bytes]):
        self._columns = _columns(np.frombuffer(b"".join(sorted(hashes)), np.uint8).reshape(-1, 32))

    def near(self, hashes: np.ndarray, distance: int) -> np.ndarray:
        """Which of `hashes`, uint8 (n, 32), have a listed one within `distance` (inclusive): bool (n,)."""
        found = np.zeros(len(hashes), np.bool_)
        _near(_columns(hashes), self._columns, distance, found)
        return found


def _columns(hashes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(words_of(hashes).T)


@njit(nogil=True, cache=True)
def _near(columns, listed, distance, found):
    size = listed.shape[1]
    for row in range(len(found)):
        for start in range(0, size, TILE):
            if hits(columns, row, listed, start, min(start + TILE, size), distance):
                found[row] = True
                break
