"""A loopback server whose answers a test writes down by path, a row reader over plain lists, and one call that fetches a unit."""

import asyncio
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from pipelines.fetch.commit import commit_unit
from pipelines.fetch.job import Work
from pipelines.fetch.loop import Engine
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.store import claims_of
from pipelines.steps.fetch_units import kinds_of
from quality.block_lists import BlockLists
from schemas.columns import SOURCE, table_of
from schemas.pool import Pool
from tests.web.in_thread import ServerInThread

UNIT = "00112233445566aa-00000"
NO_LISTS = BlockLists({})
HOST_FILES = ("/robots.txt", "/.well-known/tdmrep.json")


def jpeg(shade: int = 0, side: int = 16) -> bytes:
    """A small JPEG; another `shade` is another image."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (shade % 256, shade // 256 % 256, 99)).save(file, "jpeg")
    return file.getvalue()


@dataclass
class Reply:
    """What one request gets.

    told: Content-Length where it lies. delay: seconds before the answer. hang: no byte after the body, nor an end. raw: all bytes of the
    answer, then the connection closes. pieces: how many writes the body's last bytes are spread over.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    told: int | None = None
    delay: float = 0.0
    hang: bool = False
    close: bool = False
    raw: bytes | None = None
    pieces: int = 1

    def wire(self) -> bytes:
        if self.raw is not None:
            return self.raw
        lines = [f"HTTP/1.1 {self.status} OK", *(f"{name}: {value}" for name, value in self.headers.items())]
        if "Transfer-Encoding" not in self.headers:
            lines.append(f"Content-Length: {len(self.body) if self.told is None else self.told}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class Server(ServerInThread):
    """Answers GET by path: the n-th request to a path gets the n-th of its replies, further ones the last; other paths get 404.

    `log`: (host, path, time of arrival) of all requests but those for HOST_FILES, which are in `host_files`; they get 404 unless they are
    among the replies of a dict. port: 0 for a free one. `connections`: how many were opened. `most`: open requests at the same time.
    """

    def __init__(self, replies: dict[str, Reply | Sequence[Reply]] | Callable[[str], Reply], *, port: int = 0):
        self.replies = replies
        self.port = port
        self.log: list[tuple[str, str, float]] = []
        self.host_files: list[tuple[str, str, float]] = []
        self.connections = 0
        self.active = self.most = 0
        self._seen: Counter[str] = Counter()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def count(self, path: str) -> int:
        return sum(asked == path for _, asked, _ in self.log)

    def _reply(self, path: str) -> Reply:
        if callable(self.replies):
            return Reply(404) if path in HOST_FILES else self.replies(path)
        replies = self.replies.get(path, Reply(404))
        if isinstance(replies, Reply):
            return replies
        self._seen[path] += 1
        return replies[min(self._seen[path], len(replies)) - 1]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                path = lines[0].split(" ")[1]
                host = next(line.partition(": ")[2] for line in lines if line.lower().startswith("host:"))
                (self.host_files if path in HOST_FILES else self.log).append((host, path, time.monotonic()))
                reply = self._reply(path)
                self.active += 1
                self.most = max(self.most, self.active)
                await asyncio.sleep(reply.delay)
                self.active -= 1
                wire = reply.wire()
                cut = len(wire) - 2 * (reply.pieces - 1)
                for part in (wire[:cut], *(wire[start : start + 2] for start in range(cut, len(wire), 2))):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.02 if reply.pieces > 1 else 0)
                if reply.hang:
                    await asyncio.sleep(3600)
                if reply.close or reply.raw is not None:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test ends
        finally:
            writer.close()


class Rows:
    """A row reader over dicts of SOURCE's columns, by unit."""

    def __init__(self, units: dict[str, list[dict[str, Any]]], *, folder: str | None = None, carried: dict[str, list[Any]] | None = None):
        self.units, self.folder, self.carried = units, folder, carried or {}

    def read(self, unit: str) -> pa.Table:
        table = table_of(self.units[unit], SOURCE)
        for name, values in self.carried.items():
            table = table.append_column(name, pa.array(values))
        return table

    def read_image(self, file_name: str) -> bytes:
        assert self.folder is not None
        return Path(self.folder, file_name).read_bytes()

    def is_in_place(self, unit: str) -> bool:
        return False

    def in_place(self, unit: str) -> None:
        return None

    def input_digest(self, unit: str) -> str:
        return "digest of " + unit


def of_urls(urls: Sequence[str | None]) -> list[dict[str, Any]]:
    return [{"url": url, "caption": f"picture {row}", "source_line": row + 1} for row, url in enumerate(urls)]


def settings(**changes: Any) -> FetchSettings:
    """Quick to give up, and allowed to ask the loopback server."""
    given = {"allow_private_hosts": True, "backoff_s": 0.02, "image_timeout_s": 3.0, "connect_timeout_s": 1.0, "unit_timeout_s": 10.0}
    return FetchSettings(**{**given, **changes})


def host_map(folder: Path, hosts: dict[str, str]) -> str:
    path = folder / "hosts.json"
    path.write_text(json.dumps(hosts))
    return str(path)


def submit(engine: Engine, pool: Pool, rows: Rows, unit: str = UNIT, *, lists: BlockLists = NO_LISTS) -> "Future[bool]":
    source = rows.read(unit)
    work = Work(
        urls=source.column("url").to_pylist(),
        files=source.column("file_name").to_pylist(),
        statuses=source.column("status").to_pylist(),
        read_image=rows.read_image,
        listed=kinds_of(lists, source),
        claims=claims_of(source),
        finish=partial(commit_unit, pool, unit, source, input_digest=rows.input_digest(unit)),
    )
    return engine.submit(work)


def fetch(
    pool: Pool, rows: Rows | Sequence[str | None], unit: str = UNIT, *, threads: int = 1, lists: BlockLists = NO_LISTS, **changes: Any
) -> list[dict[str, Any]] | None:
    """The committed rows of a unit, fetched by an engine of its own; None when it was deferred."""
    if not isinstance(rows, Rows):
        rows = Rows({unit: of_urls(rows)})
    engine = Engine(settings(**changes), lists, threads=threads)
    try:
        committed = submit(engine, pool, rows, unit, lists=lists).result(timeout=60)
    finally:
        engine.close()
    return pool.read_raw(unit).to_pylist() if committed else None


def image_of(pool: Pool, row: dict[str, Any], unit: str = UNIT) -> bytes:
    return pool.read_bytes(unit, [row["offset"]], [row["size"]])[0]
