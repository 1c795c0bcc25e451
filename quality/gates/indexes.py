"""What the indexes of a release say, read once: a frame of shards, where every sample came from, and a fixed choice of samples."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.digest import digest_of_table
from schemas.release import INDEX, Release, Shard
from schemas.store import Store

SAMPLES: Final = 200  # samples of a release that are read again, spread over its shards
FEW: Final = 30  # a share of fewer moves by 9 points (its standard error at one half) by chance alone: it is not measured
_READ: Final = 8 << 20  # bytes hashed at a time
_SAMPLE_COLUMNS: Final = ("uid", "member", "offset", "size", "width", "height", "sha256", "caption")
SHARD_COLUMNS: Final = (
    "shard", "state", "count", "index_rows", "bytes", "tar_bytes", "sha256", "tar_sha256", "content_digest", "index_digest", "unreadable",
    "missing_columns", "null_uids", "malformed_uids", "repeated_uids", "outside", "empty_captions", "caption_share",
)  # fmt: skip


@dataclass(frozen=True)
class Indexes:
    """shards: SHARD_COLUMNS, one row per shard that is there or ought to be. samples: the chosen rows of the indexes, with `shard`.

    unit, row, uid: of every sample, sorted by unit and row; uid as 16 bytes (dtype S16). units: names that the codes in `unit` stand for.
    """

    shards: pd.DataFrame
    samples: pd.DataFrame
    units: tuple[str, ...]
    unit: np.ndarray
    row: np.ndarray
    uid: np.ndarray

    def of_unit(self, unit: str) -> tuple[np.ndarray, np.ndarray]:
        """(rows, uids) of a unit's samples, by row."""
        code = self.units.index(unit) if unit in self.units else len(self.units)
        start, stop = np.searchsorted(self.unit, [code, code + 1])
        return self.row[start:stop], self.uid[start:stop]


def read_indexes(release: Release, *, shards: int | None = None, samples: int = SAMPLES) -> Indexes:
    """Reads all indexes and hashes all tars of a release. shards: how many there ought to be; None: as many as the highest number says."""
    found = {shard.shard: shard for shard in release.shards()}
    expected = range(max(found, default=-1) + 1 if shards is None else shards)
    numbers = sorted({*found, *expected})
    each = max(1, -(-samples // max(1, len(numbers))))
    with ThreadPoolExecutor(4) as readers:
        read = list(readers.map(lambda number: _read_shard(release, number, found.get(number), number in expected, each), numbers))
    origins = pa.concat_tables([_ORIGIN.empty_table(), *(origin for _, origin, _ in read)]).unify_dictionaries().combine_chunks()
    units = tuple(origins["unit"].chunk(0).dictionary.to_pylist()) if origins.num_rows else ()
    unit = origins["unit"].chunk(0).indices.to_numpy() if origins.num_rows else np.zeros(0, np.int32)
    row = origins["row"].to_numpy()
    uid = np.frombuffer(b"".join(origins["uid"].to_pylist()), "S16")
    order = np.lexsort((row, unit))
    chosen = pd.concat([pd.DataFrame(columns=["shard", *_SAMPLE_COLUMNS]), *(sample for _, _, sample in read)], ignore_index=True)
    return Indexes(pd.DataFrame([row for row, _, _ in read], columns=SHARD_COLUMNS), chosen, units, unit[order], row[order], uid[order])


_ORIGIN: Final = pa.schema([("unit", pa.dictionary(pa.int32(), pa.string())), ("row", pa.int32()), ("uid", pa.binary(16))])


def _read_shard(release: Release, number: int, shard: Shard | None, expected: bool, samples: int) -> tuple[dict[str, Any], pa.Table, Any]:
    """A row of the frame, the origin of every sample, and the chosen samples."""
    row: dict[str, Any] = dict.fromkeys(SHARD_COLUMNS)
    row.update(shard=number, state="there" if shard and expected else "missing" if expected else "unexpected", unreadable=0)
    row["tar_bytes"], row["tar_sha256"] = _size_and_digest(release.store, release.shard_path(number, "tar"))
    nothing = _ORIGIN.empty_table(), pd.DataFrame()
    if shard is None:
        return row, *nothing
    row.update(count=shard.count, bytes=shard.bytes, sha256=shard.sha256, content_digest=shard.content_digest)
    try:
        index = release.read_index(number)
    except (pa.ArrowException, OSError):
        return {**row, "unreadable": 1}, *nothing
    row.update(index_rows=index.num_rows, index_digest=digest_of_table(index), missing_columns=missing_columns(index.schema, INDEX))
    if row["missing_columns"]:
        return row, *nothing
    uids = index["uid"]
    well = pc.fill_null(pc.match_substring_regex(uids, "^[0-9a-f]{32}$"), False)
    ends = pc.add(index["offset"], index["size"])
    inside = pc.and_(pc.greater_equal(index["offset"], 512), pc.less_equal(ends, row["tar_bytes"] or 0))
    row.update(
        null_uids=uids.null_count,
        malformed_uids=index.num_rows - pc.sum(well).as_py() if index.num_rows else 0,
        repeated_uids=index.num_rows - pc.count_distinct(uids, mode="all").as_py(),
        outside=index.num_rows - (pc.sum(pc.fill_null(inside, False)).as_py() or 0),
        empty_captions=pc.sum(pc.equal(pc.fill_null(index["caption"], ""), "")).as_py() or 0,
        caption_share=_commonest(index["caption"]) / index.num_rows if index.num_rows >= FEW else None,
    )
    index = index.filter(well)
    digits = bytes.fromhex("".join(index["uid"].to_pylist()))
    uid = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), index.num_rows, [None, pa.py_buffer(digits)])
    origin = pa.table([index["unit"].dictionary_encode().cast(_ORIGIN.field("unit").type), index["row"], uid], schema=_ORIGIN)
    # A uid is a digest, so its second half chooses fairly, and without regard to the first, which chose the shard.
    last = pc.utf8_slice_codeunits(index["uid"], 16, 32)
    picked = index.select(_SAMPLE_COLUMNS).take(pc.array_sort_indices(last)[:samples]).to_pandas()
    return row, origin, picked.assign(shard=number)


def _commonest(values: pa.ChunkedArray) -> int:
    return pc.max(pc.struct_field(values.value_counts(), 1)).as_py() or 0


def missing_columns(schema: pa.Schema, wanted: pa.Schema) -> int:
    """How many columns of `wanted` are missing in `schema`, or of another type there."""
    return sum(field.name not in schema.names or schema.field(field.name).type != field.type for field in wanted)


def _size_and_digest(store: Store, path: str) -> tuple[int | None, str | None]:
    hasher = hashlib.sha256()
    try:
        with store.open(path) as file:
            size = file.size()
            while data := file.read_buffer(_READ):
                hasher.update(data)
    except FileNotFoundError:
        return None, None
    return size, hasher.hexdigest()


def repeated(uids: Sequence[bytes] | np.ndarray) -> int:
    """How many samples have a uid that another one has too, the first of each uid not counted."""
    return len(uids) - len(np.unique(uids))
