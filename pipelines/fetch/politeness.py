"""How much of a host one process may take, so that all of them together take no more than was said.

`--hosts FILE` names hosts that may be asked more, or less, than others:

    [hosts."images.example.org"]
    connections = 2     # open requests at a time, of all workers together
    rate = 5            # requests a second, of all workers together
    [hosts."*.example.com"]
    connections = 32

Names may be written in any script, and with a dot at the end; they are compared as they are sent (IDNA).
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quality.urls import BadUrl, url_of

_FIELDS: Final = ("connections", "rate")


class HostsError(Exception):
    """The file of hosts cannot be used; the message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class HostLimit:
    """What all workers together may do at one host. host: a name as it is sent, or *.name for all below it. None: as for every host."""

    host: str
    connections: int | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """What one process may do at one host. gap_s: seconds between the beginnings of two requests."""

    connections: int
    gap_s: float


class Politeness:
    """connections, rate: of every host that `hosts` does not name. workers: the processes that share."""

    def __init__(self, *, connections: int, rate: float | None, hosts: tuple[HostLimit, ...] = (), workers: int = 1):
        self._default = HostLimit("", connections, rate)
        self._hosts = {limit.host: limit for limit in hosts}
        self._workers = workers

    def of(self, host: str) -> HostLimit:
        """The limit of a host name as it is sent, nothing of it None but a rate without bound. The longest name that fits it counts."""
        host = host.rstrip(".")
        found = self._hosts.get(host)
        parent = host
        while found is None and (parent := parent.partition(".")[2]):
            found = self._hosts.get(f"*.{parent}")
        if found is None:
            return self._default
        return HostLimit(
            found.host,
            self._default.connections if found.connections is None else found.connections,
            self._default.rate if found.rate is None else found.rate,
        )

    def share(self, host: str) -> Share:
        """This process's part of the host's limit."""
        limit = self.of(host)
        assert limit.connections is not None
        return Share(max(1, limit.connections // self._workers), 0.0 if limit.rate is None else self._workers / limit.rate)

    @property
    def most_workers(self) -> int:
        """How many processes can share: each needs a connection to every host."""
        return min(limit.connections for limit in (self._default, *self._hosts.values()) if limit.connections is not None)


def read_hosts_file(path: Path) -> tuple[HostLimit, ...]:
    """The hosts of a TOML file, sorted by name. Raises HostsError."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise HostsError(f'{path}: {error}; write e.g. [hosts."images.example.org"] and below it connections = 2') from error
    hosts = found.pop("hosts", {})
    if found or not isinstance(hosts, dict):
        raise HostsError(f'{path}: {", ".join(found) or "hosts"}: only tables [hosts."NAME"] can stand here')
    limits: dict[str, HostLimit] = {}
    for written, values in hosts.items():
        limit = _limit(path, written, values)
        if limit.host in limits:
            raise HostsError(f'{path}: [hosts."{written}"]: {limit.host} has a table already; put both into one')
        limits[limit.host] = limit
    return tuple(limits[name] for name in sorted(limits))


def _sent(path: Path, written: str) -> str:
    """The name as a request sends it, which limits are looked up by; with its star."""
    bare = written.removeprefix("*.")
    if not bare or any(character in bare for character in "*/:@?#") or bare != bare.lower():
        raise HostsError(
            f'{path}: [hosts."{written}"]: write a host\'s name in small letters, without scheme or port, or *.NAME for all below it'
        )
    try:
        name = (url_of(f"http://{bare}/").raw_host or "").rstrip(".")
    except BadUrl as error:
        raise HostsError(f'{path}: [hosts."{written}"]: no host can have this name; write it as it stands in urls') from error
    return f"*.{name}" if bare != written else name


def _limit(path: Path, written: str, values: Any) -> HostLimit:
    if not isinstance(values, dict) or (unknown := set(values) - {*_FIELDS}):
        what = ", ".join(sorted(unknown)) if isinstance(values, dict) else f"{values!r}"
        raise HostsError(f'{path}: [hosts."{written}"]: {what}: it can have {" and ".join(_FIELDS)}')
    name = _sent(path, written)
    connections, rate = values.get("connections"), values.get("rate")
    if connections is not None and (not isinstance(connections, int) or isinstance(connections, bool) or connections < 1):
        raise HostsError(f'{path}: [hosts."{written}"]: connections = {connections}: it has to be a whole number from 1')
    if rate is not None and (not isinstance(rate, int | float) or isinstance(rate, bool) or not rate > 0):
        raise HostsError(f'{path}: [hosts."{written}"]: rate = {rate}: it has to be a number above 0, requests a second')
    return HostLimit(name, connections, None if rate is None else float(rate))
