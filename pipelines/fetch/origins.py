"""What hosts say of being asked and mined: /robots.txt and /.well-known/tdmrep.json, read once a host and kept in the pool.

An origin is a scheme, a host and a port: each has files of its own (RFC 9309, 2.3).
"""

import asyncio
import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from yarl import URL

from pipelines.fetch.client import NETWORK_WORDS, Answer, Failed, Fetched, Moved, refused_by
from pipelines.fetch.settings import FetchSettings
from quality.block_lists import BlockLists
from quality.optouts import Reservations, Robots
from quality.optouts.robots import LIMIT
from quality.urls import BadUrl, url_of
from schemas.columns import HOSTS, table_of
from schemas.pool import Pool

MAX_AGE: Final = timedelta(hours=24)  # of a reading (RFC 9309, 2.4)
MAX_REDIRECTS: Final = 5  # of robots.txt (RFC 9309, 2.3.1.2)
BUCKETS: Final = 64  # files that readings are spread over
_KEPT: Final = 256_000_000  # bytes of hosts' files that a process keeps before it reads them anew from the pool
_PARSED: Final = 16_000_000  # bytes of hosts' files that are kept parsed, which takes some twenty times as much
# By age; of readings at one moment by what they say, since those of a pool come in no order.
_AGE: Final = [(name, "ascending") for name in ("read_at", "robots_answer", "robots", "tdmrep_answer", "tdmrep")]
_REFUSED: Final = frozenset({"private_address", "no_contact"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of schemas.columns.HOSTS."""

    origin: str
    read_at: datetime
    robots_answer: str
    robots: bytes | None = None
    tdmrep_answer: str | None = None
    tdmrep: bytes | None = None

    @property
    def failure(self) -> Failed | None:
        """Why nothing may be asked of the origin, whatever stands in its files; None where they decide.

        4xx means that there are no rules; 429 and 5xx that nobody can know them yet, and so does an answer that breaks off.
        """
        word = self.robots_answer
        if word in NETWORK_WORDS:
            return Failed(word, "robots.txt", unreachable=True)
        if word in _REFUSED:
            return Failed(word, status="refused")
        if word in ("truncated", "http_429") or word.startswith("http_5"):
            return Failed("robots_unreachable", word, status="refused")
        return None


class Rules:
    """What a reading says of urls. agent: our product token."""

    def __init__(self, reading: Reading, agent: str):
        self.failure = reading.failure
        self._robots = None if reading.robots is None else Robots(reading.robots, agent)
        self._reservations = None if reading.tdmrep is None else Reservations(reading.tdmrep)

    @property
    def says_nothing(self) -> bool:
        """Whether the origin has none of the files, and may be asked for anything."""
        return self.failure is None and self._robots is None and self._reservations is None

    @property
    def crawl_delay(self) -> float | None:
        """Seconds between two requests that the host asks for."""
        return None if self._robots is None else self._robots.crawl_delay

    def signals(self, url: str) -> dict[str, bool]:
        """{signal: whether it allows mining} of a url of this origin."""
        signals = {}
        if self._robots is not None and (forbids := self._robots.forbids(url)) is not None:
            signals[forbids] = False
        if self._reservations is not None and (found := self._reservations.signal(url)) is not None:
            signals[found[0]] = found[1]
        return signals


class HostRules:
    """The readings of a pool as this process knows them; pool None: of this process alone. For several threads at once."""

    def __init__(self, pool: Pool | None, agent: str):
        self._pool, self._agent = pool, agent
        self._lock = threading.Lock()
        self._readings: dict[str, dict[str, Reading]] = {}  # by bucket and origin
        self._sizes: dict[str, int] = {}  # bytes, by bucket
        self._parsed: dict[str, tuple[Reading, Rules]] = {}
        self._parsed_bytes = 0
        self._learnt: list[Reading] = []  # that are not in the pool yet

    def of(self, origin: str, *, max_age: timedelta | None = MAX_AGE) -> Rules | None:
        """The rules of an origin that was read within `max_age`, None: ever; else None."""
        with self._lock:
            reading = self._newest(origin)
            if reading is None or (max_age is not None and datetime.now(UTC) - reading.read_at > max_age):
                return None
            known = self._parsed.get(origin)
            if known is None or known[0] is not reading:
                self._parsed_bytes += _size(reading)
                if self._parsed_bytes > _PARSED:
                    self._parsed.clear()
                    self._parsed_bytes = _size(reading)
                known = self._parsed[origin] = reading, Rules(reading, self._agent)
            return known[1]

    def all_of(self, origins: Iterable[str]) -> dict[str, Rules]:
        """The rules of origins that were read, however long ago. Raises KeyError for one that was not."""
        found = {}
        for origin in sorted(origins, key=bucket_of):  # a bucket after the other: they may not all fit
            if (rules := self.of(origin, max_age=None)) is None:
                raise KeyError(origin)
            found[origin] = rules
        return found

    def unread(self, origins: Iterable[str]) -> list[str]:
        """Those that nobody has read within MAX_AGE, by bucket."""
        ordered = sorted({*origins}, key=lambda origin: (bucket_of(origin), origin))
        missing = [origin for origin in ordered if not self._fresh(origin)]
        with self._lock:
            for bucket in {bucket_of(origin) for origin in missing}:
                self._forget(bucket)  # another process may have read them since
        return [origin for origin in missing if not self._fresh(origin)]

    def unreachable(self, origins: Iterable[str]) -> list[str]:
        """Those whose newest reading failed, sorted: a later run asks them again."""
        with self._lock:
            newest = filter(None, map(self._newest, sorted({*origins}, key=bucket_of)))
            return sorted(reading.origin for reading in newest if reading.failure is not None)

    def add(self, readings: Sequence[Reading], *, later: bool = False) -> None:
        """Takes readings and puts them into the pool; later: with the next :meth:`put_learnt`."""
        with self._lock:
            for reading in readings:
                bucket = bucket_of(reading.origin)
                self._bucket(bucket)[reading.origin] = reading
                self._sizes[bucket] += _size(reading)
            self._learnt += readings
        if not later:
            self.put_learnt()

    def put_learnt(self) -> None:
        """Puts what is not in the pool yet, one object a bucket."""
        with self._lock:
            learnt, self._learnt = self._learnt, []
        buckets: dict[str, list[Reading]] = {}
        for reading in sorted(learnt, key=lambda reading: reading.origin):
            buckets.setdefault(bucket_of(reading.origin), []).append(reading)
        if self._pool is not None:
            for bucket, group in buckets.items():
                self._pool.put_hosts(bucket, table_of([asdict(reading) for reading in group], HOSTS))

    def _fresh(self, origin: str) -> bool:
        with self._lock:
            reading = self._newest(origin)
            return reading is not None and datetime.now(UTC) - reading.read_at <= MAX_AGE

    def _newest(self, origin: str) -> Reading | None:
        return self._bucket(bucket_of(origin)).get(origin)

    def _forget(self, bucket: str) -> None:
        self._readings.pop(bucket, None)
        self._sizes.pop(bucket, None)

    def _bucket(self, bucket: str) -> dict[str, Reading]:
        known = self._readings.get(bucket)
        if known is None:
            while self._pool is not None and self._readings and sum(self._sizes.values()) > _KEPT:
                self._forget(next(iter(self._readings)))
            rows = [] if self._pool is None else self._pool.read_hosts(bucket).sort_by(_AGE).to_pylist()
            known = self._readings[bucket] = {row["origin"]: Reading(**row) for row in rows}
            known |= {reading.origin: reading for reading in self._learnt if bucket_of(reading.origin) == bucket}
            self._sizes[bucket] = sum(map(_size, known.values()))
        return known


def _size(reading: Reading) -> int:
    """Bytes that a reading takes, about."""
    return 500 + len(reading.robots or b"") + len(reading.tdmrep or b"")


def origin_of(url: URL) -> str:
    return str(url.origin())


def bucket_of(origin: str) -> str:
    return f"{hashlib.sha256(origin.encode()).digest()[0] % BUCKETS:02d}"


class Asks(Protocol):
    """What asks for one file: Client, or who holds it back."""

    async def get(self, url: URL, *, deadline: float, first: int | None = None) -> Answer: ...


async def read_origin(client: Asks, origin: str, settings: FetchSettings, lists: BlockLists) -> Reading:
    """Asks an origin for both files; a listed address is not asked for, whoever points there.

    TDMRep's is not asked for where robots.txt could not be reached, for nothing else will be.
    """
    now = datetime.now(UTC)
    read_at = now.replace(microsecond=now.microsecond // 1000 * 1000)  # in ms, as it is kept
    robots = await _read(client, URL(f"{origin}/robots.txt"), settings, lists)
    reading = Reading(origin, read_at, *_told(robots))
    if reading.failure is not None:
        return reading
    tdmrep = await _read(client, URL(f"{origin}/.well-known/tdmrep.json"), settings, lists)
    return Reading(origin, read_at, *_told(robots), *_told(tdmrep))


def _told(answer: Fetched | Failed) -> tuple[str, bytes | None]:
    return ("ok", answer.data) if isinstance(answer, Fetched) else (answer.word, None)


async def _read(client: Asks, url: URL, settings: FetchSettings, lists: BlockLists) -> Fetched | Failed:
    """The first LIMIT bytes behind a url, over MAX_REDIRECTS redirects and some retries; a host that let a whole time-out pass gets none."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.image_timeout_s
    hops = attempts = 0
    while True:
        began = loop.time()
        answer: Answer = await client.get(url, deadline=deadline, first=LIMIT)
        if isinstance(answer, Moved):
            hops += 1
            if lists.kind_of_url(answer.target) is not None:
                return Failed("redirects", "to a listed address")
            try:
                url = url_of(answer.target)
            except BadUrl:
                return Failed("redirects", "to no http or https url")
            if hops > MAX_REDIRECTS:
                return Failed("redirects", f"more than {MAX_REDIRECTS}")
            continue
        if isinstance(answer, Fetched):
            return answer
        if hops and answer.word in _REFUSED:
            return Failed("redirects", answer.word)  # there is no such file for us; the images' own host is another
        wait_s = max(answer.wait_s or 0.0, settings.backoff_s * 2**attempts)
        attempts += 1
        if (
            not answer.again
            or attempts > settings.retries
            or (answer.unreachable and loop.time() - began >= settings.connect_timeout_s)
            or loop.time() + wait_s >= deadline
        ):
            return answer
        await asyncio.sleep(wait_s)


def verdict_of(rules: Rules, url: str, *, obeys: bool) -> tuple[Failed | None, Mapping[str, bool]]:
    """(why a url may not be asked for, or None; what its origin says of mining)."""
    if obeys and rules.failure is not None:
        return rules.failure, {}
    signals = rules.signals(url)
    return refused_by(signals) if obeys and not all(signals.values()) else None, signals
