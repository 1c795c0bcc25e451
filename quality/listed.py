"""Columns against value lists: which values are listed, and which picture hashes lie near a listed one. A list is read once per process."""

from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from quality.columns.caption import normalised_caption
from quality.near.listed import NearList
from quality.near_duplicates import QUALITY
from schemas.policy import PolicyError
from schemas.value_lists import ValueList, ids_of

_KEPT = 8  # lists in memory at a time


def is_listed(column: pa.ChunkedArray, values: ValueList, *, captions: bool = False) -> np.ndarray:
    """Which rows of a column of text have a listed value, bool (n,); nulls have none. captions: compare the list's values normalised.

    Costs 1 us a row of ids with 500,000 listed, 0.6 us a row of captions with 100,000 (CPU time, measured). Raises ListError.
    """
    listed = _values(values, captions)
    if isinstance(listed, np.ndarray):
        return _are_ids_listed(column, listed)
    return listed.get_indexer_for(column.to_numpy()) >= 0


def is_near(column: pa.ChunkedArray, looked_at: np.ndarray, values: ValueList) -> np.ndarray:
    """Which of the rows `looked_at` (bool (n,), none of them null) have a PDQ hash within distance 31 of a listed one, bool (n,).

    column: binary(32). A line of the list is a hash in hex, alone or with its quality after a comma; those below 50 count for nothing
    (threatexchange). Raises ListError, and PolicyError for a line of another form.
    """
    near = np.zeros(len(column), bool)
    rows = np.flatnonzero(looked_at)
    hashes = column.combine_chunks().take(pa.array(rows))
    data = np.frombuffer(hashes.buffers()[1], np.uint8).reshape(-1, 32)[hashes.offset : hashes.offset + len(hashes)] if len(rows) else None
    if data is not None:
        near[rows] = _hashes(values).near(data)
    return near


def check_hashes(values: ValueList) -> None:
    """Raises what :func:`is_near` would."""
    _hashes(values)


@lru_cache(_KEPT)
def _values(values: ValueList, captions: bool) -> np.ndarray | pd.Index:
    found = values.read()
    if isinstance(found, np.ndarray):
        return found
    return pd.Index(normalised_caption(pa.array(found, pa.string())).unique().to_pylist() if captions else found, dtype=object)


def _are_ids_listed(column: pa.ChunkedArray, listed: np.ndarray) -> np.ndarray:
    """listed: uint64 (m, 2), in order."""
    found = np.zeros(len(column), bool)
    rows = np.flatnonzero(np.asarray(pc.fill_null(pc.match_substring_regex(column, r"^[0-9a-f]{32}$"), False)))
    ids = ids_of(column.take(pa.array(rows)).to_pylist())
    assert ids is not None
    starts, stops = (np.searchsorted(listed[:, 0], ids[:, 0], side=side) for side in ("left", "right"))
    # Of one upper half there is one id, but for chance: looking at the k-th of all rows at once ends after one round.
    for step in range(int((stops - starts).max(initial=0))):
        at = starts + step
        there = np.flatnonzero(at < stops)
        found[rows[there]] |= listed[at[there], 1] == ids[there, 1]
    return found


@lru_cache(_KEPT)
def _hashes(values: ValueList) -> NearList:
    found = values.read()
    hashes = []
    for line in found if isinstance(found, list) else ():
        text, _, quality = line.partition(",")
        try:
            if quality and int(quality) < QUALITY:
                continue
            hash_ = bytes.fromhex(text)
        except ValueError:
            hash_ = b""
        if len(hash_) != 32:
            raise PolicyError(f"{values.path}: {line[:80]!r} is no PDQ hash of 64 hex digits, alone or with its quality after a comma")
        hashes.append(hash_)
    if not hashes:
        raise PolicyError(f"{values.path}: no PDQ hash of quality {QUALITY} or more in it")
    return NearList(np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32))
