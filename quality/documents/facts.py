"""What the files of a release say of it, counted once, in memory that grows with its hosts and licences and not with its pairs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.columns.language import Language
from quality.columns.license import License
from quality.documents.about import About
from quality.documents.obligations import NEEDS_ATTRIBUTION
from quality.kept import Kept
from schemas.follow_ups import statuses_of
from schemas.pool import Pool

_TASL: Final = ("title", "creator", "source_page", "url", "license", "license_url")
_COLUMNS: Final = (*_TASL, "member", "size", "width", "height", "caption", "optout")
CAPTIONS: Final = 20_000  # whose language is looked at; a shard's order is by hash, so its first rows are a sample
NSFW: Final = 0.5  # as in quality.report.pairs


@dataclass
class Terms:
    """Pairs under one licence. named: how many of them have each of author, title, source and licence URL."""

    spdx: str
    class_: str
    duties: tuple[str, ...]
    pairs: int = 0
    named: Counter[str] = field(default_factory=Counter)

    @property
    def needs_attribution(self) -> bool:
        return bool(NEEDS_ATTRIBUTION & set(self.duties))


@dataclass
class Facts:
    """pairs: that the documents speak of: what is kept, but for pairs on a block list now, which are only counted, as `listed`.

    hosts: name to [pairs, bytes]. languages: of `captions_looked_at` captions. sides: lowest, median, highest of width and of height.
    measured: by question, (pairs of which it holds, pairs that were measured). requested: first and last day of fetching.
    """

    kept: Kept
    about: About
    pairs: int = 0
    listed: int = 0
    image_bytes: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    terms: list[Terms] = field(default_factory=list)
    hosts: dict[str, list[int]] = field(default_factory=dict)
    optouts: Counter[str | None] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    captions_looked_at: int = 0
    caption_letters: int = 0
    sides: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    measured: dict[str, tuple[int, int]] = field(default_factory=dict)
    sources: Sequence[str] = ()
    fetch: Mapping[str, Any] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    requested: tuple[str, str] | None = None
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.kept.manifest

    @property
    def name(self) -> str:
        """What the dataset is called: as stated, else after its release."""
        return self.about.get("name", f"pigment-release-{self.manifest['release']}")

    @property
    def attributed(self) -> int:
        """How many pairs need attribution."""
        return sum(terms.pairs for terms in self.terms if terms.needs_attribution)


def gather(kept: Kept, about: About) -> Facts:
    """Reads every index once, a shard at a time."""
    facts = Facts(kept, about, listed=kept.listed, schema=kept.schema)
    total = max(1, sum(shard["count"] for shard in kept.shards))
    share, terms, sides = min(1.0, CAPTIONS / total), dict[tuple, Terms](), {"width": Counter[int](), "height": Counter[int]()}
    questions = _questions(facts.schema.names)
    counts = {text: np.zeros(2, np.int64) for text in questions}
    for _, table in kept.tables([*_COLUMNS, *dict.fromkeys(column for column, _ in questions.values())]):
        facts.pairs += table.num_rows
        facts.image_bytes += pc.sum(table["size"]).as_py() or 0
        facts.caption_letters += pc.sum(pc.utf8_length(table["caption"])).as_py() or 0
        facts.suffixes.update(_counts(pc.list_element(pc.split_pattern(table["member"], "."), 1)))
        facts.optouts.update(_counts(table["optout"]))
        for side, counted in sides.items():
            counted.update(_counts(table[side]))
        _add_terms(terms, table)
        _add_hosts(facts, table)
        _add_languages(facts, table["caption"].slice(0, -int(-table.num_rows * share // 1)))
        for text, (column, holds) in questions.items():
            values = table[column].drop_null()
            counts[text] += (pc.sum(holds(values)).as_py() or 0, len(values))
    facts.terms = sorted(terms.values(), key=lambda one: (-one.pairs, one.spdx))
    facts.sides = {side: _three(counted) for side, counted in sides.items() if counted}
    facts.measured = {text: (int(holds), int(of)) for text, (holds, of) in counts.items()}
    _add_collection(facts, kept.pool)
    return facts


def _questions(names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """What is asked of each pair that was measured: text to (column, values to booleans); only columns that the indexes have."""
    asked = {
        "at least one face was found": ("faces.count", lambda values: pc.greater(values, 0)),
        f"Open-NSFW gives {NSFW} or more": ("nsfw.open_nsfw", lambda values: pc.greater_equal(values, NSFW)),
        "signs of a generated or altered picture: band review or high": (
            "deepfake.band", lambda values: pc.is_in(values, value_set=pa.array(["review", "high"]))
        ),
        "the file as it came said where it was taken (GPS); shards hold no such metadata": ("evidence.gps", lambda values: values),
    }  # fmt: skip
    return {text: question for text, question in asked.items() if question[0] in names}


def _counts(column: pa.ChunkedArray) -> dict[Any, int]:
    return {row["values"]: row["counts"] for row in column.value_counts().to_pylist()}


def _three(counted: Counter[int]) -> tuple[int, int, int]:
    values = sorted(counted)
    half, seen = sum(counted.values()) / 2, 0
    for value in values:
        seen += counted[value]
        if seen >= half:
            break
    return values[0], value, values[-1]


def _add_terms(terms: dict[tuple, Terms], table: pa.Table) -> None:
    read = License().compute(table, ["license.spdx", "license.class", "license.obligations"])
    source = pc.or_(pc.is_valid(table["source_page"]), pc.is_valid(table["url"]))
    has = {
        "author": pc.is_valid(table["creator"]),
        "title": pc.is_valid(table["title"]),
        "source": source,
        "licence URL": pc.is_valid(table["license_url"]),
    }
    told = pa.table({**{name: read[name] for name in read.column_names}, **{name: column.cast(pa.int64()) for name, column in has.items()}})
    for row in (
        told.group_by(read.column_names, use_threads=False).aggregate([([], "count_all"), *((name, "sum") for name in has)]).to_pylist()
    ):
        key = tuple(row[name] for name in read.column_names)
        one = terms.setdefault(key, Terms(key[0], key[1], tuple(key[2].split("|")) if key[2] else ()))
        one.pairs += row["count_all"]
        one.named.update({name: row[f"{name}_sum"] for name in has})


def _add_hosts(facts: Facts, table: pa.Table) -> None:
    for url, size in zip(table["url"].to_pylist(), table["size"].to_pylist(), strict=True):
        if url is not None:
            one = facts.hosts.setdefault(host_of(url), [0, 0])
            one[0] += 1
            one[1] += size


def host_of(url: str) -> str:
    """The host that a url names, in lower case without `www.`; "" where it names none."""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def _add_languages(facts: Facts, captions: pa.ChunkedArray) -> None:
    found = Language().compute(pa.table({"caption": captions}), ["caption.language"])["caption.language"]
    facts.captions_looked_at += len(captions)
    facts.languages.update({word: count for word, count in _counts(found).items() if word is not None})


def _add_collection(facts: Facts, pool: Pool) -> None:
    """Where the pairs came from and when they were asked for. Of paths only the last part is told: the rest is about whoever ran the job."""
    settings = pool.settings("source") or {}
    facts.sources = [_shown(str(each.get("source"))) for each in settings.get("sources", ())]
    facts.fetch = settings.get("fetch") or {}
    units = list(facts.manifest["units"])
    facts.statuses = dict(sorted(statuses_of(pool, units).items()))
    first, last = None, None
    for unit in units:
        asked = pool.read_requests(unit, ["began"])
        if asked is None or asked["began"].null_count == asked.num_rows:
            continue
        began = pc.min_max(asked["began"]).as_py()
        first = began["min"] if first is None else min(first, began["min"])
        last = began["max"] if last is None else max(last, began["max"])
    facts.requested = None if first is None or last is None else (_day(first), _day(last))


def _shown(source: str) -> str:
    return Path(source).name if "://" not in source else source.partition("?")[0]


def _day(time: datetime) -> str:
    return time.astimezone(UTC).date().isoformat()
