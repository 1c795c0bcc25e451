"""Select: the policy's verdict for every pair of the pool, with its reasons. The only step that depends on all units."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from quality import duplicates
from quality.column_plan import ColumnPlan
from quality.rules import ALWAYS_READ, DROP, Ruled, Rules
from quality.top_fraction import Histogram, cut_of, histogram_of
from schemas.policy import Duplicates
from schemas.pool import Pool
from schemas.reasons import VERDICTS, error_word
from schemas.release import DECISIONS, Release
from schemas.wire import batch_from_bytes, batch_to_bytes

_GATHERED_ROWS = 200_000  # one-row batches: 1,000-row units cut into 1,024 took 45 s a million rows, 3.4 s gathered (measured)
_ROWS_A_PARTITION = 2_000_000


class SelectPairs(beam.PTransform):
    """Decides about every pair of the units that come in, and writes releases/<name>/decisions.

    In: names of scored units, each once. Out: the same names, decided. rows: about how many pairs there are, for the number of partitions.
    Shuffled: fingerprints (15 bytes a pair and kind), then identity and rank of those that met. Order-free: ranks are total.
    Batches cross as the bytes of schemas.wire, which stay compressed: the in-process runner decodes every value that a GroupByKey holds.
    """

    def __init__(self, pool: Pool, release: Release, rules: Rules, plan: ColumnPlan, *, rows: int):
        self.pool, self.release, self.rules, self.plan = pool, release, rules, plan
        self.partitions = max(2, -(-3 * rows // _ROWS_A_PARTITION))

    def expand(self, units: beam.PCollection[str]) -> beam.PCollection[str]:
        open_unit = _OpenUnit(self.pool, self.rules, self.plan)
        settings = self.rules.policy.duplicates
        met = (
            units
            | "Fingerprints" >> beam.ParDo(_Fingerprints(open_unit, settings, self.partitions))
            | "Group fingerprints" >> beam.GroupByKey()
            | "Collisions" >> beam.FlatMap(_collisions)
            | "Collisions to units" >> beam.GroupByKey()
        )
        losers = (
            met
            | "Candidates" >> beam.ParDo(_Candidates(open_unit, self.partitions))
            | "Group candidates" >> beam.GroupByKey()
            | "Losers" >> beam.ParDo(_Losers(settings))
        )
        judged = (
            (units | "No losers" >> beam.Map(_no_losers), losers) | "With losers" >> beam.Flatten() | "Losers to units" >> beam.GroupByKey()
        )
        cuts: Any = (
            beam.pvalue.AsSingleton(judged | "Cuts" >> _Cuts(open_unit)) if any(r.top_fraction for r in self.rules.policy.rules) else {}
        )
        return judged | "Decide" >> beam.ParDo(_Decide(open_unit, self.release), cuts)


class _OpenUnit:
    """Reads columns of a unit and applies the rules to them."""

    def __init__(self, pool: Pool, rules: Rules, plan: ColumnPlan):
        self.pool, self.rules, self.plan = pool, rules, plan
        self.looked_at = tuple(dict.fromkeys((*ALWAYS_READ, *rules.columns)))

    def __call__(self, unit: str, more: Iterable[str] = (), cuts: Mapping[int, float] | None = None) -> tuple[pa.Table, Ruled]:
        table = self.plan.only({*self.looked_at, *more}).read(self.pool, unit)
        return table, self.rules.apply(table, cuts)


class _ByPartition:
    """Gathers batches with a `fingerprint` to 200,000 rows, then cuts them by it: few large batches, not many of one row."""

    def __init__(self, partitions: int):
        self.partitions = partitions
        self.batches: list[pa.RecordBatch] = []
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
        self.batches.append(batch)
        self.rows += batch.num_rows
        if self.rows >= _GATHERED_ROWS:
            yield from self.flush()

    def flush(self) -> Iterator[tuple[int, bytes]]:
        if self.rows:
            table = pa.Table.from_batches(self.batches).unify_dictionaries().combine_chunks()
            partition = table["fingerprint"].to_numpy() % np.uint64(self.partitions)
            order = np.argsort(partition, kind="stable")
            batch = table.take(pa.array(order)).combine_chunks().to_batches()[0]
            bounds = np.searchsorted(partition[order], np.arange(self.partitions + 1, dtype=np.uint64))
            for number, (start, stop) in enumerate(pairwise(bounds)):
                if stop > start:
                    yield number, batch_to_bytes(batch.slice(start, stop - start))
        self.batches, self.rows = [], 0


def _packed(parts: Iterable[tuple[str, pa.RecordBatch]]) -> Iterator[tuple[str, bytes]]:
    for unit, batch in parts:
        yield unit, batch_to_bytes(batch)


def _unpacked(parts: Iterable[bytes]) -> list[pa.RecordBatch]:
    return [batch_from_bytes(part) for part in parts]


def _late(values: Iterable[Any]) -> Iterator[WindowedValue]:
    """Values as finish_bundle must yield them."""
    for value in values:
        yield WindowedValue(value, GlobalWindow().max_timestamp(), (GlobalWindow(),))


class _Fingerprints(beam.DoFn):
    def __init__(self, open_unit: _OpenUnit, settings: Duplicates, partitions: int):
        self.open_unit, self.settings, self.partitions = open_unit, settings, partitions

    def start_bundle(self) -> None:
        self.gathered = _ByPartition(self.partitions)

    def process(self, unit: str) -> Iterable[tuple[int, bytes]]:
        table, ruled = self.open_unit(unit, duplicates.FINGERPRINT_COLUMNS)
        yield from self.gathered.add(duplicates.fingerprints_of(unit, table, ruled, self.settings))

    def finish_bundle(self) -> Iterable[WindowedValue]:
        yield from _late(self.gathered.flush())


def _collisions(group: tuple[int, Iterable[bytes]]) -> Iterable[tuple[str, bytes]]:
    return _packed(duplicates.collisions_of(_unpacked(group[1])))


class _Candidates(beam.DoFn):
    def __init__(self, open_unit: _OpenUnit, partitions: int):
        self.open_unit, self.partitions = open_unit, partitions

    def start_bundle(self) -> None:
        self.gathered = _ByPartition(self.partitions)

    def process(self, group: tuple[str, Iterable[bytes]]) -> Iterable[tuple[int, bytes]]:
        unit, met = group
        similarity = self.open_unit.rules.policy.similarity
        table, ruled = self.open_unit(unit, (*duplicates.IDENTITY_COLUMNS, similarity))
        yield from self.gathered.add(duplicates.candidates_of(unit, table, ruled, _unpacked(met), similarity=similarity))

    def finish_bundle(self) -> Iterable[WindowedValue]:
        yield from _late(self.gathered.flush())


class _Losers(beam.DoFn):
    def __init__(self, settings: Duplicates):
        self.settings = settings

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterable[tuple[str, bytes]]:
        return _packed(duplicates.losers_of(_unpacked(group[1]), self.settings))


def _no_losers(unit: str) -> tuple[str, bytes]:
    return unit, batch_to_bytes(pa.RecordBatch.from_pylist([], duplicates.LOSERS))


def _apply_losers(ruled: Ruled, batches: Iterable[bytes]) -> pa.Table:
    """Drops the losers; returns them sorted, each row's first winner first."""
    lost = pa.Table.from_batches(_unpacked(batches), duplicates.LOSERS).sort_by([("row", "ascending"), ("kind", "ascending")])
    rows, kinds = lost["row"].to_numpy(), lost["kind"].to_numpy()
    for kind, reason in duplicates.REASON_OF.items():
        ruled.add(rows[kinds == kind], reason, DROP)
    return lost


