"""Exact duplicates: which of several equal pairs stays. And for duplicates of every kind: how pairs rank, and what a loser is.

Three kinds of equality, each found among pairs that the rules did not drop:
    pair      the same uid; the first (unit, row) stays
    exact     the same SHA-256 of the bytes; the best-ranked stays
    picture   the same PDQ hash of sufficient quality and the same normalised caption, and a better-ranked pair lies within the colour bound
              (PDQ sees no colour: drawn hearts of six colours are at distance 0)

Work goes in two rounds, so that little moves: first 64-bit fingerprints find candidates, then only candidates show what they are.
Ranking: verdict, licence class, pixels (more first), similarity (higher first, null last), uid, unit, row.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.columns.caption import normalised_caption
from quality.columns.license_terms import CLASSES
from quality.rules import DROP, Ruled
from schemas.policy import Duplicates

PAIR, EXACT, PICTURE, NEAR, SEMANTIC = range(5)
REASON_OF: Final = {
    PAIR: "duplicate:pair",
    EXACT: "duplicate:exact",
    PICTURE: "duplicate:picture",
    NEAR: "duplicate:near",
    SEMANTIC: "duplicate:semantic",
}

FINGERPRINT_COLUMNS: Final = ("uid", "sha256", "image.pdq", "image.pdq_quality")
RANK_COLUMNS: Final = ("uid", "license.class", "image.width", "image.height")  # and the policy's similarity
IDENTITY_COLUMNS: Final = ("uid", "sha256", "image.pdq", "caption", "image.thumbnail", *RANK_COLUMNS)

FINGERPRINTS: Final = pa.schema(
    [("fingerprint", pa.uint64()), ("kind", pa.uint8()), ("unit", pa.dictionary(pa.int32(), pa.string())), ("row", pa.int32())]
)
RANKS: Final = pa.schema(
    [
        ("verdict", pa.uint8()),
        ("license", pa.uint8()),
        ("pixels", pa.int64()),
        ("similarity", pa.float32()),
        ("uid", pa.string()),
        ("unit", pa.dictionary(pa.int32(), pa.string())),
        ("row", pa.int32()),
    ]
)
CANDIDATES: Final = pa.schema(
    [
        ("fingerprint", pa.uint64()),  # says only which candidates meet; never what is equal
        ("kind", pa.uint8()),
        ("identity", pa.string()),  # what must be equal: uid, sha256, or PDQ in hex and the normalised caption
        *RANKS,
        ("thumbnail", pa.binary(192)),  # null but for pictures
    ]
)
COLLISIONS: Final = pa.schema([("row", pa.int32()), ("kind", pa.uint8()), ("fingerprint", pa.uint64())])
LOSERS: Final = pa.schema([("row", pa.int32()), ("kind", pa.uint8()), ("winner", pa.string())])


def fingerprints_of(unit: str, table: pa.Table, ruled: Ruled, settings: Duplicates) -> pa.RecordBatch:
    """FINGERPRINTS of the rows that rules did not drop; up to three a row."""
    alive = np.flatnonzero(ruled.verdict != DROP).astype(np.int32)
    parts = [(PAIR, alive, _hex64(table["uid"], alive))]
    if settings.exact:
        hashed = alive[np.asarray(pc.is_valid(table["sha256"]))[alive]]
        parts.append((EXACT, hashed, _hex64(table["sha256"], hashed)))
        pictured = alive[_has_picture(table, settings)[alive]]
        parts.append((PICTURE, pictured, _first8(table["image.pdq"], pictured)))
    rows = np.concatenate([rows for _, rows, _ in parts])
    kinds = np.concatenate([np.full(len(rows), kind, np.uint8) for kind, rows, _ in parts])
    # Kinds are kept apart by mixing them into the key: one sort finds the collisions of all three.
    keys = np.concatenate([_mix(keys ^ np.uint64(0x9E3779B97F4A7C15 * (kind + 1) & 0xFFFFFFFFFFFFFFFF)) for kind, _, keys in parts])
    return pa.record_batch([pa.array(keys), pa.array(kinds), one_unit(unit, len(rows)), pa.array(rows)], schema=FINGERPRINTS)


def collisions_of(batches: Sequence[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Rows whose fingerprint another row has too, as (unit, COLLISIONS), units in order."""
    table = pa.Table.from_batches(batches, FINGERPRINTS)
    keys = table["fingerprint"].to_numpy()
    order = np.argsort(keys)
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    met = np.zeros(len(keys), bool)
    met[order[1:][same]] = True
    met[order[:-1][same]] = True
    candidates = table.take(pa.array(np.flatnonzero(met))).unify_dictionaries().combine_chunks()
    yield from by_unit(candidates, COLLISIONS.names)


