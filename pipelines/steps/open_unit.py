"""How a step of select sees a unit: the columns it asks for, without what is left out of it, and what rules and people say of them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps.shuffling import unpacked
from quality import repeats
from quality.block_lists import STORED_COLUMNS, blanked, lists_here
from quality.column_plan import ColumnPlan
from quality.review.settle import Settled
from quality.rules import ALWAYS_READ, Ruled, Rules
from schemas.follow_ups import retried_rows
from schemas.pool import Pool
from schemas.release import Release
from schemas.wire import batch_to_bytes

# Rows of a unit that are left out, for they are on a block list or a follow-up of the unit decides them (retried). A row may be there for both.
LEFT_OUT: Final = pa.schema([("left_out", pa.int32()), ("retried", pa.bool_())])


class OpenUnit:
    """Reads columns of a unit, blanks what is on a list, and applies the rules to the rest.

    known: what steps found out about the unit: of its LEFT_OUT rows those on a list are blank, REPEATS are a column of it. Rows that a
    follow-up decides had failed, so that rules drop them as they do every failed row; their captions count in the follow-up alone.
    settled: the release that keeps what people decided, and its digest; None where the rules decide alone.
    """

    def __init__(self, pool: Pool, rules: Rules, plan: ColumnPlan, settled: tuple[Release, str] | None = None):
        self.pool, self.rules, self.plan, self.settled = pool, rules, plan, settled
        self.looked_at = tuple(dict.fromkeys((*ALWAYS_READ, *rules.columns)))
        self.judged_by = tuple(dict.fromkeys((*self.looked_at, *rules.always_read)))
        self.judge: Rules | Settled = rules

    def setup(self) -> None:
        """Reads what people decided: in every process for itself. Raises ReleaseError."""
        if self.settled is not None:
            release, digest = self.settled
            table = release.read_settled(digest)
            assert table is not None
            self.judge = Settled(self.rules, table)

    def read(self, unit: str, known: Iterable[bytes], names: Iterable[str]) -> pa.Table:
        """Columns of a unit; null, all but `row`, where a pair is on a list; a null caption where a follow-up decides."""
        table = self.plan.only(names).read(self.pool, unit)
        blocked, retried = left_out(known, table.num_rows)
        if repeats.NEEDS in table.column_names and retried.any():
            captions = pc.if_else(pa.array(retried), pa.scalar(None, pa.string()), table[repeats.NEEDS])
            table = table.set_column(table.column_names.index(repeats.NEEDS), table.schema.field(repeats.NEEDS), captions)
        return blanked(table, blocked)

    def __call__(
        self, unit: str, known: Iterable[bytes], more: Iterable[str] = (), cuts: Mapping[int, float] | None = None
    ) -> tuple[pa.Table, Ruled]:
        wanted = {*self.judged_by, *more}
        counts = repeats.COLUMN.name in wanted
        table = self.read(unit, known, {*wanted, repeats.NEEDS} if counts else wanted)
        if counts:
            column = repeats.column_of(table[repeats.NEEDS], unpacked(known, repeats.REPEATS))
            table = table.append_column(repeats.COLUMN, column)
        table = table.select([name for name in table.column_names if name in wanted])
        ruled = self.judge.apply(table, cuts)
        return table.select([name for name in table.column_names if name in {*self.looked_at, *more}]), ruled


class OnUnits(beam.DoFn):
    """A step that opens units."""

    def __init__(self, open_unit: OpenUnit):
        self.open_unit = open_unit

    def setup(self) -> None:
        self.open_unit.setup()


def left_out(known: Iterable[bytes], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of a unit's n rows are on a block list, and which a follow-up decides: booleans."""
    both = np.zeros(n, bool), np.zeros(n, bool)
    for batch in unpacked(known, LEFT_OUT):
        rows, retried = batch["left_out"].to_numpy(), np.asarray(batch["retried"])
        for which, here in zip(both, (~retried, retried), strict=True):
            which[rows[here]] = True
    return both


class LeftOutRows(beam.DoFn):
    """Names of units to (unit, LEFT_OUT), one batch each. Before all else, and once: a url takes 26 us (measured), in many spellings.

    digest: of the launcher's block lists, or None. Raises BlockListError where this worker's are others. follow_ups: those among the units.
    """

    def __init__(self, pool: Pool, plan: ColumnPlan, digest: str | None):
        self.pool, self.plan, self.digest = pool, plan, digest

    def setup(self) -> None:
        self.lists = lists_here(self.digest, self.pool.store)

    def process(self, unit: str, follow_ups: Collection[str]) -> Iterable[tuple[str, bytes]]:
        blocked = np.empty(0, np.int64)
        if self.lists:
            blocked = np.flatnonzero(self.lists.stored(self.plan.only(STORED_COLUMNS).read(self.pool, unit)))
        retried = retried_rows(self.pool, unit, follow_ups)
        rows, why = np.concatenate([blocked, retried]), np.arange(len(blocked) + len(retried)) >= len(blocked)
        yield unit, batch_to_bytes(pa.record_batch([pa.array(rows, pa.int32()), pa.array(why)], schema=LEFT_OUT))
