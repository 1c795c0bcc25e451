"""`caption.repeats`: how many pairs of the pool have the same caption. The one column that hangs on all units; computed when a rule names it.

All rows with a caption count, fetched or not: what a caption says about its source does not change when links die.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.columns.caption import normalised_caption
from quality.duplicates import by_unit, one_unit
from schemas.columns import field

COLUMN: Final = field(
    "caption.repeats",
    pa.int32(),
    range=(1, None),
    better="lower",
    meaning="pairs of the pool, this one included, with the same normalised caption (NFKC, case folded, white space collapsed)",
)
NEEDS: Final = "caption"
FINGERPRINTS: Final = pa.schema([("fingerprint", pa.uint64()), ("unit", pa.dictionary(pa.int32(), pa.string())), ("row", pa.int32())])
REPEATS: Final = pa.schema([("row", pa.int32()), ("repeats", pa.int32())])


def fingerprints_of(unit: str, captions: pa.ChunkedArray) -> pa.RecordBatch:
    """FINGERPRINTS of a unit's rows that have a caption: 8 bytes of BLAKE2b of the normalised one."""
    rows = np.flatnonzero(np.asarray(pc.is_valid(captions))).astype(np.int32)
    encoded = normalised_caption(captions.take(pa.array(rows)).combine_chunks()).dictionary_encode()
    digests = b"".join(hashlib.blake2b(caption.encode(), digest_size=8).digest() for caption in encoded.dictionary.to_pylist())
    fingerprints = np.frombuffer(digests, np.uint64)[encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)]
    return pa.record_batch([pa.array(fingerprints), one_unit(unit, len(rows)), pa.array(rows)], schema=FINGERPRINTS)


def repeats_of(batches: Sequence[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(unit, REPEATS) of the rows whose fingerprint is there twice or more."""
    table = pa.Table.from_batches(batches, FINGERPRINTS).unify_dictionaries().combine_chunks()
    _, inverse, counts = np.unique(table["fingerprint"].to_numpy(), return_inverse=True, return_counts=True)
    repeats = counts[inverse]
    counted = table.append_column("repeats", pa.array(repeats, pa.int32())).filter(pa.array(repeats > 1))
    yield from by_unit(counted.combine_chunks(), REPEATS.names)


def column_of(captions: pa.ChunkedArray, batches: Sequence[pa.RecordBatch]) -> pa.Array:
    """COLUMN of a unit: 1 but for the rows of `batches` (REPEATS); null where there is no caption."""
    repeats = np.ones(len(captions), np.int32)
    for batch in batches:
        repeats[batch["row"].to_numpy()] = batch["repeats"].to_numpy()
    return pa.array(repeats, mask=np.asarray(pc.is_null(captions)))
