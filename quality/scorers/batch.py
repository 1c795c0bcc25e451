"""A chunk of pairs as scorers see it, and how a unit is cut into chunks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Final

import cv2
import numpy as np
import pyarrow as pa

from quality.images.decode import ImageError, decode
from quality.images.header import MAX_PIXELS, read_header

CHUNK_ROWS: Final = 64
CHUNK_PIXEL_BYTES: Final = 256_000_000
SIDE: Final = 512  # what the packaged scorers ask for, all the same, so that an image is decoded once: PDQ's reference reads up to 512

Decoded = tuple[np.ndarray | None, str | None]


class PairBatch:
    """At most CHUNK_ROWS pairs. Row i of everything belongs to row i.

    captions: as the source or a version of them has them, or None. data: the stored image bytes; None where fetching failed. Pixels are
    decoded when they are first asked for, once for each `side`, so that what a scorer sees never depends on which other scorers run with it.
    """

    def __init__(self, captions: Sequence[str | None], data: Sequence[bytes | None], *, max_pixels: int = MAX_PIXELS):
        assert len(captions) == len(data)
        self.captions = list(captions)
        self.data = list(data)
        self._max_pixels = max_pixels
        self._columns: dict[str, pa.Array] = {}
        self._futures: dict[int | None, list[Future[Decoded]]] = {}
        self._decoded: dict[int | None, list[Decoded]] = {}

    def __len__(self) -> int:
        return len(self.data)

    def pixels(self, *, side: int | None = SIDE) -> list[np.ndarray | None]:
        """RGB, uint8, height x width x 3, upright; None for rows without bytes and for bytes that cannot be decoded.

        An image whose smaller side is at least twice `side` comes scaled down, its smaller side no smaller than `side`; None: whole.
        The arrays are shared: do not write to them.
        """
        return [pixels for pixels, _ in self._at(side)]

    def errors(self, *, side: int | None = SIDE) -> list[str | None]:
        """Why the bytes of a row cannot be decoded: a word of FETCH_ERRORS (schemas.reasons) and details; None otherwise."""
        return [error for _, error in self._at(side)]

    def column(self, name: str) -> pa.Array:
        """A column "<scorer>.<field>" that was stored or just computed, or one of the raw commit. Raises KeyError, naming those there are."""
        if name not in self._columns:
            raise KeyError(
                f"{name} is not among {', '.join(sorted(self._columns)) or 'no columns'}; name it in the scorer's `needs`, or `raw`"
            )
        return self._columns[name]

    @property
    def columns(self) -> Mapping[str, pa.Array]:
        """All columns there are."""
        return self._columns

    def add_columns(self, columns: Mapping[str, pa.Array]) -> None:
        """Adds columns named "<scorer>.<field>", or as in the raw commit; one value a row."""
        assert all(len(column) == len(self) for column in columns.values())
        self._columns.update(columns)

    def prefetch(self, sides: Sequence[int | None], executor: Executor) -> None:
        """Starts decoding for `sides` in the executor; `pixels` then waits for what is not done."""
        for side in sides:
            self._futures[side] = [executor.submit(_decode, data, side, self._max_pixels) for data in self.data]

    def cancel(self) -> None:
        """Forgets decoding that has not begun."""
        for future in (future for futures in self._futures.values() for future in futures):
            future.cancel()

    def _at(self, side: int | None) -> list[Decoded]:
        if side not in self._decoded:
            futures = self._futures.pop(side, None)
            self._decoded[side] = (
                [_decode(data, side, self._max_pixels) for data in self.data]
                if futures is None
                else [future.result() for future in futures]
            )
        return self._decoded[side]


def chunks(
    rows: int,
    read: Callable[[int, int], Sequence[bytes | None]],
    *,
    side: int | None = SIDE,
    pixel_bytes: int = CHUNK_PIXEL_BYTES,
) -> Iterator[tuple[int, list[bytes | None]]]:
    """Cuts a unit: (first row, stored bytes of each row of the chunk).

    read(first, last): the bytes of rows first (inclusive) to last (exclusive). side: the largest that will be asked for. A chunk ends at
    every multiple of CHUNK_ROWS, and before the row with which its pixels at `side`, as the headers announce them, would pass
    `pixel_bytes`: a function of the unit alone.
    """
    for first in range(0, rows, CHUNK_ROWS):
        data = list(read(first, min(first + CHUNK_ROWS, rows)))
        start, total = 0, 0
        for row, size in enumerate(_pixel_bytes(item, side) for item in data):
            if row > start and total + size > pixel_bytes:
                yield first + start, data[start:row]
                start, total = row, 0
            total += size
        yield first + start, data[start:]


def _pixel_bytes(data: bytes | None, side: int | None) -> int:
    """Of the decoded image at `side`; 0 for what will not be decoded."""
    header = None if data is None else read_header(data)
    if header is None or header.width * header.height > MAX_PIXELS:
        return 0
    factor = 1 if side is None else max(1, min(header.width, header.height) // side)
    return 3 * (header.width // factor) * (header.height // factor)


def _decode(data: bytes | None, side: int | None, max_pixels: int) -> Decoded:
    if data is None:
        return None, None
    try:
        pixels = decode(data, side=side, max_pixels=max_pixels)
    except ImageError as error:
        return None, str(error)
    return (pixels if side is None else _reduced(pixels, side)), None


def _reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    """Block means by the largest whole factor that leaves the smaller side at least `side`; as JPEGs are scaled while decoded."""
    height, width = pixels.shape[:2]
    factor = min(height, width) // side
    if factor < 2:
        return pixels
    height, width = height // factor, width // factor
    return cv2.resize(pixels[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
