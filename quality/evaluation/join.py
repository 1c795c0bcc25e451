"""Stored columns of labelled pairs."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.column_plan import plan_columns
from quality.command import UsageError
from schemas.follow_ups import retried_rows
from schemas.policy import Policy, Rule
from schemas.pool import Pool


def columns_of(pool: Pool, uids: Iterable[str], column: str, *, scorer: str | None = None) -> pa.Table:
    """(uid, column) of the pairs of these uids that the pool has; of a uid's several rows the first counts, and of a row that was asked for
    again the newest. The column's field keeps its metadata. scorer: "<name>:<model>", where several scorers have given the column. Raises
    UsageError, PolicyError."""
    units = sorted(pool.committed())
    if not units:
        raise UsageError(f"{pool.store.root}: no dataset here, or nothing is fetched yet; check --dataset")
    chosen = Policy("of this command", (Rule(column, "clip:missing", scorer=scorer),))
    plan = plan_columns(pool, units, chosen, ["uid", column])
    wanted = pa.array(sorted(set(uids)), pa.string())
    found = []
    for unit in units:
        table = plan.read(pool, unit).select(["uid", column])
        here = np.ones(table.num_rows, bool)
        here[retried_rows(pool, unit, set(units))] = False
        table = table.filter(pa.array(here))
        found.append(table.filter(pc.is_in(table["uid"], wanted)))
    joined = pa.concat_tables(found).combine_chunks()
    first = dict[str, int]()
    for row, uid in enumerate(joined["uid"].to_pylist()):
        first.setdefault(uid, row)
    kept = joined.take(pa.array(list(first.values()), pa.int64()))
    return kept.cast(pa.schema([kept.schema.field("uid"), plan.types[column].with_name(column)]))
