"""Which addresses may be asked, and that the checked address is the one that is connected to."""

import asyncio
import contextlib
import json
import socket
import time
import tracemalloc

import pytest

from pipelines.fetch import guard
from pipelines.fetch.guard import GuardedResolver, NoContact, PrivateAddress, Unresolved, is_public, parse_resolver, read_host_map
from schemas.pool import Pool
from tests.pipelines.fetching import Reply, Server, fetch, host_map, jpeg
from tests.web.names import NameServer


@pytest.fixture
def pool(tmp_path):
    return Pool(tmp_path / "data")


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "192.88.98.1"])
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1",
        "169.254.169.254", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "168.63.129.16",
        "100.100.100.200", "::", "::1", "::ffff:8.8.8.8", "::ffff:10.0.0.1", "::8.8.8.8", "fe80::1", "fe80::1%eth0", "fc00::1",
        "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "2002:7f00:1::1", "2001:0:1::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808", "100::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


def resolve(host: str, *, allow_private: bool = False, mapped: dict | None = None, port: int = 80) -> list[tuple[str, int]]:
    async def ask():
        resolver = GuardedResolver(host_map=mapped or {}, allow_private=allow_private, timeout_s=20)
        try:
            return [(found["host"], found["port"]) for found in await resolver.resolve(host, port)]
        finally:
            await resolver.close()

    return asyncio.run(ask())


def test_a_name_with_a_private_address_is_refused_unless_allowed_or_mapped():
    with pytest.raises(PrivateAddress):
        resolve("localhost")
    assert ("127.0.0.1", 80) in resolve("localhost", allow_private=True)
    assert resolve("localhost", mapped={"localhost": ("127.0.0.1", 8080)}) == [("127.0.0.1", 8080)]


@pytest.mark.parametrize("host", ["a" * 64 + ".test", ".test"])
def test_names_that_no_resolver_takes_do_not_resolve(host):
    with pytest.raises(Unresolved) as error:
        resolve(host)
    assert not error.value.passing


