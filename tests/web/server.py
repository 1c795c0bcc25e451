"""The loopback server behind the plan. It counts the attempts at each URL and looks at no clock to decide anything."""

import asyncio
import json
import socket
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType

from tests.web.answers import ENDLESS, Answer
from tests.web.plan import SAMPLE, encoded, plan

PAUSE = 0.01  # seconds between two pieces of a body
_UNKNOWN = Answer(404, (("Content-Type", "text/plain"),), b"no such page\n")
_WRONG_HOST = Answer(421, (("Content-Type", "text/plain"),), b"no such host here\n")
_ONLY_GET = Answer(405, (("Allow", "GET"),), after="close")
_MALFORMED = Answer(400, after="close")


class SmallWeb:
    """The small web while it is entered; ports and connections are gone on exit.

    Writes `pairs.csv` (the source list), `host_map.json` (host → "127.0.0.1:port") and `table.txt` into the directory, which
    it makes. Attributes: `pairs_csv` and `host_map` (paths), `table` (the plan's rows), `plan`, `requests`.
    """

    def __init__(self, sample: Path = SAMPLE, directory: Path = Path("pigment-web"), *, small: bool = False) -> None:
        """small: see `plan`."""
        self.plan = plan(sample, small=small)
        self.table = self.plan.rows
        self.directory = directory
        self.pairs_csv = directory / "pairs.csv"
        self.host_map = directory / "host_map.json"
        self.requests: list[tuple[str, str, int]] = []  # host, target and number of the attempt, in order of arrival
        self._attempts: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> "SmallWeb":
        self.directory.mkdir(parents=True, exist_ok=True)
        self.plan.write_pairs(self.pairs_csv)
        (self.directory / "table.txt").write_text(self.plan.text() + "\n", encoding="utf-8")
        self._loop = asyncio.new_event_loop()
        self._connections: set[_Connection] = set()
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))  # bound and not listening: refuses, and nobody else can take the port
        self._servers = [self._loop.run_until_complete(self._listen(silent)) for silent in (False, True)]
        serving, silent, refusing = (
            listener.getsockname() for listener in (*(server.sockets[0] for server in self._servers), self._refusing)
        )
        ports = (
            dict.fromkeys(self.plan.serving, serving)
            | dict.fromkeys(self.plan.silent, silent)
            | dict.fromkeys(self.plan.refusing, refusing)
        )
        self.host_map.write_text(json.dumps({host: f"{ip}:{port}" for host, (ip, port) in sorted(ports.items())}, indent=1) + "\n")
        self._thread = threading.Thread(target=self._loop.run_forever, name="small web", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._refusing.close()

    def reset(self) -> None:
        """Forgets all attempts: the next run meets the same web as the first."""
        self._attempts.clear()
        self.requests.clear()

    def attempts(self, host: str, target: str) -> int:
        """How many GET requests came for the target, as `plan.address` writes both."""
        return self._attempts[host, target]

    def answer(self, head: bytes) -> Answer:
        """The answer to a request, which counts as an attempt if it is a GET."""
        line, _, fields = head.partition(b"\r\n")
        try:
            method, target, _ = line.decode("utf-8").split(" ")
        except ValueError:  # UnicodeDecodeError is one too
            return _MALFORMED
        if method != "GET":
            return _ONLY_GET
        host = _field(fields, b"host").partition(":")[0]
        key = host, encoded(target)
        self._attempts[key] += 1
        attempt = self._attempts[key]
        self.requests.append((*key, attempt))
        answers = self.plan.answers.get(key)
        if answers is None:
            return _UNKNOWN if host in self.plan.serving else _WRONG_HOST
        return answers[min(attempt, len(answers)) - 1]

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def _listen(self, silent: bool) -> asyncio.Server:
        return await self._loop.create_server(lambda: _Connection(self, silent), "127.0.0.1", 0, backlog=1024)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        playing = [connection.playing for connection in self._connections if connection.playing is not None]
        for connection in self._connections:
            connection.transport.abort()
        await asyncio.gather(*playing, return_exceptions=True)
        while self._connections:
            await asyncio.sleep(0)


def _field(fields: bytes, name: bytes) -> str:
    """The value of a header field in lower case; empty where it is missing."""
    for line in fields.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().lower().decode("latin-1")
    return ""


class _Connection(asyncio.Protocol):
    """One kept-alive connection; requests are answered one after the other."""

    transport: asyncio.Transport

    def __init__(self, web: SmallWeb, silent: bool) -> None:
        self.web = web
        self.silent = silent
        self.received = bytearray()
        self.writable = asyncio.Event()
        self.writable.set()
        self.playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.web._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.web._connections.discard(self)
        if self.playing is not None:
            self.playing.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        if not self.silent:
            self.received += data
            self._answer_next()

    def _answer_next(self) -> None:
        while self.playing is None and not self.transport.is_closing():
            line_and_fields, end, rest = self.received.partition(b"\r\n\r\n")
            if not end:
                return
            self.received = rest
            head = bytes(line_and_fields)
            answer = self.web.answer(head)
            leaves = _field(head, b"connection") == "close" or b" HTTP/1.0\r\n" in head
            if answer.at_once:
                self.transport.write(answer.wire)
                if leaves:
                    self.transport.close()
            else:
                self.playing = asyncio.get_running_loop().create_task(self._play(answer, leaves))

    async def _play(self, answer: Answer, leaves: bool) -> None:
        await asyncio.sleep(answer.late)
        if answer.status is not None:
            self.transport.write(answer.head)
            for number, part in enumerate(answer.parts):
                if number:
                    await asyncio.sleep(PAUSE)
                await self._write(part)
        if answer.after == "endless":
            block = bytes(1 << 16)
            for _ in range(0, ENDLESS, len(block)):
                await self._write(block)
                await asyncio.sleep(0)  # a lost connection is noticed, and others are served, only when the loop turns
        if answer.after == "stall":
            return  # `playing` stays set: nothing more is answered here
        self.playing = None
        if leaves or answer.after != "keep" or answer.status is None:
            self.transport.close()
        else:
            self._answer_next()

    async def _write(self, data: bytes) -> None:
        await self.writable.wait()
        self.transport.write(data)
