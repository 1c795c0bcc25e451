"""What hosts say of being asked and mined: /robots.txt and /.well-known/tdmrep.json, read once a host and kept in the pool.

An origin is a scheme, a host and a port: each has files of its own (RFC 9309, 2.3).
"""

import asyncio
import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from yarl import URL

from pipelines.fetch.client import NETWORK_WORDS, Answer, Client, Failed, Fetched, Moved, refused_by
from pipelines.fetch.settings import FetchSettings
from quality.optouts import Reservations, Robots
from quality.optouts.robots import LIMIT
from quality.urls import BadUrl, url_of
from schemas.columns import HOSTS, table_of
from schemas.pool import Pool

MAX_AGE: Final = timedelta(hours=24)  # of a reading (RFC 9309, 2.4)
MAX_REDIRECTS: Final = 5  # of robots.txt (RFC 9309, 2.3.1.2)
BUCKETS: Final = 64  # files that readings are spread over
_KEPT: Final = 256_000_000  # bytes of hosts' files that a process keeps before it reads them anew from the pool
_RULES: Final = 20_000  # origins whose files are kept parsed
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

    @classmethod
    def silent(cls) -> "Rules":
        """Of a host that says nothing."""
        return cls(Reading("", datetime.now(UTC), "http_404"), "")

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
        self._bytes = 0  # of files in them
        self._parsed: dict[str, Rules] = {}

    def of(self, origin: str) -> Rules | None:
        """The rules of an origin that was read within MAX_AGE; else None."""
        with self._lock:
            reading = self._reading(origin)
            if reading is None or datetime.now(UTC) - reading.read_at > MAX_AGE:
                return None
            rules = self._parsed.get(origin)
            if rules is None:
                if len(self._parsed) >= _RULES:
                    self._parsed.clear()
                rules = self._parsed[origin] = Rules(reading, self._agent)
            return rules

    def unread(self, origins: Iterable[str]) -> list[str]:
        """Those that nobody has read within MAX_AGE, sorted."""
        missing = {origin for origin in origins if self.of(origin) is None}
        with self._lock:
            for bucket in {bucket_of(origin) for origin in missing}:
                self._readings.pop(bucket, None)  # another process may have read them since
        return sorted(origin for origin in missing if self.of(origin) is None)

    def unreachable(self, origins: Iterable[str]) -> list[str]:
        """Those whose newest reading failed, sorted: a later run asks them again."""
        return sorted({origin for origin in origins if (rules := self.of(origin)) is not None and rules.failure is not None})

    def add(self, readings: Sequence[Reading]) -> None:
        """Takes readings and puts them into the pool."""
        buckets: dict[str, list[Reading]] = {}
        for reading in sorted(readings, key=lambda reading: reading.origin):
            buckets.setdefault(bucket_of(reading.origin), []).append(reading)
        for bucket, group in buckets.items():
            if self._pool is not None:
                self._pool.put_hosts(bucket, table_of([asdict(reading) for reading in group], HOSTS))
        with self._lock:
            for bucket, group in buckets.items():
                known = self._bucket(bucket)
                for reading in group:
                    self._bytes += _size(reading)
                    known[reading.origin] = reading
                    self._parsed.pop(reading.origin, None)

    def _reading(self, origin: str) -> Reading | None:
        return self._bucket(bucket_of(origin)).get(origin)

    def _bucket(self, bucket: str) -> dict[str, Reading]:
        known = self._readings.get(bucket)
        if known is None:
            if self._bytes > _KEPT:
                self._readings.clear()
                self._bytes = 0
            rows = [] if self._pool is None else self._pool.read_hosts(bucket).sort_by(_AGE).to_pylist()
            known = self._readings[bucket] = {row["origin"]: Reading(**row) for row in rows}
            self._bytes += sum(map(_size, known.values()))
        return known


def _size(reading: Reading) -> int:
    return len(reading.robots or b"") + len(reading.tdmrep or b"")


def origin_of(url: URL) -> str:
    return str(url.origin())


def bucket_of(origin: str) -> str:
    return f"{hashlib.sha256(origin.encode()).digest()[0] % BUCKETS:02d}"


async def read_origin(client: Client, origin: str, settings: FetchSettings) -> Reading:
    """Asks an origin for both files. TDMRep's is not asked for where robots.txt could not be reached, for nothing else will be."""
    now = datetime.now(UTC)
    read_at = now.replace(microsecond=now.microsecond // 1000 * 1000)  # in ms, as it is kept
    robots = await _read(client, URL(f"{origin}/robots.txt"), settings)
    reading = Reading(origin, read_at, *_told(robots))
    if reading.failure is not None:
        return reading
    tdmrep = await _read(client, URL(f"{origin}/.well-known/tdmrep.json"), settings)
    return Reading(origin, read_at, *_told(robots), *_told(tdmrep))


def _told(answer: Fetched | Failed) -> tuple[str, bytes | None]:
    return ("ok", answer.data) if isinstance(answer, Fetched) else (answer.word, None)


async def _read(client: Client, url: URL, settings: FetchSettings) -> Fetched | Failed:
    """The first LIMIT bytes behind a url, over MAX_REDIRECTS redirects and some retries; a host that let a whole time-out pass gets none."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.image_timeout_s
    hops = attempts = 0
    while True:
        began = loop.time()
        answer: Answer = await client.get(url, deadline=deadline, first=LIMIT)
        if isinstance(answer, Moved):
            hops += 1
            try:
                url = url_of(answer.target)
            except BadUrl:
                return Failed("redirects", "to no http or https url")
            if hops > MAX_REDIRECTS:
                return Failed("redirects", f"more than {MAX_REDIRECTS}")
            continue
        if isinstance(answer, Failed) and hops and answer.word in _REFUSED:
            return Failed("redirects", answer.word)  # there is no such file for us; the images' own host is another
        wait_s = max(getattr(answer, "wait_s", None) or 0.0, settings.backoff_s * 2**attempts)
        attempts += 1
        if (
            isinstance(answer, Fetched)
            or not answer.again
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
