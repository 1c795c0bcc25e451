"""Pool and release as arrays: who was decided how, and every number and word that was measured.

A unit is read once, and of it only the columns that are asked for. What stays is about 150 bytes a pair: 150 MB for a million.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.columns import COLUMN_FUNCTIONS
from schemas.captions import with_version
from schemas.follow_ups import retried_rows
from schemas.pool import Pool
from schemas.reasons import VERDICTS, error_word
from schemas.release import DECISIONS, Release
from schemas.units import Pass, ScorerInfo

UNDECIDED: Final = len(VERDICTS)  # the code of a pair that no policy has judged
# Words with few values, counted by verdict. Numbers are taken as they come.
WORDS: Final = (
    "license.class", "license.spdx", "license.obligations", "license.evidence", "evidence.mining", "evidence.mining_signals",
    "evidence.c2pa", "evidence.generator", "evidence.source_type", "evidence.watermark", "deepfake.band", "deepfake.evidence",
    "caption.language", "caption.script", "caption.personal_data", "caption.boilerplate", "image.error",
)  # fmt: skip
# Computed from raw columns, where decisions do not have them.
COMPUTED: Final = (
    "license.class", "license.spdx", "license.obligations", "license.evidence", "caption.words", "caption.characters", "caption.repeat_share",
    "caption.boilerplate", "caption.script", "caption.language", "caption.personal_data", "caption.nsfw_words",
)  # fmt: skip
# Numbers that say nothing by themselves: of the rest `smallest_side` and `aspect` tell more.
_UNTOLD: Final = frozenset({"image.width", "image.height", "evidence.watermark_agree", "row"})


@dataclass(frozen=True)
class Words:
    """A column of words. codes: int32 (n,), places in `values`; -1 for null."""

    codes: np.ndarray
    values: list[str]

    def rows_of(self, word: str) -> np.ndarray:
        """Which rows have the word, bool (n,)."""
        return self.codes == self.values.index(word) if word in self.values else np.zeros(len(self.codes), bool)


@dataclass
class Ledger:
    """n pairs, in the order of units and rows; a pair that was asked for again is there once, in its newest follow-up.

    unit: int32, place in `units`. verdict: uint8, place in VERDICTS or UNDECIDED. mask: uint64, bit k is `reasons[k]`. key: uint64, the
    uid's first 16 digits. known: whether there is a uid (a pair on a block list has none). fetched, decodes: whether bytes are stored,
    and can be decoded. winners: row here to uid of the better pair. numbers: float (n,), NaN for null. scorers: column to whose it is.
    """

    units: list[str]
    unit: np.ndarray
    row: np.ndarray
    verdict: np.ndarray
    mask: np.ndarray
    reasons: list[str]
    key: np.ndarray
    known: np.ndarray
    fetched: np.ndarray
    decodes: np.ndarray
    winners: dict[int, str]
    numbers: dict[str, np.ndarray]
    words: dict[str, Words]
    fields: dict[str, pa.Field]
    scorers: dict[str, str]
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.unit)

    def has(self, reason: str) -> np.ndarray:
        """Which pairs have the reason, bool (n,)."""
        if reason not in self.reasons:
            return np.zeros(len(self), bool)
        return (self.mask >> np.uint64(self.reasons.index(reason)) & np.uint64(1)).astype(bool)


def read_ledger(
    pool: Pool, release: Release | None, units: Sequence[str], *, passes: Sequence[str] | None = None, captions: str | None = None
) -> Ledger:
    """The ledger of some committed units. release: whose decisions; None: nothing is decided. passes: names of the passes that it used.
    captions: the version of the captions that it took; None: the sources'."""
    return _Reader(pool, release, units, passes, captions).read()


