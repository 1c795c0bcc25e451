"""Read: source files become units. Files and names flow, never rows."""

from collections.abc import Iterable, Sequence

import apache_beam as beam

from pipelines.sources.listing import Entry
from pipelines.sources.rows import index_file
from schemas.pool import Pool


class ReadUnits(beam.PTransform):
    """Cuts every source file into units, on the worker that gets it, and puts pool/files.

    In: nothing. Out: names of all units, each once. A file that was cut before is not counted again.
    """

    def __init__(self, pool: Pool, entries: Sequence[Entry], *, unit_size: int):
        self.pool, self.entries, self.unit_size = pool, list(entries), unit_size

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[str]:
        return (
            pipeline
            | "Files" >> beam.Create(self.entries)
            | "Cut into units" >> beam.FlatMap(_units_of, self.pool, self.unit_size)
            | "Spread units" >> beam.Reshuffle()
        )


def _units_of(entry: Entry, pool: Pool, unit_size: int) -> Iterable[str]:
    return index_file(pool, entry, unit_size=unit_size).units
