"""What fetching did, measured in raw commits and in the tables of requests beside them: columns only, a unit at a time.

What stays is one count a host, a second and a bin of latency: memory follows how many hosts there are and how long it took, not the pairs.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.fetch.in_place import is_of_tar
from quality.block_lists import BlockLists, listed_pairs
from quality.gates.hosts import host_column
from quality.gates.shares import FAILED
from schemas.follow_ups import planned_follow_ups, retried_rows
from schemas.pool import Pool
from schemas.reasons import can_pass, error_word
from schemas.units import number_of

LISTED_HOSTS: Final = 10
STRAGGLERS: Final = 10
SLICES: Final = 24  # of a spell
IDLE_S: Final = 600  # without any outcome, after which another spell begins
_CANDIDATES: Final = 50  # for stragglers: some may be on a block list by now
_BINS: Final = np.geomspace(1e-4, 1e5, 2_084)  # seconds; 1 % apart, and so exact are percentiles


@dataclass(frozen=True)
class Reason:
    """Pairs that ended with a status and a word; both as schemas.reasons has them. passing: whether asking again may help."""

    status: str
    word: str
    pairs: int
    passing: bool


@dataclass(frozen=True)
class Host:
    """The host of pairs' urls, redirects not followed. asked: its pairs that came or failed. commonest: the word of most of its failures."""

    host: str
    asked: int
    failed: int
    commonest: str


@dataclass(frozen=True)
class Spell:
    """A time in which pairs came or failed. began: UTC. slices: SLICES equal parts of `seconds`, each (pairs, failed, bytes)."""

    began: datetime
    seconds: int
    pairs: int
    bytes: int
    slices: Sequence[tuple[int, int, int]]


@dataclass(frozen=True)
class Straggler:
    """A pair that took long: seconds from its first request to its outcome."""

    url: str
    unit: str
    row: int
    status: str
    seconds: float
    requests: int


@dataclass(frozen=True)
class Latency:
    """Seconds of a pair from the first request to the outcome, retries and redirects included; percentiles to 1 %."""

    p50: float
    p95: float
    p99: float
    longest: float


@dataclass(frozen=True)
class Retried:
    """follow_ups: units. pairs: that were asked for again, each once. came: those of them that are stored now. planned: follow-ups to be fetched."""

    follow_ups: int
    pairs: int
    came: int
    planned: int


@dataclass(frozen=True)
class FetchSummary:
    """Of the units asked for; a pair that was asked for again counts as it ended at last, and what its requests took counts every time.

    rows: pairs of committed units. statuses: rows by fetch status. stored: bytes of the images in the pool. requests, received: made, and bytes
    on the wire; None, like latency and spells, where no unit has a table of requests. measured: units that have one. in_place: units of
    users' tars, for which nothing was asked. stored: images that stay in such a tar do not count. hosts: most failures
    first, at most LISTED_HOSTS of `failing_hosts`. optouts: signal to pairs by state (schemas.columns.RAW); None in pools older than that.
    deferred: rows and reason of units that are not committed.
    """

    units: int
    measured: int
    in_place: int
    rows: int
    statuses: dict[str, int]
    stored: int
    requests: int | None
    received: int | None
    latency: Latency | None
    spells: list[Spell]
    reasons: list[Reason]
    hosts: list[Host]
    failing_hosts: int
    stragglers: list[Straggler]
    optouts: dict[str, dict[str, int]] | None
    deferred: dict[str, dict[str, Any]]
    retried: Retried

    @property
    def passing(self) -> int:
        """Pairs that --retry_failed would ask for again."""
        return sum(reason.pairs for reason in self.reasons if reason.passing)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; times in ISO 8601."""
        spells = [
            {**asdict(spell), "began": spell.began.isoformat(), "slices": [list(part) for part in spell.slices]} for spell in self.spells
        ]
        return {**asdict(self), "spells": spells, "passing": self.passing}


def summarise(pool: Pool, lists: BlockLists, *, units: Collection[str] | None = None) -> FetchSummary:
    """The summary of committed units, all of the pool's unless told. lists: pairs and hosts that are on one by now are not named."""
    committed = pool.committed()
    scope = committed if units is None else committed & set(units)
    tally = _Tally(pool, scope)
    for unit in sorted(scope):
        tally.add(unit)
    plans = planned_follow_ups(pool).keys() if units is None else {unit for unit in scope if number_of(unit)}
    return tally.summary(lists, plans=plans, deferred=_deferred(pool, committed) if units is None else {})


