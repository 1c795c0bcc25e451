"""Who may be asked: names resolve to public addresses or not at all.

A resolver's answer is what aiohttp connects to, port included, so a name cannot change its address between check and use.
"""

import asyncio
import contextlib
import ipaddress
import json
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import aiodns
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # RFC 4291; all that is assigned to hosts of the internet
_TUNNELS: Final = (ipaddress.IPv6Network("2001::/32"), ipaddress.IPv6Network("2002::/16"))  # Teredo, 6to4: an IPv4 address inside
_WIRE_SERVER: Final = ipaddress.IPv4Address("168.63.129.16")  # a public address that answers as metadata service inside one cloud
_KEPT_S: Final = 300.0  # a name's addresses are asked for again after this time
_KEPT_FAILURE_S: Final = 30.0
_MOST_KEPT: Final = 50_000  # names; the oldest go
_LOOKUPS: Final = 256  # names that the system resolves at a time, each in a thread that mostly waits; half of the hosts checked at a time
_TRIES: Final = 2  # questions to a name server that is asked directly, before a name counts as unresolved


class PrivateAddress(Exception):
    """The host is, or resolves to, an address that is not public."""


class NoContact(Exception):
    """The host is neither this machine nor in the host map, and whoever asks says not who they are."""


class Unresolved(Exception):
    """The name has no address. `passing`: the resolver could not say."""

    def __init__(self, *, passing: bool):
        super().__init__(passing)
        self.passing = passing


def is_public(address: str) -> bool:
    """Whether an IP address belongs to a host of the public internet.

    False for private, loopback, link-local, metadata, multicast, documentation and reserved addresses, and for IPv6 addresses that
    stand for an IPv4 one (mapped, Teredo, 6to4); the NAT64 prefix is judged by the address inside.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        elif ip not in _GLOBAL_UNICAST or any(ip in tunnel for tunnel in _TUNNELS):
            return False
    return ip.is_global and not ip.is_multicast and ip != _WIRE_SERVER


def read_host_map(path: str | Path) -> dict[str, tuple[str, int]]:
    """{host: (address, port)} from a JSON file {"host": "address:port"}. Raises ValueError that says what is wrong with it."""
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
        found = {}
        for host, where in entries.items():
            address, _, port = where.rpartition(":")
            found[host.lower().rstrip(".")] = str(ipaddress.ip_address(address.strip("[]"))), int(port)
        return found
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f'host map {path}: {error}; it has to be JSON like {{"images.example.org": "127.0.0.1:8080"}}') from error


def parse_resolver(text: str) -> tuple[str, int]:
    """(address, port) of "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:53". Raises ValueError that says what to write."""
    address, colon, port = text.rpartition(":") if "]" not in text or not text.endswith("]") else (text, "", "")
    if not colon or (":" in address and not address.startswith("[")):  # no port, or a bare IPv6 address
        address, port = text, "53"
    try:
        return str(ipaddress.ip_address(address.strip("[]"))), int(port)
    except ValueError as error:
        raise ValueError(f"resolver is {text!r}; write the address of a name server, as in 127.0.0.1 or 127.0.0.1:5353") from error


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out about a name. until: of the loop's clock. addresses: none where it has none. passing: as of Unresolved."""

    until: float
    addresses: tuple[str, ...]
    passing: bool