def candidates_of(unit: str, table: pa.Table, ruled: Ruled, met: Sequence[pa.RecordBatch], *, similarity: str) -> pa.RecordBatch:
    """What the candidates of a unit are and how they rank. table: IDENTITY_COLUMNS and `similarity`; met: from :func:`collisions_of`."""
    hits = pa.Table.from_batches(met).sort_by([("row", "ascending"), ("kind", "ascending")])
    rows = hits["row"].to_numpy()
    kinds = hits["kind"].to_numpy()
    picked = table.take(pa.array(rows))
    is_picture = pa.array(kinds == PICTURE)
    # Captions are normalised for pictures only: it is the dear part.
    captions = normalised_caption(pc.if_else(is_picture, picked["caption"].combine_chunks(), pa.scalar(None, pa.string())))
    pdq = pa.array([None if value is None else value.hex() for value in picked["image.pdq"].to_pylist()], pa.string())
    picture = pc.binary_join_element_wise(pdq, pc.fill_null(captions, ""), " ")
    identity = pc.choose(pa.array(kinds.astype(np.int8)), picked["uid"].combine_chunks(), picked["sha256"].combine_chunks(), picture)
    return pa.record_batch(
        [
            hits["fingerprint"].combine_chunks(),
            pa.array(kinds),
            identity,
            *ranks_of(unit, picked, ruled, rows, similarity=similarity),
            pc.if_else(is_picture, picked["image.thumbnail"].combine_chunks(), pa.scalar(None, pa.binary(192))),
        ],
        schema=CANDIDATES,
    )


def ranks_of(unit: str, picked: pa.Table, ruled: Ruled, rows: np.ndarray, *, similarity: str) -> list[pa.Array]:
    """The columns of RANKS. picked: RANK_COLUMNS and `similarity` of a unit's `rows`; ruled: of all its rows."""
    width, height = (picked[name].combine_chunks().cast(pa.int64()) for name in ("image.width", "image.height"))
    return [
        pa.array(ruled.verdict[rows]),
        pc.index_in(picked["license.class"].combine_chunks(), pa.array(CLASSES)).cast(pa.uint8()),
        pc.multiply(width, height),
        picked[similarity].combine_chunks().cast(pa.float32()),
        picked["uid"].combine_chunks(),
        one_unit(unit, len(rows)),
        pa.array(rows, pa.int32()),
    ]


def rank_keys(table: pa.Table) -> list[np.ndarray]:
    """Keys for numpy.lexsort (the weightiest last) that put the best of RANKS first: row, unit, uid, similarity, pixels, license, verdict."""
    unit = table["unit"].combine_chunks()
    names = np.asarray(unit.dictionary).astype(str)
    places = np.empty(len(names), np.int32)
    places[np.argsort(names, kind="stable")] = np.arange(len(names), dtype=np.int32)
    return [
        table["row"].to_numpy(),
        places[unit.indices.to_numpy()],
        np.asarray(table["uid"]).astype("S"),
        -np.nan_to_num(pc.fill_null(table["similarity"], -np.inf).to_numpy(), nan=-np.inf),
        -pc.fill_null(table["pixels"], 0).to_numpy(),
        pc.fill_null(table["license"], len(CLASSES)).to_numpy(),
        table["verdict"].to_numpy(),
    ]


