"""A scorer of a user's that waits: a job with it can be met while it runs, on a machine however fast."""

import time

import pyarrow as pa

from quality.scorers.batch import PairBatch
from schemas.columns import field

SECONDS = 2.0  # a chunk; a unit of ten pairs is one


class Slow:
    """The length of captions."""

    name, version, needs = "slow", "1", ()
    fields = pa.schema([field("length", pa.int32(), meaning="characters of the caption", range=(0, None))])

    def load(self) -> None:
        pass

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        time.sleep(SECONDS)
        return pa.record_batch([pa.array([None if text is None else len(text) for text in batch.captions], pa.int32())], schema=self.fields)


class Raises(Slow):
    """A scorer with a bug."""

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        raise ZeroDivisionError("a bug of the scorer's")
