"""What a report says, before it is drawn. Counts are pairs; None is "not measured"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

SIDES: Final = ("keep", "review", "drop")  # schemas.reasons.VERDICTS; a pool without a policy has counts in `undecided` alone


@dataclass(frozen=True)
class Text:
    """The same in English and in Korean."""

    en: str
    ko: str


@dataclass(frozen=True)
class Split:
    """How many pairs have something, by verdict. label: a stored word; None: not measured."""

    label: str | None
    keep: int = 0
    review: int = 0
    drop: int = 0
    undecided: int = 0

    @property
    def n(self) -> int:
        return self.keep + self.review + self.drop + self.undecided


@dataclass(frozen=True)
class Pair:
    """A pair that is shown. caption: as the policy writes it; None for none. blurred, sharp: WebP; sharp is None where it is left out, and
    `withheld` says why (rejected, nsfw, unmeasured, asked, size); both None without an image."""

    uid: str
    caption: str | None
    verdict: str | None
    reasons: Sequence[str]
    license: str | None
    creator: str | None
    host: str | None
    width: int | None
    height: int | None
    blurred: bytes | None
    sharp: bytes | None
    withheld: str | None = None


@dataclass(frozen=True)
class Shown:
    """A pair on a sheet. value: what the sheet is about, where that is a number. evidence: pieces, of a deepfake band."""

    pair: Pair
    value: float | None = None
    evidence: Sequence[Mapping[str, Any]] = ()
    band: str | None = None


@dataclass(frozen=True)
class Sheet:
    """Some of `of` pairs, chosen by uid."""

    name: str
    of: int
    shown: Sequence[Shown]


@dataclass(frozen=True)
class Twins:
    """A dropped pair beside the better one that it lost to."""

    reason: str
    loser: Pair
    winner: Pair | None


@dataclass(frozen=True)
class Bound:
    """A rule's bound on a number. at: inclusive. side: min or max. do: drop or review."""

    at: float
    side: str
    do: str
    reason: str
    missing: str
    overrule: bool


@dataclass(frozen=True)
class Histogram:
    """A column of numbers. edges: ascending; at_least[k], at_most[k]: pairs by (keep, review, drop, undecided) with a value >= or <= edges[k].

    totals: measured pairs, so split. missing: fetched, not measured. drawn: places in edges of the bars' ends. log_x, log_y: scales.
    samples: (value, pair), ascending. whole: whole numbers. single: float32, as which edges are compared.
    """

    name: str
    meaning: str
    scorer: str | None
    better: str | None
    measured: int
    missing: int
    totals: Sequence[int]
    edges: Sequence[float]
    at_least: Sequence[Sequence[int]]
    at_most: Sequence[Sequence[int]]
    drawn: Sequence[int]
    log_x: bool
    log_y: bool
    quantiles: Sequence[float]
    bounds: Sequence[Bound]
    samples: Sequence[tuple[float, Pair]]
    whole: bool
    single: bool


@dataclass(frozen=True)
class Gates:
    """state: passed, failed, not_run. outcomes: dicts of suite, rule, severity, passed (null: not measured), observed, message."""

    state: str
    outcomes: Sequence[Mapping[str, Any]] = ()

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        return sorted((one for one in self.outcomes if one["passed"] is False), key=lambda one: one["severity"])

    @property
    def unmeasured(self) -> list[Mapping[str, Any]]:
        return [one for one in self.outcomes if one["passed"] is None]

    @property
    def held(self) -> int:
        return sum(bool(one["passed"]) for one in self.outcomes)


@dataclass(frozen=True)
class Move:
    """Pairs that went from one verdict to another. gained, lost: reasons with counts. same: with the reasons they had. shown: some of them."""

    before: str
    after: str
    n: int
    gained: Sequence[tuple[str, int]]
    lost: Sequence[tuple[str, int]]
    same: int
    shown: Sequence[Pair]


@dataclass(frozen=True)
class Shift:
    """A column's distribution among what is kept, before and now: counts between edges, and medians (None: nothing measured)."""

    name: str
    edges: Sequence[float]
    before: Sequence[int]
    now: Sequence[int]
    median_before: float | None
    median_now: float | None
    log_x: bool


@dataclass(frozen=True)
class Comparison:
    """Against another release. matrix[before][after]: pairs that both decided about. added, gone: pairs that only one did.

    mixes: column to (word, kept before, kept now)."""

    name: str
    policy: str
    same_policy: bool
    before: Mapping[str, int]
    matrix: Mapping[str, Mapping[str, int]]
    added: int
    gone: int
    moves: Sequence[Move]
    mixes: Mapping[str, Sequence[tuple[str | None, int, int]]]
    reasons: Sequence[tuple[str, int, int]]
    shifts: Sequence[Shift]


@dataclass(frozen=True)
class Report:
    """Everything on the page. rows: of all planned units; fetched: with stored bytes; release: None for a pool without one. captions: the version
    that is shown; None: the sources'."""

    dataset: str
    release: str | None
    policy: str | None
    policy_text: str
    policy_digest: str | None
    redacts: bool
    captions: str | None
    published: bool
    rows: int
    fetched: int
    decodable: int
    counts: Mapping[str, int]
    deferred: int
    units: int
    statuses: Mapping[str, int]
    errors: Sequence[tuple[str, str, int]]
    reasons: Sequence[Split]
    only: Mapping[str, int]
    gates: Gates
    doubts: Sequence[tuple[str, Text]]
    histograms: Sequence[Histogram]
    words: Mapping[str, Sequence[Split]]
    obligations: Sequence[Split]
    nsfw: Sequence[Split]
    signals: Sequence[Mapping[str, Any]]
    sheets: Mapping[str, Sheet]
    dropped: Sequence[Sheet]
    twins: Sequence[Twins]
    duplicates: Sequence[Split]
    blocked: int
    incidents: Mapping[str, int]
    shards: int | None
    bytes: int | None
    took: Sequence[tuple[str, float, int]]
    scorers: Sequence[tuple[str, str, str | None]]
    sources: Sequence[str]
    rules: Sequence[Mapping[str, Any]]
    against: Comparison | None = None
    withheld: Mapping[str, int] = field(default_factory=dict)
