"""How a step of select sees a unit: the columns it asks for, without what is on a list, and what rules and people say of them."""

from collections.abc import Iterable, Mapping
from typing import Final

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipelines.steps.shuffling import unpacked
from quality import repeats
from quality.block_lists import STORED_COLUMNS, blanked, lists_here
from quality.column_plan import ColumnPlan
from quality.review.settle import Settled
from quality.rules import ALWAYS_READ, Ruled, Rules
from schemas.pool import Pool
from schemas.release import Release
from schemas.wire import batch_to_bytes

BLOCKED: Final = pa.schema([("blocked", pa.int32())])  # rows of a unit that are on a block list


class OpenUnit:
    """Reads columns of a unit, blanks what is on a list, and applies the rules to the rest.

    known: what steps found out about the unit: BLOCKED rows are blank, REPEATS are a column of it.
    settled: the release that keeps what people decided, and its digest; None where the rules decide alone.
    """

    def __init__(self, pool: Pool, rules: Rules, plan: ColumnPlan, settled: tuple[Release, str] | None = None):
        self.pool, self.rules, self.plan, self.settled = pool, rules, plan, settled
        self.looked_at = tuple(dict.fromkeys((*ALWAYS_READ, *rules.columns)))
        self.judge: Rules | Settled = rules

    def setup(self) -> None:
        """Reads what people decided: in every process for itself. Raises ReleaseError."""
        if self.settled is not None:
            release, digest = self.settled
            table = release.read_settled(digest)
            assert table is not None
            self.judge = Settled(self.rules, table)

    def read(self, unit: str, known: Iterable[bytes], names: Iterable[str]) -> pa.Table:
        """Columns of a unit; null, all but `row`, where a pair is on a list."""
        table = self.plan.only(names).read(self.pool, unit)
        blocked = np.zeros(table.num_rows, bool)
        for batch in unpacked(known, BLOCKED):
            blocked[batch["blocked"].to_numpy()] = True
        return blanked(table, blocked)

    def __call__(
        self, unit: str, known: Iterable[bytes], more: Iterable[str] = (), cuts: Mapping[int, float] | None = None
    ) -> tuple[pa.Table, Ruled]:
        wanted = {*self.looked_at, *more}
        counts = repeats.COLUMN.name in wanted
        table = self.read(unit, known, {*wanted, repeats.NEEDS} if counts else wanted)
        if counts:
            column = repeats.column_of(table[repeats.NEEDS], unpacked(known, repeats.REPEATS))
            table = table.append_column(repeats.COLUMN, column)
        table = table.select([name for name in table.column_names if name in wanted])
        return table, self.judge.apply(table, cuts)


class OnUnits(beam.DoFn):
    """A step that opens units."""

    def __init__(self, open_unit: OpenUnit):
        self.open_unit = open_unit

    def setup(self) -> None:
        self.open_unit.setup()


class BlockedRows(beam.DoFn):
    """Names of units to (unit, BLOCKED), one batch each. Before all else, and once: a url takes 26 us (measured), in many spellings.

    digest: of the launcher's block lists, or None. Raises BlockListError where this worker's are others.
    """

    def __init__(self, pool: Pool, plan: ColumnPlan, digest: str | None):
        self.pool, self.plan, self.digest = pool, plan, digest

    def setup(self) -> None:
        self.lists = lists_here(self.digest)

    def process(self, unit: str) -> Iterable[tuple[str, bytes]]:
        rows = np.empty(0, np.int64)
        if self.lists:
            rows = np.flatnonzero(self.lists.stored(self.plan.only(STORED_COLUMNS).read(self.pool, unit)))
        yield unit, batch_to_bytes(pa.record_batch([pa.array(rows, pa.int32())], schema=BLOCKED))
