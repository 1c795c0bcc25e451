"""Which image is asked for next: limits in all and per host, pauses, and hosts that are down, so that no host holds up another."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from yarl import URL

from pipelines.fetch.client import Failed
from pipelines.fetch.politeness import Share

if TYPE_CHECKING:
    from pipelines.fetch.job import Job

DOWN_AFTER: Final = 5  # connections to a host that fail in a row, after which its images fail without a request
DOWN_S: Final = 60.0  # and for how long
REMEMBERED: Final = 20_000  # hosts, before idle ones are forgotten


@dataclass(slots=True)
class Image:
    """One url, or one file (url None), of a unit, for all of its rows that name it; rows[0] is the first.

    hops: redirects followed. attempts: requests that failed so far. give_up: time of the loop's clock, set by the first request.
    signals: what its hosts and answers say of mining. asked: the first request; requests, received: how many, and the bytes that came.
    ended: time of the loop's clock when its outcome stood.
    """

    job: "Job"
    rows: list[int]
    url: URL | None
    file_name: str | None = None
    hops: int = 0
    attempts: int = 0
    give_up: float | None = None
    signals: dict[str, bool] = field(default_factory=dict)
    asked: "Asked | None" = None
    requests: int = 0
    received: int = 0
    ended: float = 0.0

    def say(self, signals: Mapping[str, bool]) -> None:
        """Notes what a host or an answer says of mining; of one signal that says both, that it forbids it."""
        for signal, allows in signals.items():
            self.signals[signal] = allows and self.signals.get(signal, True)

    @property
    def host(self) -> str:
        """The name that limits and pauses are about; "" for a file."""
        return "" if self.url is None else host_of(self.url)


def host_of(url: URL) -> str:
    """The host's name, whatever the scheme, the port and a dot at its end: one machine's owner counts all of our requests together."""
    return (url.raw_host or "").rstrip(".")


@dataclass(frozen=True, slots=True)
class Asked:
    """An image's first request. host: its name. began: Unix time. clock: the loop's."""

    host: str
    began: float
    clock: float


@dataclass(slots=True)
class Door:
    """A port of a host to which connections failed. unreachable: in a row. down: what its images get until down_until, without a request."""

    unreachable: int = 0
    down_until: float = 0.0
    down: Failed | None = None


@dataclass(slots=True)
class Host:
    """Images that wait for one host, by its name, and what is known about it. Times are of the loop's clock.

    doors: by port, those that connections failed to. A port that nobody listens at says nothing about the others.
    """

    name: str
    connections: int
    gap_s: float  # between the beginnings of two requests
    waiting: list[tuple[int, int, Image]] = field(default_factory=list)  # a heap: the oldest unit's lowest row first
    active: int = 0
    not_before: float = 0.0
    doors: dict[int | None, Door] = field(default_factory=dict)
    ready: bool = False  # stands in Queue._ready
    timer: bool = False  # a wake-up at not_before is set


class Queue:
    """Images by host. Single-threaded: everything is called inside the loop.

    Connections, gaps and pauses are of a host's name (host_of); being down is of a name and a port.

    share: of a host's name, what this process may do there. call_at: the loop's. wake: called when an image may have become ready by the
    passing of time.
    """

    def __init__(self, *, share: Callable[[str], Share], call_at: Callable[..., object], wake: Callable[[], None]):
        self._share = share
        self._gaps: dict[str, float] = {}  # by host, where it asked for one itself
        self._call_at = call_at
        self._wake = wake
        self._hosts: dict[str, Host] = {}
        self._ready: list[tuple[int, int, str]] = []  # a heap of hosts by their first image
        self._forget_at = REMEMBERED

    def add(self, image: Image, now: float) -> None:
        host = self._hosts.get(image.host)
        if host is None:
            if len(self._hosts) >= self._forget_at:
                self._forget(now)
            share = self._share(image.host)
            host = self._hosts[image.host] = Host(image.host, share.connections, max(share.gap_s, self._gaps.get(image.host, 0.0)))
        heapq.heappush(host.waiting, (image.job.number, image.rows[0], image))
        self._offer(host, now)

    def pop(self, now: float) -> tuple[Image, Failed | None] | None:
        """The next image that may be asked for now, and why it need not be where its door is down; None when all have to wait.

        An image that is to be asked for counts as active until :meth:`done`; one whose door is down takes no turn from the next.
        """
        while self._ready:
            host = self._hosts[heapq.heappop(self._ready)[2]]
            host.ready = False
            while host.waiting and host.waiting[0][2].job.closed:
                heapq.heappop(host.waiting)
            if not host.waiting or not self._may_start(host, now):
                self._offer(host, now)
                continue
            image = heapq.heappop(host.waiting)[2]
            door = None if image.url is None else host.doors.get(image.url.port)
            down = door.down if door is not None and now < door.down_until else None
            if down is None and image.url is not None:
                host.active += 1
                host.not_before = max(host.not_before, now) + host.gap_s
            self._offer(host, now)
            return image, down
        return None

    def done(self, url: URL, now: float, failed: Failed | None) -> None:
        """A request to the url's host ended; `failed` if nothing came."""
        host = self._hosts[host_of(url)]
        host.active -= 1
        if failed is not None and failed.unreachable:
            door = host.doors.setdefault(url.port, Door())
            door.unreachable += 1
            if door.unreachable >= DOWN_AFTER:
                door.down, door.down_until = Failed(failed.word, failed.detail, unreachable=True), now + DOWN_S
                door.unreachable = 0
        elif url.port in host.doors:
            host.doors[url.port].unreachable = 0
        self._offer(host, now)

    def slow_down(self, name: str, gap_s: float) -> None:
        """The host asks for so many seconds between two requests of this process."""
        if gap_s > self._gaps.get(name, 0.0):
            self._gaps[name] = gap_s
            if (host := self._hosts.get(name)) is not None:
                host.gap_s = max(host.gap_s, gap_s)

    def paused_until(self, name: str) -> float:
        """When the host may be asked again, by its pause or by the gap after its last request; 0 for one that nothing is known about."""
        host = self._hosts.get(name)
        return 0.0 if host is None else host.not_before

    def pause(self, name: str, until: float) -> list[Image]:
        """The host asked to be left alone; returns the images that would have to wait beyond their unit's deadline, no longer waiting."""
        host = self._hosts[name]
        host.not_before = max(host.not_before, until)
        late = [entry for entry in host.waiting if not entry[2].job.closed and entry[2].job.ends_before(until)]
        if late:
            gone = {id(entry[2]) for entry in late}
            host.waiting = [entry for entry in host.waiting if id(entry[2]) not in gone]
            heapq.heapify(host.waiting)
        return [entry[2] for entry in late]

    def _may_start(self, host: Host, now: float) -> bool:
        return not host.name or (host.active < host.connections and now >= host.not_before)

    def _offer(self, host: Host, now: float) -> None:
        if host.ready or not host.waiting:
            return
        if self._may_start(host, now):
            host.ready = True
            heapq.heappush(self._ready, (*host.waiting[0][:2], host.name))
        elif host.active < host.connections and not host.timer:
            host.timer = True
            self._call_at(host.not_before, self._rung, host)

    def _forget(self, now: float) -> None:
        """Lets go of idle hosts of which nothing need be known: the lists that are fetched name millions."""
        self._hosts = {
            name: host
            for name, host in self._hosts.items()
            if host.waiting or host.active or now < max([host.not_before, *(door.down_until for door in host.doors.values())])
        }
        self._forget_at = max(REMEMBERED, 2 * len(self._hosts))

    def _rung(self, host: Host) -> None:
        host.timer = False
        if self._hosts.get(host.name) is host:
            now = host.not_before
            self._offer(host, now)
            self._wake()