class _Cuts(beam.PTransform):
    """(unit, losers) of all units to one dict: index of a top_fraction rule -> the lowest value that stays."""

    def __init__(self, open_unit: _OpenUnit):
        self.open_unit = open_unit

    def expand(self, judged: beam.PCollection) -> beam.PCollection:
        return (
            judged
            | "Count" >> beam.ParDo(_Count(self.open_unit))
            | "Gather counts" >> beam.GroupByKey()
            | "Cut" >> beam.MapTuple(_cut)
            | "All cuts" >> beam.combiners.ToDict()
        )


class _Count(beam.DoFn):
    def __init__(self, open_unit: _OpenUnit):
        self.open_unit = open_unit

    def start_bundle(self) -> None:
        self.histograms: dict[int, Histogram] = {}

    def process(self, group: tuple[str, Iterable[bytes]]) -> None:
        unit, losers = group
        table, ruled = self.open_unit(unit)
        _apply_losers(ruled, losers)
        for index, rule in enumerate(self.open_unit.rules.policy.rules):
            if rule.top_fraction is not None:
                counted = np.asarray(pc.equal(table["status"], "success")) if rule.of == "pool" else ruled.verdict != DROP
                found = histogram_of(table[rule.column], counted, rule, self.open_unit.plan.types[rule.column])
                self.histograms[index] = found if index not in self.histograms else self.histograms[index] + found

    def finish_bundle(self) -> Iterable[WindowedValue]:
        yield from _late(self.histograms.items())


def _cut(index: int, histograms: Iterable[Histogram]) -> tuple[int, float]:
    first, *others = histograms
    return index, cut_of(sum(others, first))


class _Decide(beam.DoFn):
    def __init__(self, open_unit: _OpenUnit, release: Release):
        self.open_unit, self.release = open_unit, release

    def process(self, group: tuple[str, Iterable[bytes]], cuts: Mapping[int, float]) -> Iterable[str]:
        unit, losers = group
        table, ruled = self.open_unit(unit, cuts=cuts)
        lost = _apply_losers(ruled, losers)
        self.release.put_decisions(unit, decisions_of(table, ruled, lost), cuts=cuts)
        yield unit


def decisions_of(table: pa.Table, ruled: Ruled, lost: pa.Table) -> pa.Table:
    """DECISIONS of a unit, then every other column of `table` that a rule looked at."""
    n = table.num_rows
    winners = np.full(n, None, object)
    # Later writes win: go backwards, so that a row's first reason (pair, exact, picture) names its winner.
    rows = lost["row"].to_numpy()[::-1]
    winners[rows] = np.asarray(lost["winner"].to_pylist()[::-1], object)
    errors = table["error_message"].dictionary_encode().combine_chunks()
    words = pa.array([error_word(message) for message in errors.dictionary.to_pylist()], pa.string())
    columns = [
        table["row"],
        table["uid"],
        pa.array(VERDICTS).take(pa.array(ruled.verdict)),
        ruled.reason_lists(),
        pa.array(winners, pa.string()),
        words.take(errors.indices),
    ]
    decided = pa.table(columns, schema=DECISIONS)
    for name in table.column_names:
        if name not in decided.column_names and name not in ("status", "error_message"):
            decided = decided.append_column(table.schema.field(name), table[name])
    return decided
