"""Importing this module tells Beam how a RecordBatch crosses a shuffle: as one Arrow IPC stream, a slice without its parent.

A function that yields batches must say so in its type hints, or Beam pickles them (schemas.wire makes even that harmless).
"""

import apache_beam as beam
import pyarrow as pa

from schemas.wire import batch_from_bytes, batch_to_bytes


class RecordBatchCoder(beam.coders.Coder):
    """pa.RecordBatch to Arrow IPC and back."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        return batch_to_bytes(value)

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        return batch_from_bytes(encoded)

    def estimate_size(self, value: pa.RecordBatch) -> int:
        return value.nbytes  # the default would encode to find out

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type:
        return pa.RecordBatch

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)
