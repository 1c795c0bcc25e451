"""Select: the policy's verdict for every pair of the pool, with its reasons. The only step that depends on all units."""

from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.steps.exact_pairs import ExactLosers
from pipelines.steps.near_pairs import NearLosers, SemanticLosers
from pipelines.steps.open_unit import LeftOutRows, OnUnits, OpenUnit, left_out
from pipelines.steps.shuffling import ByPartition, late, packed, unpacked
from quality import duplicates, repeats
from quality.column_plan import ColumnPlan
from quality.columns.personal_data import without_personal_data
from quality.review.settle import kept_alone
from quality.rules import DROP, Ruled, Rules
from quality.top_fraction import Histogram, cut_of, histogram_of
from schemas.pool import Pool
from schemas.reasons import VERDICTS, error_word
from schemas.release import DECISIONS, Release
from schemas.units import number_of

_ROWS_A_PARTITION = 2_000_000


class SelectPairs(beam.PTransform):
    """Decides about every pair of the units that come in, and writes releases/<name>/decisions.

    In: names of scored units, each once, follow-ups among them: what one of these holds has no verdict in the unit that it follows. Out: the
    same names, decided. rows: about how many pairs there are, for the number of partitions.
    lists: the digest of the launcher's block lists, which the workers read for themselves; a pair that is on one is not looked at further.
    settled: the digest of what people decided, which the release keeps and the workers read there; None where nobody did. Duplicates are judged
    with it; where the policy cuts the top of a column, once more without it, for a cut does not hang on what people decided.
    in_memory_rows: to so many rows one worker finds near-duplicates by itself; beyond, they are shuffled; the answer is the same.
    Shuffled: fingerprints (15 bytes a pair and kind), then identity and rank of those that met. Order-free: ranks are total.
    """

    def __init__(
        self,
        pool: Pool,
        release: Release,
        rules: Rules,
        plan: ColumnPlan,
        *,
        rows: int,
        lists: str | None = None,
        settled: str | None = None,
        in_memory_rows: int = NearLosers.IN_MEMORY_ROWS,
    ):
        self.pool, self.release, self.rules, self.plan, self.rows = pool, release, rules, plan, rows
        self.lists, self.settled = lists, settled
        self.partitions = max(2, -(-3 * rows // _ROWS_A_PARTITION))
        self.in_memory = rows <= in_memory_rows

    def expand(self, units: beam.PCollection[str]) -> beam.PCollection[str]:
        undecided = OpenUnit(self.pool, self.rules, self.plan)
        people = OpenUnit(self.pool, self.rules, self.plan, None if self.settled is None else (self.release, self.settled))
        # What a step needs to know of a unit beside its columns comes as (unit, batch) from every step that found it out.
        follow_ups = units | "Follow-ups" >> beam.Filter(number_of) | "All follow-ups" >> beam.combiners.ToSet()
        left_out_rows = LeftOutRows(self.pool, self.plan, self.lists)
        alone = units | "Left out" >> beam.ParDo(left_out_rows, beam.pvalue.AsSingleton(follow_ups))
        known: tuple[beam.PCollection, ...] = (alone,)
        if repeats.COLUMN.name in self.rules.columns:
            known = (alone, alone | "Repeats" >> _Repeats(undecided, self.partitions))
        judged = known | "Duplicates" >> self._duplicates(people)
        cuts: Any = {}
        if any(rule.top_fraction for rule in self.rules.policy.rules):
            # What people decide moves no cut: without them, other pairs may be the best of their equals.
            by_rules = judged if self.settled is None else known | "Duplicates by rules alone" >> self._duplicates(undecided)
            cuts = beam.pvalue.AsSingleton(by_rules | "Cuts" >> _Cuts(undecided))
        return judged | "Decide" >> beam.ParDo(_Decide(people, self.release), cuts)

    def _duplicates(self, open_unit: OpenUnit) -> "_Duplicates":
        return _Duplicates(open_unit, rows=self.rows, partitions=self.partitions, in_memory=self.in_memory)


class _Duplicates(beam.PTransform):
    """(unit, what is known of it), from several steps, to (unit, all that is known of it), pairs that lose to a better one among it.

    Where all is needed it is flattened anew: Spark's and Flink's job servers of Beam 2.62 refuse a Flatten whose input is one and goes elsewhere
    too ("A PCollectionNode should have exactly one producing PTransformNode").
    """

    def __init__(self, open_unit: OpenUnit, *, rows: int, partitions: int, in_memory: bool):
        self.open_unit, self.rows, self.partitions, self.in_memory = open_unit, rows, partitions, in_memory

    def expand(self, known):
        settings = self.open_unit.rules.policy.duplicates
        known = (*known, known | "Exact" >> ExactLosers(self.open_unit, partitions=self.partitions))
        if settings.near:
            known = (*known, known | "Near" >> NearLosers(self.open_unit, rows=self.rows, in_memory=self.in_memory))
        if settings.semantic:
            known = (*known, known | "Semantic" >> SemanticLosers(self.open_unit))
        return known | "With losers" >> beam.Flatten() | "Losers to units" >> beam.GroupByKey()


class _Repeats(beam.PTransform):
    """(unit, LEFT_OUT) to (unit, REPEATS): the rows whose caption other rows have too. Shuffled: 8 bytes of a caption, unit and row."""

    def __init__(self, open_unit: OpenUnit, partitions: int):
        self.open_unit, self.partitions = open_unit, partitions

    def expand(self, known: beam.PCollection[tuple[str, bytes]]) -> beam.PCollection[tuple[str, bytes]]:
        return (
            known
            | "Captions" >> beam.ParDo(_Captions(self.open_unit, self.partitions))
            | "Group captions" >> beam.GroupByKey()
            | "Count captions" >> beam.FlatMap(_repeats)
        )


class _Captions(OnUnits):
    def __init__(self, open_unit: OpenUnit, partitions: int):
        super().__init__(open_unit)
        self.partitions = partitions

    def start_bundle(self) -> None:
        self.gathered = ByPartition(self.partitions)

    def process(self, element: tuple[str, bytes]) -> Iterable[tuple[int, bytes]]:
        unit, left_out_rows = element
        captions = self.open_unit.read(unit, [left_out_rows], [repeats.NEEDS])[repeats.NEEDS]
        yield from self.gathered.add(repeats.fingerprints_of(unit, captions))

    def finish_bundle(self) -> Iterable[WindowedValue]:
        yield from late(self.gathered.flush())


def _repeats(group: tuple[int, Iterable[bytes]]) -> Iterable[tuple[str, bytes]]:
    return packed(repeats.repeats_of(unpacked(group[1])))


class _Cuts(beam.PTransform):
    """(unit, losers) of all units to one dict: index of a top_fraction rule -> the lowest value that stays."""

    def __init__(self, open_unit: OpenUnit):
        self.open_unit = open_unit

    def expand(self, judged: beam.PCollection) -> beam.PCollection:
        return (
            judged
            | "Count" >> beam.ParDo(_Count(self.open_unit))
            | "Gather counts" >> beam.GroupByKey()
            | "Cut" >> beam.MapTuple(_cut)
            | "All cuts" >> beam.combiners.ToDict()
        )


class _Count(OnUnits):
    def start_bundle(self) -> None:
        self.histograms: dict[int, Histogram] = {}

    def process(self, group: tuple[str, Iterable[bytes]]) -> None:
        unit, known = group
        table, ruled = self.open_unit(unit, known)
        duplicates.apply_losers(ruled, unpacked(known, duplicates.LOSERS))
        for index, rule in enumerate(self.open_unit.rules.policy.rules):
            if rule.top_fraction is not None:
                counted = np.asarray(pc.equal(table["status"], "success")) if rule.of == "pool" else ruled.verdict != DROP
                found = histogram_of(table[rule.column], counted, rule, self.open_unit.plan.types[rule.column])
                self.histograms[index] = found if index not in self.histograms else self.histograms[index] + found

    def finish_bundle(self) -> Iterable[WindowedValue]:
        yield from late(self.histograms.items())


def _cut(index: int, histograms: Iterable[Histogram]) -> tuple[int, float]:
    first, *others = histograms
    return index, cut_of(sum(others, first))


class _Decide(OnUnits):
    def __init__(self, open_unit: OpenUnit, release: Release):
        super().__init__(open_unit)
        self.release = release

    def process(self, group: tuple[str, Iterable[bytes]], cuts: Mapping[int, float]) -> Iterable[str]:
        unit, known = group
        table, ruled = self.open_unit(unit, known, cuts=cuts)
        lost = duplicates.apply_losers(ruled, unpacked(known, duplicates.LOSERS))
        kept_alone(ruled)
        _, retried = left_out(known, table.num_rows)
        decided = decisions_of(table, ruled, lost, retried)
        if self.open_unit.rules.policy.captions.personal_data == "redact":
            decided = without_personal_data(decided, but=DECISIONS.names)
        self.release.put_decisions(unit, decided, cuts=cuts)
        yield unit


def decisions_of(table: pa.Table, ruled: Ruled, lost: pa.Table, retried: np.ndarray) -> pa.Table:
    """DECISIONS of a unit, then every other column of `table` that a rule looked at. retried: rows (booleans) that get no verdict here."""
    n = table.num_rows
    ruled.mask[retried] = 0
    winners = np.full(n, None, object)
    # Later writes win: go backwards, so that a row's first reason (pair, exact, picture) names its winner.
    rows = lost["row"].to_numpy()[::-1]
    winners[rows] = np.asarray(lost["winner"].to_pylist()[::-1], object)
    errors = table["error_message"].dictionary_encode().combine_chunks()
    words = pa.array([error_word(message) for message in errors.dictionary.to_pylist()], pa.string())
    columns = [
        table["row"],
        table["uid"],
        pa.array(VERDICTS).take(pa.array(ruled.verdict, mask=retried)),
        ruled.reason_lists(),
        pa.array(winners, pa.string()),
        words.take(errors.indices),
    ]
    decided = pa.table(columns, schema=DECISIONS)
    for name in table.column_names:
        if name not in decided.column_names and name not in ("status", "error_message"):
            decided = decided.append_column(table.schema.field(name), table[name])
    return decided
