"""Which rows of a pool a removal takes out: those that it names, and those that show the same picture or come from the same address."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.forgetting.request import Named
from quality.block_lists import BlockLists, listed_rows
from quality.block_lists.keys import creator_key, domain_keys, url_key
from quality.block_lists.match import URL_COLUMNS
from quality.near.listed import NearList
from quality.near_duplicates import QUALITY
from schemas.pool import Pool
from schemas.removals import PLAN, Entries, union_of

_PICTURE: Final = ("image.pdq", "image.pdq_quality")
_COLUMNS: Final = (*URL_COLUMNS, "uid", "sha256", "expected_sha256", "creator")


@dataclass(frozen=True)
class Found:
    """found: entries of the pairs that are taken out. plan: PLAN. unmet: numbers of the file's lines that no pair of the pool fits."""

    found: Entries
    plan: pa.Table
    unmet: tuple[int, ...] = ()

    @property
    def rows(self) -> dict[str, list[int]]:
        return rows_of(self.plan)


def find(pool: Pool, named: Entries, known: Entries | None = None, *, lines: Named | None = None) -> Found:
    """All rows that the entries stand for. known: what an earlier look found, where rows were taken out already.

    Of a pair that is named, its addresses, digests and PDQ are listed; what then is found besides (twins) is listed without PDQ: a chain of
    pictures that each lie near the next would have no end. Reads some columns of every unit, twice at least.
    """
    units = sorted(pool.committed())
    first = _listed(pool, units, named)
    found = union_of([known or {}, *(_entries_of(pool, unit, rows, pictures=True) for unit, rows in first.items())])
    unmet = () if lines is None else _unmet(pool, lines, first)
    taken = first
    while True:
        rows = _listed(pool, units, union_of([named, found]))
        new = {unit: more for unit, there in rows.items() if len(more := np.setdiff1d(there, taken.get(unit, _NONE)))}
        if not new:
            break
        found = union_of([found, *(_entries_of(pool, unit, more, pictures=False) for unit, more in new.items())])
        taken = {unit: np.union1d(taken.get(unit, _NONE), rows.get(unit, _NONE)) for unit in taken.keys() | rows.keys()}
    planned = [
        {"unit": unit, "row": row, "twin": row not in first.get(unit, _NONE)} for unit in sorted(taken) for row in taken[unit].tolist()
    ]
    return Found(found, pa.Table.from_pylist(planned, PLAN), unmet)


_NONE: Final = np.empty(0, np.int64)


def rows_of(plan: pa.Table) -> dict[str, list[int]]:
    """The rows of a plan by unit, ascending."""
    rows = dict[str, set[int]]()
    for unit, row in zip(plan["unit"].to_pylist(), plan["row"].to_pylist(), strict=True):
        rows.setdefault(unit, set()).add(row)
    return {unit: sorted(there) for unit, there in sorted(rows.items())}


def joined(one: pa.Table | None, other: pa.Table) -> pa.Table:
    """The rows of both plans, each once; one that any of them names is no twin."""
    both = other if one is None else pa.concat_tables([one, other])
    twins = dict[tuple[str, int], bool]()
    for row in both.to_pylist():
        key = row["unit"], row["row"]
        twins[key] = twins.get(key, True) and row["twin"]
    return pa.Table.from_pylist([{"unit": unit, "row": row, "twin": twin} for (unit, row), twin in sorted(twins.items())], PLAN)


def _listed(pool: Pool, units: Sequence[str], entries: Entries) -> dict[str, np.ndarray]:
    """The rows of each unit that entries stand for; units without any are left out."""
    lists, found = BlockLists(entries), dict[str, np.ndarray]()
    for unit in units:
        commit = pool.raw_commit(unit)
        assert commit is not None
        rows = np.flatnonzero(listed_rows(pool, unit, lists, np.ones(commit.rows, bool)))
        if len(rows):
            found[unit] = rows
    return found


def _entries_of(pool: Pool, unit: str, rows: np.ndarray, *, pictures: bool) -> Entries:
    """What stands for the given rows of a unit. pictures: whether their PDQ does too."""
    found = dict[str, set[bytes]]()
    for pair in pool.read_raw(unit, ["uid", "url", "final_url", "sha256", "expected_sha256"]).take(pa.array(rows)).to_pylist():
        keys = [url_key(text) for name in ("url", "final_url") if (text := pair[name]) is not None]
        keys += [("uid", digest)] if (digest := _bytes(pair["uid"], 16)) else []
        keys += [("sha256", digest) for name in ("sha256", "expected_sha256") if (digest := _bytes(pair[name], 32))]
        for kind, value in keys:
            found.setdefault(kind, set()).add(value)
    if pictures:
        found["pdq"] = set(_pictures(pool, unit, rows))
    return {kind: frozenset(values) for kind, values in found.items()}


def _pictures(pool: Pool, unit: str, rows: np.ndarray) -> Iterator[bytes]:
    """The PDQ hashes of the rows, of every pass that has them, where they are good enough to be held against others."""
    for pass_ in pool.passes():
        if any(set(_PICTURE) <= set(scorer.columns) for scorer in pass_.scorers) and pool.score_commit(pass_.name, unit) is not None:
            for score in pool.read_scores(pass_.name, unit, _PICTURE).take(pa.array(rows)).to_pylist():
                if score["image.pdq"] is not None and (score["image.pdq_quality"] or 0) >= QUALITY:
                    yield score["image.pdq"]


def _bytes(digits: str | None, size: int) -> bytes | None:
    try:
        found = bytes.fromhex(digits or "")
    except ValueError:
        return None
    return found if len(found) == size else None


def _unmet(pool: Pool, named: Named, rows: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """The lines whose entry fits none of the rows."""
    met = set[tuple[str, bytes]]()
    pictures = list[bytes]()
    for unit, there in rows.items():
        for pair in pool.read_raw(unit, _COLUMNS).take(pa.array(there)).to_pylist():
            for text in (pair[name] for name in URL_COLUMNS if pair[name] is not None):
                met.update([url_key(text), *(("domain_sha256", key) for key in domain_keys(text))])
            met.update(("sha256", digest) for name in ("sha256", "expected_sha256") if (digest := _bytes(pair[name], 32)))
            met.update([("uid", _bytes(pair["uid"], 16) or b"")])
            met.update([("creator_sha256", creator_key(pair["creator"]))] if pair["creator"] is not None else [])
        pictures += _pictures(pool, unit, there)
    hashes = np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, 32)

    def fits(kind: str, value: bytes) -> bool:
        near = kind == "pdq" and len(hashes) and NearList(np.frombuffer(value, np.uint8).reshape(1, 32)).near(hashes).any()
        return (kind, value) in met or bool(near)

    return tuple(number for number, entry in named.lines.items() if not fits(*entry))
