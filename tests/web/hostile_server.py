"""Plays hostile answers over loopback: a host for each, what it does written as a coroutine on the open connection."""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.web.in_thread import ServerInThread

MOST_SENT: Final = 400_000_000  # bytes after which even an endless answer ends
HOST_FILES: Final = ("/robots.txt", "/.well-known/tdmrep.json")
PAUSE: Final = 0.03  # seconds between two bytes of a slow answer


class Wire:
    """One connection. host, path: of the request that is answered, the host without its port. number: among the host's requests, from 1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer
        self.host = self.path = ""
        self.number = 0

    async def ask(self) -> bool:
        """Reads a request; False when the client has gone."""
        try:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.path = lines[0].split(" ")[1]
        self.host = next(line for line in lines if line.lower().startswith("host:"))[5:].strip().partition(":")[0]
        return True

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError when the client has gone."""
        self._writer.write(data)
        await self._writer.drain()
        await asyncio.sleep(0)  # a lost connection is noticed, and others are served, only when the loop turns

    def reset(self) -> None:
        """Ends the connection by RST."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Serve = Callable[[Wire], Awaitable[bool | None]]  # answers one request; the connection is closed after it unless it returns True


def raw(*parts: bytes, pause: float = 0.0, keep: bool = False) -> Serve:
    """Exactly these bytes, `pause` seconds before each part but the first."""

    async def serve(wire: Wire) -> bool:
        for number, part in enumerate(parts):
            await asyncio.sleep(pause if number else 0)
            await wire.send(part)
        return keep

    return serve


def slowly(start: bytes, rest: bytes) -> Serve:
    """`start` at once, then one byte every PAUSE seconds."""

    async def serve(wire: Wire) -> None:
        await wire.send(start)
        for at in range(len(rest)):
            await asyncio.sleep(PAUSE)
            await wire.send(rest[at : at + 1])

    return serve


def endless(start: bytes, block: bytes) -> Serve:
    """`start`, then `block` again and again until the client leaves, MOST_SENT bytes at the most."""
    many = block * max(1, (1 << 16) // len(block))

    async def serve(wire: Wire) -> None:
        await wire.send(start)
        for _ in range(0, MOST_SENT, len(many)):
            await wire.send(many)

    return serve


def by_path(first: Serve, **others: Serve) -> Serve:
    """`first` for "/", and for each further path its own."""

    async def serve(wire: Wire) -> bool | None:
        return await others.get(wire.path.strip("/"), first)(wire)

    return serve


def once(first: Serve, then: Serve) -> Serve:
    """`first` for the host's first request, `then` for further ones, on whatever connection."""

    async def serve(wire: Wire) -> bool | None:
        return await (first if wire.number == 1 else then)(wire)

    return serve


async def moves_on(wire: Wire) -> bool:
    """A redirect to somewhere else each time."""
    await wire.send(f"HTTP/1.1 302 Found\r\nLocation: /{wire.number}\r\nContent-Length: 0\r\n\r\n".encode())
    return True


_NOT_FOUND: Final = raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", keep=True)


async def resets(wire: Wire) -> None:
    wire.reset()


def resets_after(data: bytes) -> Serve:
    async def serve(wire: Wire) -> None:
        await wire.send(data)
        await asyncio.sleep(0.05)  # so that the data arrives before the reset that overtakes it
        wire.reset()

    return serve


class HostileServer(ServerInThread):
    """Answers as `hosts` says, {host: what it does, host/robots.txt: what it does there}, on one loopback port while it is entered.

    What else is asked about hosts gets 404, and counts for nothing.
    """

    def __init__(self, hosts: Mapping[str, Serve]):
        self._hosts = hosts
        self._requests = Counter[str]()

    def host_map(self) -> dict[str, str]:
        return dict.fromkeys((host for host in self._hosts if "/" not in host), f"127.0.0.1:{self.port}")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        try:
            while await wire.ask():
                if wire.path in HOST_FILES:
                    if not await self._hosts.get(wire.host + wire.path, _NOT_FOUND)(wire):
                        break
                    continue
                self._requests[wire.host] += 1
                wire.number = self._requests[wire.host]
                if not await self._hosts[wire.host](wire):
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test ends
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()