@dataclass(frozen=True, slots=True)
class _Question:
    """A name that is being asked for, for all who want it. begun: set when it is, after it has waited for its turn."""

    begun: asyncio.Event
    answer: asyncio.Task[_Known]


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp by `host_map`, then by the system; remembers answers and failures; refuses what is not public.

    A name is refused when any of its addresses is: which of them is connected to would be chance.
    resolver: (address, port) of a name server that is asked in the place of the system. contact: whether requests say who asks; if not, only
    this machine is asked. timeout_s: for an answer, from when the name is asked for. Make it inside the loop.

    The system is asked for _LOOKUPS names at a time. Nothing ends a lookup that hangs but the system itself (resolv.conf: time-out x attempts
    x name servers; 10 s with one server and no options), so that is how long at most a name waits for each _LOOKUPS names that hang before
    it. It does not count as unresolved meanwhile, and whoever wants it waits no longer than its own deadline.
    """

    def __init__(
        self,
        *,
        host_map: Mapping[str, tuple[str, int]],
        allow_private: bool,
        timeout_s: float,
        resolver: tuple[str, int] | None = None,
        contact: bool = True,
    ):
        self._host_map = host_map
        self._timeout_s = timeout_s
        self._allow_private = allow_private
        self._contact = contact
        self._server: aiodns.DNSResolver | None = None
        if resolver is not None:
            address, port = resolver
            self._server = aiodns.DNSResolver(
                [address], udp_port=port, tcp_port=port, lookups="b", timeout=timeout_s / _TRIES, tries=_TRIES
            )
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="fetch-dns")  # started as they are needed
        self._turns = asyncio.Semaphore(_LOOKUPS)
        self._known: dict[str, _Known] = {}  # the oldest first
        self._asked: dict[str, _Question] = {}

    def check_literal(self, url: URL) -> None:
        """Raises PrivateAddress or NoContact when the url's host is an address that may not be asked; aiohttp asks no resolver for those."""
        host = url.raw_host or ""
        if ":" in host or host[-1:].isdigit():
            with contextlib.suppress(ValueError):  # a name that ends in a digit
                self._check([host])

    def _check(self, addresses: Sequence[str]) -> None:
        """Raises PrivateAddress, NoContact; ValueError where one is no address."""
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise PrivateAddress
        if not self._contact and not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses):
            raise NoContact

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Raises PrivateAddress, NoContact and Unresolved."""
        mapped = self._host_map.get(host.rstrip("."))
        if mapped is not None:
            return [_result(host, mapped[0], mapped[1])]
        known = self._known.get(host)
        if known is None or asyncio.get_running_loop().time() >= known.until:
            known = await self._answer(host)
        if not known.addresses:
            raise Unresolved(passing=known.passing)
        self._check(known.addresses)
        return [_result(host, address, port) for address in known.addresses]

    async def _answer(self, host: str) -> _Known:
        """What is found out about a name; it is asked for once, by however many at a time. Raises Unresolved where that takes too long."""
        question = self._asked.get(host)
        if question is None:
            begun = asyncio.Event()
            question = self._asked[host] = _Question(begun, asyncio.create_task(self._ask(begun, host)))
            question.answer.add_done_callback(lambda _: self._asked.pop(host, None))
            question.answer.add_done_callback(lambda _: begun.set())  # for those who wait where it was cancelled
        await question.begun.wait()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(question.answer)  # one caller's time-out must not end the others' question
        except TimeoutError as error:
            raise Unresolved(passing=True) from error

    async def _ask(self, begun: asyncio.Event, host: str) -> _Known:
        try:
            found = await (self._by_system(begun, host) if self._server is None else self._by_server(begun, self._server, host))
            addresses, passing = tuple(found), False
        except (OSError, UnicodeError, aiodns.error.DNSError) as error:  # UnicodeError: a label that is empty or too long
            addresses, passing = (), _passing(error)
        kept_s = _KEPT_S if addresses else _KEPT_FAILURE_S
        known = _Known(asyncio.get_running_loop().time() + kept_s, addresses, passing)
        self._known.pop(host, None)
        while len(self._known) >= _MOST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[host] = known
        return known

    async def _by_system(self, begun: asyncio.Event, host: str) -> list[str]:
        ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        async with self._turns:  # until the thread is free again, whoever may have stopped waiting
            begun.set()
            infos = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [str(info[4][0]) for info in infos]

    async def _by_server(self, begun: asyncio.Event, server: aiodns.DNSResolver, host: str) -> list[str]:
        begun.set()
        found = await server.getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        return [node.addr[0].decode() for node in found.nodes]

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()
        answers = [question.answer for question in self._asked.values()]
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        self._known.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)  # a name server that does not answer is not waited for


def _passing(error: Exception) -> bool:
    """Whether another question may have an answer: the name server did not say that there is no such name."""
    if isinstance(error, aiodns.error.DNSError):
        return error.args[0] not in (aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA, aiodns.error.ARES_EBADNAME)
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": socket.AI_NUMERICHOST}