def _deferred(pool: Pool, committed: Collection[str]) -> dict[str, dict[str, Any]]:
    noted = pool.deferred()
    planned = {unit: {"rows": rows, "why": "not fetched yet"} for unit, rows in pool.planned_units().items() if unit not in committed}
    return planned | {unit: {"rows": note["rows"], "why": note["why"]} for unit, note in noted.items()}


@dataclass
class _Tally:
    pool: Pool
    scope: Collection[str]
    statuses: Counter[str] = field(default_factory=Counter)
    words: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)  # by host
    failed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # by host and word
    seconds: dict[int, np.ndarray] = field(default_factory=dict)  # Unix time to pairs, failed, bytes
    optouts: dict[str, Counter[str]] | None = None
    slowest: list[tuple[float, str, int, int]] = field(default_factory=list)
    latencies: np.ndarray = field(default_factory=lambda: np.zeros(len(_BINS) + 1, np.int64))
    longest: float = 0.0
    measured: int = 0
    in_place: int = 0
    rows: int = 0
    stored: int = 0
    requests: int = 0
    received: int = 0
    again: int = 0
    came: int = 0

    def add(self, unit: str) -> None:
        requests = self.pool.read_requests(unit)
        there = self.pool.raw_schema(unit).names
        optouts = [name for name in ("optout", "optout_signals") if name in there]
        raw = self.pool.read_raw(unit, ["status", "error_message", "size", "url", *optouts])
        failed = np.asarray(pc.is_in(raw["status"], pa.array(FAILED)))
        if requests is not None:
            self._add_requests(unit, requests, failed)
        newest = np.ones(raw.num_rows, bool)
        newest[retried_rows(self.pool, unit, self.scope)] = False
        of_tar = is_of_tar(self.pool, unit)
        # What a tar of the user's lacks is asked for at its url, or never.
        asks = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(raw["url"]), ""), False) if of_tar else newest
        ends = pa.table(
            {
                "status": raw["status"],
                "word": _words(raw["error_message"]),
                "host": host_column(raw["url"]),
                "failed": failed,
                "asks": asks,
            }
        )
        ends = ends.filter(pa.array(newest))
        self.rows += ends.num_rows
        in_place = of_tar and not number_of(unit)
        self.in_place += in_place
        if not (in_place and _stays(self.pool, unit)):
            self.stored += pc.sum(raw["size"]).as_py() or 0
        for status, word, asks, count in _counts(ends, ["status", "word", "asks"]):
            self.statuses[status] += count
            if status != "success":
                self.words[status, word or "", asks and can_pass(status, word)] += count
        asked = ends.filter(pc.and_(pc.is_valid(ends["host"]), pc.or_(ends["failed"], pc.equal(ends["status"], "success"))))
        for host, count in _counts(asked, ["host"]):
            self.asked[host] += count
        for host, word, count in _counts(asked.filter(asked["failed"]), ["host", "word"]):
            self.failed[host][word or ""] += count
        if len(optouts) == 2:
            self._add_optouts(raw.select(optouts).filter(pa.array(newest)))
        if number_of(unit):
            self.again += ends.num_rows
            self.came += int(pc.sum(pc.equal(ends["status"], "success")).as_py() or 0)

    def _add_requests(self, unit: str, requests: pa.Table, failed: np.ndarray) -> None:
        self.measured += 1
        self.requests += pc.sum(requests["requests"]).as_py() or 0
        self.received += pc.sum(requests["bytes"]).as_py() or 0
        asked = np.flatnonzero(np.asarray(pc.and_(pc.is_valid(requests["began"]), pc.is_valid(requests["seconds"]))))
        if not len(asked):
            return
        took = requests.take(pa.array(asked))
        seconds, made = took["seconds"].to_numpy(), took["requests"].to_numpy()
        self.latencies += np.bincount(np.searchsorted(_BINS, seconds), minlength=len(_BINS) + 1)
        self.longest = max(self.longest, float(seconds.max()))
        slow = np.argsort(-seconds, kind="stable")[:_CANDIDATES]
        found = [(float(seconds[place]), unit, int(asked[place]), int(made[place])) for place in slow]
        self.slowest = sorted([*self.slowest, *found], key=lambda each: (-each[0], each[1:]))[:_CANDIDATES]
        ended = (took["began"].cast(pa.int64()).to_numpy() / 1000 + seconds).astype(np.int64)
        whole, place = np.unique(ended, return_inverse=True)
        sums = np.zeros((len(whole), 3), np.int64)
        np.add.at(sums, place, np.stack([np.ones(len(asked), np.int64), failed[asked], pc.fill_null(took["bytes"], 0).to_numpy()], axis=1))
        for second, figures in zip(whole.tolist(), sums, strict=True):
            self.seconds[second] = self.seconds[second] + figures if second in self.seconds else figures

    def _add_optouts(self, raw: pa.Table) -> None:
        self.optouts = {} if self.optouts is None else self.optouts
        for state, signals, count in _counts(raw.filter(pc.is_valid(raw["optout_signals"])), ["optout", "optout_signals"]):
            for signal in signals.split("|"):
                self.optouts.setdefault(signal, Counter())[state or "unknown"] += count

    def summary(self, lists: BlockLists, *, plans: Collection[str], deferred: dict[str, dict[str, Any]]) -> FetchSummary:
        fetched = [unit for unit in plans if unit in self.scope]
        known = self.measured > 0
        worst = sorted(self.failed, key=lambda host: (-self.failed[host].total(), host))
        named = (host for host in worst if lists.kind_of_url(f"http://{host}/") is None)
        return FetchSummary(
            units=len(self.scope), measured=self.measured, in_place=self.in_place, rows=self.rows,
            statuses=dict(sorted(self.statuses.items())), stored=self.stored,
            requests=self.requests if known else None, received=self.received if known else None, latency=self._latency(),
            spells=spells_of(self.seconds),
            reasons=[
                Reason(status, word, pairs, passing)
                for (status, word, passing), pairs in sorted(self.words.items(), key=lambda item: (-item[1], item[0]))
            ],
            hosts=[
                Host(host, self.asked[host], self.failed[host].total(), _commonest(self.failed[host]))
                for host, _ in zip(named, range(LISTED_HOSTS), strict=False)
            ],
            failing_hosts=len(worst), stragglers=self._stragglers(lists),
            optouts=None if self.optouts is None else {signal: dict(sorted(states.items())) for signal, states in sorted(self.optouts.items())},
            deferred=deferred, retried=Retried(len(fetched), self.again, self.came, len(plans) - len(fetched)),
        )  # fmt: skip

    def _latency(self) -> Latency | None:
        total = int(self.latencies.sum())
        if not total:
            return None
        reached = np.cumsum(self.latencies)
        ends = [*_BINS.tolist(), self.longest]  # of bins, but for what lies beyond the last
        shares = (ends[int(np.searchsorted(reached, share * total))] for share in (0.5, 0.95, 0.99, 1.0))
        return Latency(*(round(min(end, self.longest), 4) for end in shares))

    def _stragglers(self, lists: BlockLists) -> list[Straggler]:
        found = list[Straggler]()
        for seconds, unit, row, requests in self.slowest:
            if len(found) == STRAGGLERS:
                break
            [raw] = self.pool.read_raw(unit, ["url", "status"]).slice(row, 1).to_pylist()
            if raw["url"] is not None and not listed_pairs(self.pool, unit, lists, [row])[0]:
                found.append(Straggler(raw["url"], unit, row, raw["status"], round(seconds, 3), requests))
        return found


