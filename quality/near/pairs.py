"""Near-duplicates among the pairs of a pool: what takes part, what is asked of those that met, and who loses.

A pair takes part when nothing dropped it before, its PDQ hash has the policy's quality, and its thumbnail is there.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.duplicates import LOSERS, NEAR, RANK_COLUMNS, RANKS, by_unit, rank_keys, ranks_of
from quality.near.shuffle import best_of, met_in_group, winners_in_group
from quality.near_duplicates import winners
from quality.rules import DROP, Ruled
from schemas.policy import Duplicates

HASH_COLUMNS: Final = ("image.pdq", "image.pdq_quality")
CANDIDATE_COLUMNS: Final = ("image.pdq", "image.thumbnail", *RANK_COLUMNS)  # and the policy's similarity

# One row a hash and band key, in the shuffled search. key, home: see quality.near.shuffle.band_rows.
KEYS: Final = pa.schema([("key", pa.uint32()), ("home", pa.bool_())])
HASHES: Final = pa.schema([("hash", pa.binary(32)), ("unit", pa.dictionary(pa.int32(), pa.string())), ("row", pa.int32())])
MET: Final = pa.schema([("row", pa.int32())])
CANDIDATES: Final = pa.schema([("hash", pa.binary(32)), *RANKS, ("thumbnail", pa.binary(192))])
# Of the rows of a unit, the winner that one partition found, with its rank: the best of all partitions' stays.
FOUND: Final = pa.schema([("loser", pa.int32()), *RANKS])


def hashes_of(table: pa.Table, ruled: Ruled, settings: Duplicates) -> tuple[np.ndarray, np.ndarray]:
    """(rows, hashes), int32 (n,) and uint8 (n, 32), of a unit's pairs that take part. table: HASH_COLUMNS."""
    good = pc.greater_equal(table["image.pdq_quality"], settings.pdq_quality)
    usable = np.asarray(pc.fill_null(pc.and_(good, pc.is_valid(table["image.pdq"])), False))
    rows = np.flatnonzero(usable & (ruled.verdict != DROP)).astype(np.int32)
    return rows, fixed_bytes(table["image.pdq"].take(pa.array(rows)))


def candidates_of(unit: str, table: pa.Table, ruled: Ruled, rows: np.ndarray, *, similarity: str) -> pa.RecordBatch:
    """CANDIDATES of a unit's rows. table: CANDIDATE_COLUMNS and `similarity` of all its rows. One without a thumbnail is left out."""
    rows = rows[np.asarray(pc.is_valid(table["image.thumbnail"]))[rows]]
    picked = table.take(pa.array(rows))
    ranks = ranks_of(unit, picked, ruled, rows, similarity=similarity)
    columns = [picked["image.pdq"].combine_chunks(), *ranks, picked["image.thumbnail"].combine_chunks()]
    return pa.record_batch(columns, schema=CANDIDATES)


def losers_of(batches: Sequence[pa.RecordBatch], settings: Duplicates, *, threads: int) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(unit, LOSERS) among CANDIDATES of all units, whatever their order."""
    table = pa.Table.from_batches(batches, CANDIDATES).unify_dictionaries().combine_chunks()
    won = winners(
        fixed_bytes(table["hash"]),
        ranks_in(table),
        fixed_bytes(table["thumbnail"]),
        colour_distance=settings.colour_distance,
        distance=settings.near_distance,
        fast=settings.near_mode == "fast",
        threads=threads,
    )
    yield from lost_in(table, won, NEAR)


def met_in_partition(batches: Sequence[pa.RecordBatch], settings: Duplicates) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(unit, MET): its rows that met another under some key of this partition. batches: KEYS and HASHES."""
    table = _sorted(batches, pa.schema([*KEYS, *HASHES]))
    hashes, home = fixed_bytes(table["hash"]), np.asarray(table["home"])
    found = np.zeros(len(home), bool)
    for start, stop in _groups(table):
        found[start:stop] = met_in_group(hashes[start:stop], home[start:stop], distance=settings.near_distance)
    yield from by_unit(table.filter(pa.array(found)).combine_chunks(), MET.names)