def test_host_map_files(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"A.test": "127.0.0.1:80", "b.test": "[::1]:81"}))
    assert read_host_map(path) == {"a.test": ("127.0.0.1", 80), "b.test": ("::1", 81)}
    for text in ("[]", "{", '{"a.test": "b.test:80"}', '{"a.test": "127.0.0.1"}', '{"a.test": 3}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="host map"):
            read_host_map(path)
    with pytest.raises(ValueError, match="host map"):
        read_host_map(tmp_path / "none.json")


def test_nothing_private_is_asked_on_any_hop(pool, tmp_path):
    """Every url leads to the server, and it stands on loopback: only the mapped name may reach it."""
    with Server({"/a": Reply(body=jpeg())}) as server:
        names = {"ok.test": f"127.0.0.1:{server.port}"}
        hops = ["/literal", "/name", "/number", "/mapped6", "/file", "/user"]
        targets = [
            server.url("/a"), f"http://localhost:{server.port}/a", f"http://2130706433:{server.port}/a", f"http://[::ffff:127.0.0.1]:{server.port}/a",
            "file:///etc/passwd", "http://u:p@ok.test/a",
        ]  # fmt: skip
        server.replies.update({hop: Reply(302, headers={"Location": target}) for hop, target in zip(hops, targets, strict=True)})
        urls = [*targets[:4], *("http://ok.test" + hop for hop in hops), "http://ok.test/a"]
        rows = fetch(pool, urls, allow_private_hosts=False, host_map=host_map(tmp_path, names))
        private = ("refused", "private_address")
        assert [(row["status"], row["error_message"]) for row in rows] == [
            *[private] * 8, ("refused", "bad_redirect"), ("refused", "bad_redirect"), ("success", None),
        ]  # fmt: skip
        assert sorted(path for _, path, _ in server.log) == sorted([*hops, "/a"])
        assert {host for host, _, _ in server.log} == {"ok.test"}


def ask_server(found, *hosts: str, allow_private: bool = True, contact: bool = True, timeout_s: float = 2.0) -> list:
    """What becomes of each name: (address, port) pairs or an exception, by a resolver that asks a name server of the test; and what that saw."""

    async def ask(address: str) -> list:
        resolver = GuardedResolver(
            host_map={}, allow_private=allow_private, timeout_s=timeout_s, resolver=parse_resolver(address), contact=contact
        )
        try:
            asked = [resolver.resolve(host, 81) for host in hosts]
            return list(await asyncio.gather(*asked, return_exceptions=True))
        finally:
            await resolver.close()

    with NameServer(found) as server:
        answers = asyncio.run(ask(server.address))
    return [answer if isinstance(answer, BaseException) else [(each["host"], each["port"]) for each in answer] for answer in answers]


NAMES = {
    "two.test": ("127.0.0.1", "127.0.0.2"),
    "six.test": ("::1",),
    "mixed.test": ("8.8.8.8", "10.0.0.1"),
    "public.test": ("8.8.8.8",),
    "mapped.test": ("::ffff:127.0.0.1",),
    "no-address.test": (),
    "broken.test": "broken",
    "silent.test": "silent",
}


def test_a_name_server_of_ones_own():
    two, six, unknown, broken, empty = ask_server(
        lambda name: NAMES.get(name, "unknown"), "two.test", "six.test", "none.test", "broken.test", "no-address.test"
    )
    assert sorted(two) == [("127.0.0.1", 81), ("127.0.0.2", 81)] and six == [("::1", 81)]
    assert isinstance(unknown, Unresolved) and not unknown.passing, "there is no such name"
    assert isinstance(broken, Unresolved) and broken.passing, "the name server could not say"
    assert isinstance(empty, Unresolved) and not empty.passing


def test_a_name_server_that_says_nothing_holds_nobody_up():
    began = time.monotonic()
    *silent, two = ask_server(
        lambda name: NAMES.get(name.partition("-")[2], "unknown"), *(f"{n}-silent.test" for n in range(100)), "x-two.test"
    )
    assert time.monotonic() - began < 6
    assert all(isinstance(each, Unresolved) and each.passing for each in silent) and len(two) == 2


def test_names_that_hang_in_the_system_do_not_fail_those_behind_them(monkeypatch):
    """Forty names of which the system says nothing for longer than our time-out, then three that it knows, and few threads."""

    def ask(host, *_, **__):
        if host.startswith("hangs"):
            time.sleep(0.3)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async def ask_all(*hosts: str) -> list:
        resolver = GuardedResolver(host_map={}, allow_private=True, timeout_s=0.2)
        try:
            return await asyncio.gather(*(resolver.resolve(host, 80) for host in hosts), return_exceptions=True)
        finally:
            await resolver.close()

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    monkeypatch.setattr(guard, "_LOOKUPS", 16, raising=False)
    began = time.monotonic()
    *hanging, one, two, three = asyncio.run(ask_all(*(f"hangs{number}.test" for number in range(40)), "1.test", "2.test", "3.test"))
    assert all(isinstance(each, Unresolved) and each.passing for each in hanging)
    assert [[found["host"] for found in each] for each in (one, two, three)] == [["127.0.0.1"]] * 3
    assert time.monotonic() - began < 3


def test_every_address_of_a_name_is_looked_at():
    mixed, mapped, public = ask_server(NAMES.__getitem__, "mixed.test", "mapped.test", "public.test", allow_private=False)
    assert isinstance(mixed, PrivateAddress) and isinstance(mapped, PrivateAddress) and public == [("8.8.8.8", 81)]
    public, two = ask_server(NAMES.__getitem__, "public.test", "two.test", contact=False)
    assert isinstance(public, NoContact) and len(two) == 2


def test_a_name_is_asked_for_once():
    with NameServer(lambda name: ("127.0.0.1",)) as names, Server(lambda path: Reply(body=jpeg())) as server:

        async def ask() -> None:
            resolver = GuardedResolver(host_map={}, allow_private=True, timeout_s=2, resolver=parse_resolver(names.address))
            await asyncio.gather(*(resolver.resolve("a.test", server.port) for _ in range(50)))
            await resolver.resolve("a.test", server.port)
            await resolver.close()

        asyncio.run(ask())
        assert sorted(names.asked) == [("a.test", "A"), ("a.test", "AAAA")]


def test_the_oldest_names_are_forgotten(monkeypatch):
    """By a system of the test: the resolver that asks name servers keeps answers of its own."""
    asked = []

    def found(host, *_, **__):
        asked.append(host)
        if host == "none.test":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async def ask(*hosts: str) -> None:
        resolver = GuardedResolver(host_map={}, allow_private=True, timeout_s=2)
        for host in hosts:
            with contextlib.suppress(Unresolved):
                await resolver.resolve(host, 80)
        await resolver.close()

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(guard, "_MOST_KEPT", 3, raising=False)
    asyncio.run(ask("a.test", "none.test", "b.test", "none.test", "a.test", "c.test", "b.test", "a.test"))
    assert asked == ["a.test", "none.test", "b.test", "c.test", "a.test"]


def test_a_name_that_is_known_takes_little_memory(monkeypatch):
    """A million hosts are asked for in one job; half of the names here do not resolve."""

    def ask(host, *_, **__):
        if host.startswith("dead"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async def bytes_a_name(names: int) -> float:
        resolver = GuardedResolver(host_map={}, allow_private=True, timeout_s=2)
        with contextlib.suppress(Unresolved):
            await resolver.resolve("dead.test", 80)
        tracemalloc.start()
        for number in range(names):
            with contextlib.suppress(Unresolved):
                await resolver.resolve(f"{'dead' if number % 2 else 'live'}{number}.test", 80)
        await asyncio.sleep(0)
        try:
            return tracemalloc.get_traced_memory()[0] / names
        finally:
            tracemalloc.stop()
            await resolver.close()

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    assert asyncio.run(bytes_a_name(2_000)) < 700


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_resolver_addresses(text, parsed):
    assert parse_resolver(text) == parsed


@pytest.mark.parametrize("text", ["", "dns.example.org", "192.0.2.1:x", "192.0.2", ":53"])
def test_what_is_no_resolver_is_told(text):
    with pytest.raises(ValueError, match="write the address of a name server"):
        parse_resolver(text)
