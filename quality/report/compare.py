"""A release against another of the same dataset: who changed sides, why, and what that did to the mix and the distributions."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.report.histograms import Edges, bars, counts_at, edges_of
from quality.report.ledger import UNDECIDED, Ledger
from quality.report.model import SIDES, Comparison, Move, Pair, Shift
from schemas.columns import range_of
from schemas.follow_ups import newest_places
from schemas.pool import Pool
from schemas.reasons import VERDICTS
from schemas.release import Release

MIXES: Final = ("license.class", "license.spdx", "caption.language", "deepfake.band")
_SHOWN: Final = 6  # pairs of a move
_WORDS: Final = 12  # of a mix


@dataclass(frozen=True)
class Before:
    """What the other release said of the ledger's rows: verdict (UNDECIDED where it said nothing) and reasons as a mask over `reasons`.

    gone: pairs that it decided about and that are not in the ledger."""

    verdict: np.ndarray
    mask: np.ndarray
    reasons: list[str]
    gone: int


def read_before(pool: Pool, other: Release, ledger: Ledger) -> Before:
    """Rows belong together by unit and row, both releases having decided about the same pool; one that was asked for again by where it stood."""
    decided = {unit.unit: unit.rows - unit.retried for unit in other.decided()}
    verdicts, masks, words = np.full(len(ledger), UNDECIDED, np.uint8), np.zeros(len(ledger), np.uint64), dict[str, int]()
    for place, unit in enumerate(ledger.units):
        at = np.flatnonzero(ledger.unit == place)
        for name, (here, there) in newest_places(pool, unit, decided).items():
            told = np.isin(here, ledger.row[at])
            places = at[np.searchsorted(ledger.row[at], here[told])]
            table = other.read_decisions(name, ["verdict", "reasons"]).take(pa.array(there[told]))
            verdicts[places] = np.asarray(pc.fill_null(pc.index_in(table["verdict"], pa.array(VERDICTS)), UNDECIDED)).astype(np.uint8)
            lists = table["reasons"].combine_chunks()
            flat = pc.list_flatten(lists).dictionary_encode()
            rows, codes = np.asarray(pc.list_parent_indices(lists)), np.asarray(flat.indices)
            for code, word in enumerate(flat.dictionary.to_pylist()):
                masks[places[rows[codes == code]]] |= np.uint64(1 << words.setdefault(word, len(words)))
    gone = sum(decided.values()) - int((verdicts != UNDECIDED).sum())
    return Before(verdicts, masks, list(words), gone)


def moved_rows(ledger: Ledger, before: Before) -> dict[tuple[str, str], np.ndarray]:
    """(before, after) to the rows that went so, bool; only where they differ and somebody went."""
    found = {}
    for old, was in enumerate(VERDICTS):
        for new, now in enumerate(VERDICTS):
            rows = (before.verdict == old) & (ledger.verdict == new)
            if old != new and rows.any():
                found[was, now] = rows
    return found


def compare(
    ledger: Ledger,
    before: Before,
    *,
    name: str,
    policy: str,
    same_policy: bool,
    shown: dict[tuple[str, str], list[Pair]],
    columns: list[str],
) -> Comparison:
    """shown: pairs of each move. columns: numbers whose distributions are compared."""
    both = (before.verdict != UNDECIDED) & (ledger.verdict != UNDECIDED)
    matrix = {
        was: {now: int(((before.verdict == old) & (ledger.verdict == new) & both).sum()) for new, now in enumerate(VERDICTS)}
        for old, was in enumerate(VERDICTS)
    }
    moves = [
        Move(was, now, int(rows.sum()), *_reasons(ledger, before, rows), _same(ledger, before, rows), shown.get((was, now), []))
        for (was, now), rows in moved_rows(ledger, before).items()
    ]
    kept_before, kept = before.verdict == 0, ledger.verdict == 0
    return Comparison(
        name=name,
        policy=policy,
        same_policy=same_policy,
        before={word: int((before.verdict == code).sum()) for code, word in enumerate(SIDES)},
        matrix=matrix,
        added=int((before.verdict == UNDECIDED).sum()),
        gone=before.gone,
        moves=sorted(moves, key=lambda move: -move.n),
        mixes={column: _mix(ledger, column, kept_before, kept) for column in MIXES if column in ledger.words},
        reasons=_all_reasons(ledger, before),
        shifts=[_shift(ledger, column, kept_before, kept) for column in columns],
    )


def _counts(mask: np.ndarray, reasons: list[str]) -> Counter[str]:
    return Counter({word: count for bit, word in enumerate(reasons) if (count := int((mask >> np.uint64(bit) & np.uint64(1)).sum()))})


def _reasons(ledger: Ledger, before: Before, rows: np.ndarray) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Reasons that the rows have now and had not, and the other way; commonest first."""
    places = {word: before.reasons.index(word) if word in before.reasons else None for word in ledger.reasons}
    gained, lost = Counter[str](), Counter[str]()
    for word in {*ledger.reasons, *before.reasons}:
        now = ledger.has(word)[rows]
        bit = places[word] if word in places else before.reasons.index(word)
        was = np.zeros(len(now), bool) if bit is None else (before.mask[rows] >> np.uint64(bit) & np.uint64(1)).astype(bool)
        gained[word], lost[word] = int((now & ~was).sum()), int((was & ~now).sum())
    return tuple([(w, n) for w, n in sorted(c.items(), key=lambda item: (-item[1], item[0])) if n] for c in (gained, lost))  # type: ignore[return-value]


