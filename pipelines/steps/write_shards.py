"""Shards: what was kept, as WebDataset tars with an index each. Which pair goes where follows from its uid alone."""

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

import pipelines.coders  # noqa: F401  registers how a RecordBatch crosses the wire
from pipelines.shards import MEMBERS, ShardWriter
from quality.images import Target
from schemas.line import Generations, generations_of
from schemas.pool import Pool
from schemas.release import Release, ReleaseError

_GATHERED_ROWS = 200_000  # before a bundle's rows are cut by shard: few large batches, not many of one row
_PLACED = pa.schema([*MEMBERS, ("shard", pa.int64())])
_MEMBERS_AHEAD = 100_000  # of several shards are looked up together, so that a unit is opened once for all; about 1 KB each


class WriteShards(beam.PTransform):
    """Writes releases/<name>/shards: pairs with the verdict keep, in the form of `target`, spread over `shards` tars by their uid.

    In: names of decided units, each once. Out: numbers of shards that are there, from 0, each once; one without pairs is an empty tar.
    Shuffled: uid, unit and row, about 80 bytes a kept pair; neither images nor captions. A shard that is committed is adopted.

    shards: how many the pairs are spread over; with `parent`, those of the units that no release of its line has decided about, which come
    behind the parent's shards (schemas.line). A shard that the parent has, made from the same inputs, is not written: see references_of_line.
    score_columns: (pass, its columns) that go to the index and to each `.json`: scalars. redact: all text without personal data.
    captions: the version that the pairs have in the place of their sources' captions.
    reads: tars that one process reads at a time. threads: images that one process converts at a time: cores / processes.
    """

    def __init__(
        self,
        pool: Pool,
        release: Release,
        target: Target,
        *,
        shards: int,
        score_columns: Sequence[tuple[str, Sequence[str]]] = (),
        redact: bool = False,
        captions: str | None = None,
        parent: Release | None = None,
        workers_reads: int = 32,
        threads: int = 1,
    ):
        self.release, self.shards, self.parent = release, shards, parent
        self.total = generations_after(parent, shards).total
        if self.total < 1:
            raise ValueError("no shards; at least 1 is needed")
        self.writer = ShardWriter(
            pool,
            release,
            target,
            score_columns=score_columns,
            redact=redact,
            captions=captions,
            parent=parent,
            reads=workers_reads,
            threads=threads,
        )

    def expand(self, units: beam.PCollection[str]) -> beam.PCollection[int]:
        kept = units | "Kept pairs" >> beam.ParDo(_KeptPairs(self.release, self.shards, self.parent))
        numbers = units.pipeline | "All shards" >> beam.Create(range(self.total)) | "No pairs" >> beam.Map(_no_members)
        return (
            (kept, numbers)
            | "Pairs and all shards" >> beam.Flatten()
            | "Group by shard" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_Write(self.writer))
        )


def shard_count(kept: int, bytes_kept: int, *, max_bytes: int = 256_000_000, max_count: int = 10_000) -> int:
    """How many shards (1 or more) hold `kept` pairs of `bytes_kept` bytes in all, about `max_bytes` and `max_count` pairs each at most."""
    return max(1, -(-bytes_kept // max_bytes), -(-kept // max_count))


def generations_after(parent: Release | None, shards: int) -> Generations:
    """The parent's generations, then one of `shards` shards for the units that it does not have; none where that is 0."""
    before = Generations(())
    if parent is not None:
        manifest = parent.manifest()
        if manifest is None or "shards" not in manifest:  # or a notice stands in its place
            raise ReleaseError(f"release {parent.name} is not published; only a published one is a parent")
        before = generations_of(manifest)
    return Generations((*before.shards, shards), before.of_unit) if shards else before


def references_of_line(release: Release, parent: Release | None) -> dict[int, str]:
    """{number: release} of the parent's shards that the job left where they are: once it has ended, all that it has not written."""
    if parent is None:
        return {}
    written = release.own_shards()
    return {shard.shard: parent.holder(shard.shard) for shard in parent.shards() if shard.shard not in written}


def shards_of(uids: pa.ChunkedArray | pa.Array, shards: int) -> np.ndarray:
    """The shard of each uid: its first 16 hex digits as a number, modulo `shards`."""
    digits = "".join(pc.utf8_slice_codeunits(uids, 0, 16).to_pylist())
    return (np.frombuffer(bytes.fromhex(digits), ">u8") % np.uint64(shards)).astype(np.int64)


class _KeptPairs(beam.DoFn):
    def __init__(self, release: Release, shards: int, parent: Release | None):
        self.release, self.shards, self.parent = release, shards, parent

    def setup(self) -> None:
        self.generations = generations_after(self.parent, self.shards)

    def start_bundle(self) -> None:
        self.tables: list[pa.Table] = []
        self.rows = 0

    def process(self, unit: str) -> Iterable[tuple[int, pa.RecordBatch]]:
        decisions = self.release.read_decisions(unit, ["uid", "verdict", "row"])
        kept = decisions.filter(pc.equal(decisions["verdict"], "keep"))
        first, count = self.generations.place(unit)
        shards = pa.array(first + shards_of(kept["uid"], count))
        self.tables.append(pa.table([kept["uid"], pa.array([unit] * kept.num_rows, pa.string()), kept["row"], shards], schema=_PLACED))
        self.rows += kept.num_rows
        if self.rows >= _GATHERED_ROWS:
            yield from self._cut()

    def finish_bundle(self) -> Iterable[WindowedValue]:
        for value in self._cut():
            yield WindowedValue(value, GlobalWindow().max_timestamp(), (GlobalWindow(),))

    def _cut(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        if self.rows:
            table = pa.concat_tables(self.tables)
            shards = table["shard"].to_numpy()
            order = np.argsort(shards, kind="stable")
            batch = table.select(MEMBERS.names).take(pa.array(order)).combine_chunks().to_batches()[0]
            present, starts = np.unique(shards[order], return_index=True)
            for shard, start, stop in zip(present, starts, [*starts[1:], len(order)], strict=True):
                yield int(shard), batch.slice(start, stop - start)
        self.tables, self.rows = [], 0


def _no_members(shard: int) -> tuple[int, pa.RecordBatch]:
    return shard, pa.RecordBatch.from_pylist([], MEMBERS)


class _Write(beam.DoFn):
    def __init__(self, writer: ShardWriter):
        self.writer = writer

    def start_bundle(self) -> None:
        self.waiting: list[tuple[int, pa.Table]] = []

    def process(self, group: tuple[int, Iterable[pa.RecordBatch]]) -> Iterable[int]:
        shard, batches = group
        self.waiting.append((shard, pa.Table.from_batches(batches, MEMBERS)))
        if sum(members.num_rows for _, members in self.waiting) >= _MEMBERS_AHEAD:
            yield from self._write()

    def finish_bundle(self) -> Iterable[WindowedValue]:
        for shard in self._write():
            yield WindowedValue(shard, GlobalWindow().max_timestamp(), (GlobalWindow(),))

    def _write(self) -> Iterator[int]:
        waiting, self.waiting = self.waiting, []
        yield from self.writer.write(waiting)