class _Reader:
    def __init__(self, pool: Pool, release: Release | None, units: Sequence[str], passes: Sequence[str] | None, captions: str | None):
        self.captions = captions
        self.pool, self.release, self.units, self.there = pool, release, list(units), set(units)
        self.decided: dict[str, pa.Field] = {}
        if release is not None and units:
            self.decided = {
                column.name: column
                for column in release.read_decisions(units[0]).schema
                if column.name not in DECISIONS.names and (_is_number(column.type) or column.name in WORDS)
            }
        there = pool.passes_for(captions)
        self.scored = {pass_.name: pool.scored(pass_.name) for pass_ in there}
        self.sources = self._sources(sorted(there, key=lambda pass_: (pass_.name not in (passes or ()), _order(pass_))))
        # Columns of decisions have lost what their fields say of themselves.
        self.fields = self.decided | {name: column for name, (column, _, _) in self.sources.items()}
        self.fields |= {name: COLUMN_FUNCTIONS[_function_of(name)].fields.field(name) for name in COMPUTED}
        self.numbers = [name for name, column in self.fields.items() if _is_number(column.type) and name not in _UNTOLD]
        self.words = [name for name in WORDS if name in self.fields]
        self.vocabulary: dict[str, dict[str, int]] = {name: {} for name in self.words}
        self.parts: dict[str, list[np.ndarray]] = {}
        self.reasons: dict[str, int] = {}
        self.winners: dict[int, str] = {}
        self.statuses, self.errors = Counter[str](), Counter[tuple[str, str]]()

    def _sources(self, passes: Iterable[Pass]) -> dict[str, tuple[pa.Field, str, ScorerInfo]]:
        """Column to its field, pass and scorer: the first pass that has it."""
        found: dict[str, tuple[pa.Field, str, ScorerInfo]] = {}
        for pass_ in passes:
            there = sorted(self.scored[pass_.name] & set(self.units))
            if not there:
                continue
            owners = {column: scorer for scorer in pass_.scorers for column in scorer.columns}
            for column in self.pool.score_schema(pass_.name, there[0]):
                if column.name in owners and column.name not in found and (_is_number(column.type) or column.name in WORDS):
                    found[column.name] = (column, pass_.name, owners[column.name])
        return found

    def read(self) -> Ledger:
        at = 0
        for place, unit in enumerate(self.units):
            at += self._unit(place, unit, at)

        def joined(name: str, kind: type) -> np.ndarray:
            return np.concatenate(self.parts[name]) if self.parts.get(name) else np.empty(0, kind)

        return Ledger(
            units=self.units, unit=joined("unit", np.int32), row=joined("row", np.int32), verdict=joined("verdict", np.uint8),
            mask=joined("mask", np.uint64), reasons=list(self.reasons), key=joined("key", np.uint64), known=joined("known", bool),
            fetched=joined("fetched", bool), decodes=joined("decodes", bool), winners=self.winners,
            numbers={name: joined(f"number {name}", float) for name in self.numbers},
            words={name: Words(joined(f"word {name}", np.int32), list(self.vocabulary[name])) for name in self.words},
            fields=self.fields, scorers={name: scorer.calibration for name, (_, _, scorer) in self.sources.items()},
            statuses=self.statuses, errors=self.errors,
        )  # fmt: skip

    def _unit(self, place: int, unit: str, at: int) -> int:
        raw = self.pool.read_raw(unit, ["uid", "status", "error_message", "caption", "license", "license_url"])
        raw = with_version(raw, self.pool, unit, self.captions)
        here = np.ones(raw.num_rows, bool)
        here[retried_rows(self.pool, unit, self.there)] = False
        raw, n = _only(raw, here), int(here.sum())
        fetched = np.asarray(pc.equal(raw["status"], "success"))
        self._count_errors(raw)
        uids = raw["uid"]
        verdict, mask = np.full(n, UNDECIDED, np.uint8), np.zeros(n, np.uint64)
        columns: dict[str, pa.ChunkedArray] = {}
        if self.release is not None:
            decided = _only(self.release.read_decisions(unit, ["uid", "verdict", "reasons", "duplicate_of", *self.decided]), here)
            uids = decided["uid"]  # null for a pair that was on a list by then
            verdict = np.asarray(pc.index_in(decided["verdict"], pa.array(VERDICTS))).astype(np.uint8)
            mask = self._mask(decided["reasons"], n)
            lost = np.flatnonzero(np.asarray(pc.is_valid(decided["duplicate_of"])))
            self.winners.update(zip((lost + at).tolist(), decided["duplicate_of"].take(pa.array(lost)).to_pylist(), strict=True))
            columns |= {name: decided[name] for name in self.decided}
        columns |= self._scores(unit, [name for name in (*self.numbers, *self.words) if name not in columns], here)
        known = np.asarray(pc.is_valid(uids))
        looked_at = fetched & known
        columns |= self._computed(raw, looked_at, [name for name in COMPUTED if name not in columns])
        broken = columns.get("image.error")
        decodes = looked_at & (np.asarray(pc.is_null(broken)) if broken is not None else True)
        self._add("unit", np.full(n, place, np.int32))
        self._add("row", np.flatnonzero(here).astype(np.int32))
        for name, values in (("verdict", verdict), ("mask", mask), ("fetched", looked_at), ("decodes", decodes), ("known", known)):
            self._add(name, values)
        self._add("key", _keys(uids))
        for name in self.numbers:
            values = _numbers(columns.get(name), self.fields[name].type, n)
            values[~looked_at] = np.nan
            self._add(f"number {name}", values)
        for name in self.words:
            codes = self._codes(name, columns.get(name), n)
            codes[~looked_at] = -1
            self._add(f"word {name}", codes)
        return n

    def _add(self, name: str, values: np.ndarray) -> None:
        self.parts.setdefault(name, []).append(values)

    def _scores(self, unit: str, names: Sequence[str], here: np.ndarray) -> dict[str, pa.ChunkedArray]:
        wanted: dict[str, list[str]] = {}
        for name in names:
            if name in self.sources:
                wanted.setdefault(self.sources[name][1], []).append(name)
        found: dict[str, pa.ChunkedArray] = {}
        for pass_, columns in wanted.items():
            if unit in self.scored[pass_]:
                table = _only(self.pool.read_scores(pass_, unit, columns), here)
                found |= {name: table[name] for name in columns}
        return found

    @staticmethod
    def _computed(raw: pa.Table, rows: np.ndarray, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Column functions over the rows that have bytes; nulls elsewhere."""
        some = raw.filter(pa.array(rows))
        places = pa.array(np.cumsum(rows) - 1, pa.int64(), mask=~rows)
        found: dict[str, pa.ChunkedArray] = {}
        for key, function in COLUMN_FUNCTIONS.items():
            wanted = [name for name in names if _function_of(name) == key]
            if wanted:
                computed = function.compute(some, wanted).combine_chunks()
                found |= {name: computed[name].take(places) for name in wanted}
        return found

    def _count_errors(self, raw: pa.Table) -> None:
        for group in raw.group_by(["status", "error_message"]).aggregate([([], "count_all")]).to_pylist():
            self.statuses[group["status"]] += group["count_all"]
            if group["status"] != "success":
                self.errors[group["status"], error_word(group["error_message"]) or ""] += group["count_all"]

    def _mask(self, reasons: pa.ChunkedArray, n: int) -> np.ndarray:
        lists = reasons.combine_chunks()
        words = pc.list_flatten(lists).dictionary_encode()
        rows, codes = np.asarray(pc.list_parent_indices(lists)), np.asarray(words.indices)
        mask = np.zeros(n, np.uint64)
        for code, word in enumerate(words.dictionary.to_pylist()):
            bit = self.reasons.setdefault(word, len(self.reasons))
            mask[rows[codes == code]] |= np.uint64(1 << bit)
        return mask

    def _codes(self, name: str, column: pa.ChunkedArray | None, n: int) -> np.ndarray:
        if column is None:
            return np.full(n, -1, np.int32)
        encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.unify_dictionaries().chunk(0)
        known = self.vocabulary[name]
        mapped = np.array([known.setdefault(value, len(known)) for value in encoded.dictionary.to_pylist()] + [-1], np.int32)
        return mapped[np.asarray(pc.fill_null(encoded.indices, len(mapped) - 1))]


def _only(table: pa.Table, here: np.ndarray) -> pa.Table:
    return table if here.all() else table.filter(pa.array(here))


def _order(pass_: Pass) -> tuple:
    return tuple(sorted((scorer.calibration, scorer.version) for scorer in pass_.scorers)), pass_.name


def _function_of(name: str) -> str:
    return next(key for key, function in COLUMN_FUNCTIONS.items() if name in function.fields.names)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _numbers(column: pa.ChunkedArray | None, kind: pa.DataType, n: int) -> np.ndarray:
    """float32 for float32, float64 for whole numbers: both hold every value as it is."""
    dtype = np.float32 if pa.types.is_floating(kind) and not pa.types.is_float64(kind) else np.float64
    if column is None:
        return np.full(n, np.nan, dtype)
    return pc.fill_null(column.cast(pa.float32() if dtype is np.float32 else pa.float64()), np.nan).to_numpy().copy()


def _keys(uids: pa.ChunkedArray) -> np.ndarray:
    """The first 16 hex digits of each uid as a number; 0 for null."""
    heads = pc.utf8_slice_codeunits(pc.fill_null(uids, "0" * 16), 0, 16).to_pylist()
    return np.frombuffer(bytes.fromhex("".join(heads)), ">u8").astype(np.uint64)


def split_by(ledger: Ledger, codes: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """Counts (size, 4) of `codes` (0..size-1) by verdict, over `rows` (bool)."""
    flat = codes[rows].astype(np.int64) * 4 + ledger.verdict[rows]
    return np.bincount(flat, minlength=4 * size).reshape(size, 4)


def counts_of(ledger: Ledger) -> Mapping[str, int]:
    """Pairs by verdict."""
    found = np.bincount(ledger.verdict, minlength=4)
    return {**{word: int(found[code]) for code, word in enumerate(VERDICTS)}, "undecided": int(found[UNDECIDED])}