def _same(ledger: Ledger, before: Before, rows: np.ndarray) -> int:
    """Of the rows those whose reasons are the same words: another bound, or another verdict for it."""
    was = np.zeros(len(ledger), np.uint64)
    strange = np.zeros(len(ledger), bool)  # with a reason that nobody has now
    for bit, word in enumerate(before.reasons):
        having = (before.mask >> np.uint64(bit) & np.uint64(1)).astype(bool)
        if word in ledger.reasons:
            was[having] |= np.uint64(1 << ledger.reasons.index(word))
        else:
            strange |= having
    return int((rows & ~strange & (was == ledger.mask)).sum())


def _all_reasons(ledger: Ledger, before: Before) -> list[tuple[str, int, int]]:
    now, was = _counts(ledger.mask, ledger.reasons), _counts(before.mask, before.reasons)
    return [(word, was[word], now[word]) for word in sorted({*now, *was})]


def _mix(ledger: Ledger, column: str, kept_before: np.ndarray, kept: np.ndarray) -> list[tuple[str | None, int, int]]:
    words = ledger.words[column]
    size = len(words.values) + 1
    was, now = (np.bincount(words.codes[rows] + 1, minlength=size) for rows in (kept_before, kept))
    labels = [None, *words.values]
    found = [(label, int(was[at]), int(now[at])) for at, label in enumerate(labels) if was[at] or now[at]]
    return sorted(found, key=lambda row: (-max(row[1], row[2]), row[0] or ""))[:_WORDS]


def _shift(ledger: Ledger, column: str, kept_before: np.ndarray, kept: np.ndarray) -> Shift:
    values = ledger.numbers[column]
    declared = ledger.fields[column]
    edges = edges_of(values, range=range_of(declared), whole=pa.types.is_integer(declared.type), bounds=())
    counts = [_bars(values[rows], edges) for rows in (kept_before, kept)]
    medians = [None if not (~np.isnan(values[rows])).any() else float(np.nanmedian(values[rows])) for rows in (kept_before, kept)]
    return Shift(column, edges.values[edges.drawn].tolist(), counts[0], counts[1], medians[0], medians[1], edges.log)


def _bars(values: np.ndarray, edges: Edges) -> list[int]:
    at_least, _ = counts_at(values, np.zeros(len(values), np.uint8), edges.values, kinds=1)
    return bars(at_least, edges.drawn.tolist(), [int((~np.isnan(values)).sum())])[:, 0].tolist()
