"""Any number of small pairs, all different but for planted duplicates, and a loopback web that serves them from one file."""

import asyncio
import mmap
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

SIDES: Final = range(64, 129, 16)  # px
PHOTO: Final = 832  # px: as many as 960x720 has
EVERY: Final = 20  # of so many numbers
SAME: Final = 7  # this one has the bytes of the one before
NEAR: Final = 13  # and this one its picture at another quality
_A_CHUNK: Final = 1_000
_COLOURS: Final = ["red", "blue", "green", "old", "small", "large", "white", "black", "golden", "quiet"]
_THINGS: Final = ["cat", "dog", "house", "tree", "river", "mountain", "boat", "bridge", "bird", "garden"]


def picture(number: int, side: int | None = None) -> bytes:
    """A JPEG with a spectrum as photographs have: of 1 to 3 KB, or square with `side` pixels (PHOTO: about 75 KB)."""
    drawn, quality = number, 70 if side is None else 91
    if number % EVERY == SAME:
        drawn = number - 1
    elif number % EVERY == NEAR:
        drawn, quality = number - 1, quality - 10
    noise = np.random.default_rng(drawn)
    side = side or SIDES[drawn % len(SIDES)]
    pixels = np.full((side, side, 3), 128, np.float32)
    octave = 0
    while 6 << octave <= side:
        layer = noise.normal(size=(3 << octave, 3 << octave, 3)).astype(np.float32)
        pixels += cv2.resize(layer, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(40 / 1.7**octave)
        octave += 1
    return simplejpeg.encode_jpeg(np.clip(pixels, 0, 255).astype(np.uint8), quality=quality, colorspace="RGB", colorsubsampling="420")


def caption(number: int) -> str:
    colour, thing, behind = _COLOURS[number % 10], _THINGS[number // 10 % 10], _THINGS[number // 100 % 10]
    return f"a {colour} {thing} in front of a {behind}, number {number}"


def make_pictures(folder: Path, count: int, side: int | None = None) -> None:
    """pictures.bin and ends.npy (int64, where each ends) for the numbers below `count`, by all cores."""
    ends = []
    total = 0
    with multiprocessing.get_context("spawn").Pool() as workers, (folder / "pictures.bin").open("wb") as file:
        for data, sizes in workers.imap(partial(_chunk, count, side), range(0, count, _A_CHUNK)):
            file.write(data)
            ends.append(total + np.cumsum(sizes))
            total += len(data)
    np.save(folder / "ends.npy", np.concatenate(ends))


def _chunk(count: int, side: int | None, start: int) -> tuple[bytes, np.ndarray]:
    cv2.setNumThreads(1)
    pictures = [picture(number, side) for number in range(start, min(start + _A_CHUNK, count))]
    return b"".join(pictures), np.array([len(data) for data in pictures], np.int64)


def write_source(path: Path, start: str, count: int) -> None:
    """The list of pairs, with a licence: urls below `start`."""
    columns = {
        "url": [f"{start}/{number}.jpg" for number in range(count)],
        "caption": [caption(number) for number in range(count)],
        "license_url": ["https://creativecommons.org/licenses/by/4.0/"] * count,
    }
    pq.write_table(pa.table(columns), path)


@contextmanager
def web(folder: Path) -> Iterator[tuple[str, "Synchronized[int]"]]:
    """Serves /<number>.jpg of make_pictures by a process of its own; yields the url's start and the number of pictures given so far."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    given = context.Value("q", 0)
    process = context.Process(target=_serve, args=(there, given, folder), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}", given
    finally:
        process.terminate()
        process.join()


class _Answering(asyncio.Protocol):
    """Answers requests of one kept connection in order: pictures by number, 404 for all else."""

    def __init__(self, pictures: mmap.mmap, ends: np.ndarray, given: "Synchronized[int]"):
        self.pictures, self.ends, self.given, self.heads = pictures, ends, given, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self.heads = (self.heads + data).split(b"\r\n\r\n")
        for request in requests:
            name = request.split(b" ", 2)[1][1:].removesuffix(b".jpg")
            if not name.isdigit():
                self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            number = int(name)
            body = self.pictures[self.ends[number - 1] if number else 0 : self.ends[number]]
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            self.given.value += 1


def _serve(pipe: Connection, given: "Synchronized[int]", folder: Path) -> None:
    ends = np.load(folder / "ends.npy")

    async def main() -> None:
        with (folder / "pictures.bin").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pictures:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: _Answering(pictures, ends, given), "127.0.0.1", 0, backlog=1024)
            pipe.send(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())