def spells_of(seconds: dict[int, np.ndarray]) -> list[Spell]:
    """Spells in order. seconds: Unix time to pairs, failed pairs and bytes of that second."""
    times = np.array(sorted(seconds), np.int64)
    found = []
    for group in np.split(times, np.flatnonzero(np.diff(times) >= IDLE_S) + 1) if len(times) else ():
        figures = np.stack([seconds[int(time)] for time in group])
        lasted = int(group[-1] - group[0]) + 1
        slices = np.zeros((SLICES, 3), np.int64)
        np.add.at(slices, (group - group[0]) * SLICES // lasted, figures)
        pairs, _, size = figures.sum(axis=0).tolist()
        began = datetime.fromtimestamp(int(group[0]), UTC)
        found.append(Spell(began, lasted, pairs, size, [(a, b, c) for a, b, c in slices.tolist()]))
    return found


def _stays(pool: Pool, unit: str) -> bool:
    """Whether the images of a committed unit are in a tar of the user's, and not in the pool."""
    commit = pool.raw_commit(unit)
    return commit is not None and commit.user_tar is not None


def _words(messages: pa.ChunkedArray) -> pa.Array:
    """The first word of each message."""
    encoded = messages.combine_chunks().dictionary_encode()
    words = pa.array([error_word(message) for message in encoded.dictionary.to_pylist()], pa.string())
    return words.take(encoded.indices)


def _counts(table: pa.Table, names: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    """(a value of each column, how many rows have them)."""
    grouped = table.select(names).group_by(names, use_threads=False).aggregate([([], "count_all")])
    return zip(*(grouped[name].to_pylist() for name in names), grouped["count_all"].to_pylist(), strict=True)


def _commonest(words: Counter[str]) -> str:
    return min(words, key=lambda word: (-words[word], word))