def apply_losers(ruled: Ruled, batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """Drops LOSERS of a unit; returns them sorted, each row's first winner first."""
    lost = pa.Table.from_batches(batches, LOSERS).sort_by([("row", "ascending"), ("kind", "ascending")])
    rows, kinds = lost["row"].to_numpy(), lost["kind"].to_numpy()
    for kind, reason in REASON_OF.items():
        ruled.add(rows[kinds == kind], reason, DROP)
    return lost


def losers_of(batches: Sequence[pa.RecordBatch], settings: Duplicates) -> Iterator[tuple[str, pa.RecordBatch]]:
    """All but the best of each group of equals, as (unit, LOSERS), whatever the order of the batches."""
    table = pa.Table.from_batches(batches, CANDIDATES).unify_dictionaries().combine_chunks()
    kind = table["kind"].to_numpy()
    identity = np.asarray(table["identity"]).astype(str)
    place, ranks = (keys := rank_keys(table))[:3], keys[3:]
    # The uid kind goes by place alone; zeroed ranks leave unit and row to decide.
    order = np.lexsort((*place, *(np.where(kind != PAIR, key, 0) for key in ranks), identity, kind))
    starts = np.flatnonzero(np.r_[True, (identity[order][1:] != identity[order][:-1]) | (kind[order][1:] != kind[order][:-1])])
    losers, winners = list[int](), list[int]()
    for start, stop in zip(starts, np.r_[starts[1:], len(order)], strict=True):
        group = order[start:stop]
        if len(group) < 2:
            continue
        if kind[group[0]] == PICTURE:
            pairs = _within_colours(group, table["thumbnail"], settings.colour_distance)
        else:
            pairs = [(loser, group[0]) for loser in group[1:]]
        losers += [loser for loser, _ in pairs]
        winners += [winner for _, winner in pairs]
    lost = table.take(pa.array(losers, pa.int64())).append_column("winner", table["uid"].take(pa.array(winners, pa.int64())))
    yield from by_unit(lost, LOSERS.names)


def _within_colours(group: np.ndarray, thumbnails: pa.ChunkedArray, bound: float) -> list[tuple[int, int]]:
    """(loser, the best better-ranked pair within `bound` mean Lab distance), for a group in rank order."""
    lab = np.stack([np.frombuffer(thumbnails[int(index)].as_py(), np.uint8).reshape(64, 3) for index in group]).astype(np.float32)
    pairs = []
    for place in range(1, len(group)):
        distance = np.sqrt(((lab[:place] - lab[place]) ** 2).sum(axis=2)).mean(axis=1)
        near = np.flatnonzero(distance <= bound)
        if len(near):
            pairs.append((int(group[place]), int(group[near[0]])))
    return pairs


def _has_picture(table: pa.Table, settings: Duplicates) -> np.ndarray:
    good = pc.greater_equal(table["image.pdq_quality"], settings.pdq_quality)
    return np.asarray(pc.fill_null(pc.and_(good, pc.is_valid(table["image.pdq"])), False))


def _hex64(column: pa.ChunkedArray, rows: np.ndarray) -> np.ndarray:
    """The first 16 hex digits of strings of one length as uint64."""
    if not len(rows):
        return np.empty(0, np.uint64)
    array = column.combine_chunks().take(pa.array(rows))
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    width = int(offsets[-1] - offsets[0]) // len(array)
    if width < 16 or (np.diff(offsets) != width).any():
        raise ValueError("digests of different lengths: the pool was not written by pigment")
    digits = np.frombuffer(array.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(-1, width)[:, :16]
    nibbles = np.where(digits >= 97, digits - 87, digits - 48).astype(np.uint8)
    return np.ascontiguousarray(nibbles[:, 0::2] << 4 | nibbles[:, 1::2]).view(np.uint64).reshape(-1)


def _first8(column: pa.ChunkedArray, rows: np.ndarray) -> np.ndarray:
    """The first 8 of 32 bytes as uint64, mixed with the other 24."""
    array = column.combine_chunks().take(pa.array(rows))
    words = np.frombuffer(array.buffers()[1], np.uint64).reshape(-1, 4)[array.offset : array.offset + len(array)]
    return words[:, 0] ^ _mix(words[:, 1] ^ _mix(words[:, 2] ^ _mix(words[:, 3])))


def _mix(keys: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al., 2014): a bijection of uint64 that spreads every bit."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def one_unit(unit: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([unit]))


def by_unit(table: pa.Table, columns: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(unit, its rows' columns) for each unit in the dictionary column `unit`, units in order, one contiguous batch each."""
    if table.num_rows == 0:
        return
    unit = table["unit"].combine_chunks()
    names = unit.dictionary.to_pylist()
    indices = unit.indices.to_numpy()
    order = np.argsort(indices, kind="stable")
    batch = table.select(list(columns)).take(pa.array(order)).combine_chunks().to_batches()[0]
    starts = np.flatnonzero(np.r_[True, indices[order][1:] != indices[order][:-1]])
    parts = {names[indices[order[start]]]: (start, stop - start) for start, stop in zip(starts, np.r_[starts[1:], len(order)], strict=True)}
    for name in sorted(parts):
        yield name, batch.slice(*parts[name])
