"""Which pairs of a pool are on a list now: they may have been fetched, and released, before they were listed."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.block_lists.match import STORED_COLUMNS, BlockLists
from schemas.pool import Pool

_PICTURE = ("image.pdq", "image.pdq_quality")


def listed_rows(pool: Pool, unit: str, lists: BlockLists, rows: np.ndarray) -> np.ndarray:
    """Which of the given rows (booleans, one a row of the unit) are on a list that stored columns can be held against: booleans alike.

    Not MD5 and SHA-1 of bytes; PDQ where a pass has hashes, of several passes any. A url takes 26 us (measured).
    """
    listed = np.zeros(len(rows), bool)
    if not lists or not rows.any():
        return listed
    asked = pa.array(rows)
    raw = pool.read_raw(unit, [name for name in STORED_COLUMNS if name not in _PICTURE]).filter(asked)
    for pictures in [_no_pictures(raw.num_rows), *_pictures(pool, unit, lists, asked)]:
        table = pa.table({**dict(zip(raw.column_names, raw.columns, strict=True)), **pictures})
        listed[rows] |= lists.stored(table)
        raw = _without_values(raw)  # asked once
    return listed


def listed_pairs(pool: Pool, unit: str, lists: BlockLists, rows: Sequence[int]) -> np.ndarray:
    """Which pairs of a unit, by row, are on any list: by stored columns, and for lists of MD5 or SHA-1 by their bytes. Booleans, one for each given.

    A row may be given twice. Where such lists are, reads the given rows' images.
    """
    commit = pool.raw_commit(unit)
    if commit is None:
        raise FileNotFoundError(f"{unit} is not in the pool")
    asked = np.zeros(commit.rows, bool)
    asked[list(rows)] = True
    listed = listed_rows(pool, unit, lists, asked)
    if lists.fetches_only and commit.tar is not None:
        places = pool.read_raw(unit, ["row", "offset", "size"]).filter(pa.array(asked & ~listed))
        places = places.filter(pc.is_valid(places["size"])).sort_by("offset")
        images = pool.read_bytes(unit, places["offset"].to_pylist(), places["size"].to_pylist(), tar=pool.images_of(commit))
        listed[places["row"].to_pylist()] = [lists.kind_of_bytes(image) is not None for image in images]
    return listed[list(rows)]


def listed_uids(pool: Pool, lists: BlockLists, uids: pa.ChunkedArray) -> pa.Array:
    """Which of the uids are on a list themselves, or any pair of the pool has that is, as :func:`listed_pairs` asks: those uids, each once."""
    wanted = pc.unique(uids).drop_null()
    found = [uid for uid in wanted.to_pylist() if lists.kind_of_uid(uid)]  # of a removed pair the pool has nothing left to look at
    for unit in sorted(pool.committed()) if lists and len(wanted) else ():
        here = pool.read_raw(unit, ["uid"])["uid"]
        rows = np.flatnonzero(np.asarray(pc.is_in(here, value_set=wanted)))
        found += here.take(pa.array(rows[listed_pairs(pool, unit, lists, rows.tolist())])).to_pylist()
    return pc.unique(pa.array(found, pa.string()))


def _pictures(pool: Pool, unit: str, lists: BlockLists, rows: pa.Array) -> list[dict[str, pa.ChunkedArray]]:
    found = []
    for pass_ in pool.passes() if lists.decodes else ():
        if any(set(_PICTURE) <= set(scorer.columns) for scorer in pass_.scorers) and pool.score_commit(pass_.name, unit) is not None:
            scores = pool.read_scores(pass_.name, unit, _PICTURE).filter(rows)
            found.append({name: scores[name] for name in _PICTURE})
    return found


def _no_pictures(rows: int) -> dict[str, pa.ChunkedArray]:
    return {
        "image.pdq": pa.chunked_array([pa.nulls(rows, pa.binary(32))]),
        "image.pdq_quality": pa.chunked_array([pa.nulls(rows, pa.int32())]),
    }


def _without_values(raw: pa.Table) -> pa.Table:
    return pa.table({name: pa.nulls(raw.num_rows, pa.string()) for name in raw.column_names})