def found_in_partition(batches: Sequence[pa.RecordBatch], settings: Duplicates) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(unit, FOUND) of the keys of this partition. batches: KEYS and CANDIDATES."""
    table = _sorted(batches, pa.schema([*KEYS, *CANDIDATES]))
    hashes, home, thumbnails = fixed_bytes(table["hash"]), np.asarray(table["home"]), fixed_bytes(table["thumbnail"])
    ranks = ranks_in(table)
    losers, won = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start, stop in _groups(table):
        part = slice(start, stop)
        best = winners_in_group(
            hashes[part], home[part], ranks[part], thumbnails[part],
            colour_distance=settings.colour_distance, distance=settings.near_distance,
        )  # fmt: skip
        lost = np.flatnonzero(best >= 0)
        losers.append(lost + start)
        won.append(best[lost] + start)
    winner = table.take(pa.array(np.concatenate(won)))
    loser = table.take(pa.array(np.concatenate(losers)))
    renamed = {f"winner.{name}": winner[name] for name in RANKS.names}
    both = pa.table({"unit": loser["unit"], "loser": loser["row"], **renamed})
    for unit, batch in by_unit(both, ["loser", *renamed]):
        yield unit, batch.rename_columns(FOUND.names)


def best_found(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """LOSERS of a unit, from FOUND of all partitions: each row once, with its best-ranked winner."""
    table = pa.Table.from_batches(batches, FOUND).unify_dictionaries().combine_chunks()
    rows, winner = best_of(table["loser"].to_numpy(), np.arange(table.num_rows), ranks_in(table))
    uids = table["uid"].take(pa.array(winner)).combine_chunks()
    return pa.record_batch([pa.array(rows, pa.int32()), pa.array(np.full(len(rows), NEAR, np.uint8)), uids], schema=LOSERS)


def lost_in(table: pa.Table, won: np.ndarray, kind: int) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(unit, LOSERS) of the rows of a table with RANKS. won: for each row its winner's place in the table, or -1."""
    lost = np.flatnonzero(won >= 0)
    losers = table.select(["unit", "row"]).take(pa.array(lost))
    losers = losers.append_column("kind", pa.array(np.full(len(lost), kind, np.uint8)))
    yield from by_unit(losers.append_column("winner", table["uid"].take(pa.array(won[lost]))), LOSERS.names)


def ranks_in(table: pa.Table) -> np.ndarray:
    """The rank of each row of a table with RANKS, int64, 0 for the best. Rows of one pair have neighbouring ranks."""
    ranks = np.empty(table.num_rows, np.int64)
    ranks[np.lexsort(rank_keys(table))] = np.arange(table.num_rows)
    return ranks


def fixed_bytes(column: pa.ChunkedArray) -> np.ndarray:
    """A column of fixed-size bytes without nulls as uint8 (n, width)."""
    array = column.combine_chunks()
    width = array.type.byte_width
    if not len(array):
        return np.empty((0, width), np.uint8)
    return np.frombuffer(array.buffers()[1], np.uint8).reshape(-1, width)[array.offset : array.offset + len(array)]


def _sorted(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """By key; within one, in an order that does not depend on that of the batches."""
    table = pa.Table.from_batches(batches, schema).unify_dictionaries().combine_chunks()
    unit = table["unit"].combine_chunks()
    names = np.asarray(unit.dictionary).astype(str)
    places = np.argsort(np.argsort(names, kind="stable"))[unit.indices.to_numpy()]
    order = np.lexsort((table["row"].to_numpy(), places, table["key"].to_numpy()))
    return table.take(pa.array(order)).combine_chunks()


def _groups(table: pa.Table) -> Iterator[tuple[int, int]]:
    """(start, stop) of each key with two rows or more."""
    keys = table["key"].to_numpy()
    bounds = np.r_[0, np.flatnonzero(keys[1:] != keys[:-1]) + 1, len(keys)]
    for group in np.flatnonzero(np.diff(bounds) > 1):
        yield int(bounds[group]), int(bounds[group + 1])
