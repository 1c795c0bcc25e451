"""A scorer of a user's that waits: a job with it can be met while it runs, on a machine however fast."""

import csv
import time

import pyarrow as pa

from quality.scorers.batch import PairBatch
from schemas.columns import field
from tests.scoring import SAMPLE

SECONDS = 2.0  # a chunk; a unit of ten pairs is one
STRAGGLES_S = 40.0
with (SAMPLE / "metadata.csv").open(encoding="utf-8", newline="") as rows:
    FIRST = next(csv.DictReader(rows))["caption"]


class Slow:
    """The length of captions."""

    name, version, needs = "slow", "1", ()
    fields = pa.schema([field("length", pa.int32(), meaning="characters of the caption", range=(0, None))])

    def load(self) -> None:
        pass

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        time.sleep(SECONDS)
        return pa.record_batch([pa.array([None if text is None else len(text) for text in batch.captions], pa.int32())], schema=self.fields)


class Straggles(Slow):
    """As slow, and much slower in the unit that holds the first pair of the sample."""

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        if batch.captions[0] == FIRST:
            time.sleep(STRAGGLES_S)
        return super().score(batch)


class Raises(Slow):
    """A scorer with a bug."""

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        raise ZeroDivisionError("a bug of the scorer's")
