"""How a step of select sees a unit: the columns it asks for, without what is on a list, and what the rules say of them."""

from collections.abc import Iterable, Mapping

import apache_beam as beam
import pyarrow as pa

from pipelines.steps.shuffling import unpacked
from quality import repeats
from quality.block_lists import STORED_COLUMNS, blanked, lists_here
from quality.column_plan import ColumnPlan
from quality.rules import ALWAYS_READ, Ruled, Rules
from schemas.pool import Pool


class OpenUnit:
    """Reads columns of a unit, blanks what is on a list, and applies the rules to the rest. A step opens it in `setup()`.

    known: what shuffles found out about the unit: REPEATS are a column of it.
    """

    def __init__(self, pool: Pool, rules: Rules, plan: ColumnPlan, digest: str | None):
        self.pool, self.rules, self.plan, self.digest = pool, rules, plan, digest
        self.looked_at = tuple(dict.fromkeys((*ALWAYS_READ, *rules.columns)))

    def open(self) -> None:
        self.lists = lists_here(self.digest)

    def read(self, unit: str, names: Iterable[str]) -> pa.Table:
        """Columns of a unit; null, all but `row`, where a pair is on a list."""
        if not self.lists:
            return self.plan.only(names).read(self.pool, unit)
        table = self.plan.only({*names, *STORED_COLUMNS}).read(self.pool, unit)
        return blanked(table, self.lists.stored(table))

    def __call__(
        self, unit: str, known: Iterable[bytes], more: Iterable[str] = (), cuts: Mapping[int, float] | None = None
    ) -> tuple[pa.Table, Ruled]:
        wanted = {*self.looked_at, *more}
        counts = repeats.COLUMN.name in wanted
        table = self.read(unit, {*wanted, repeats.NEEDS} if counts else wanted)
        if counts:
            column = repeats.column_of(table[repeats.NEEDS], unpacked(known, repeats.REPEATS))
            table = table.append_column(repeats.COLUMN, column)
        table = table.select([name for name in table.column_names if name in wanted])
        return table, self.rules.apply(table, cuts)


class OnUnits(beam.DoFn):
    """A step that opens units."""

    def __init__(self, open_unit: OpenUnit):
        self.open_unit = open_unit

    def setup(self) -> None:
        self.open_unit.open()
