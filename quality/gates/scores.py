"""Stored scores, read a unit at a time: are they numbers, in the range that their scorer declared, one for every picture?"""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from quality.gates.drift import edges_of, histogram
from quality.gates.indexes import FEW, missing_columns
from schemas.columns import range_of
from schemas.pool import Pool

UNIT_SCORE_COLUMNS: Final = ("unit", "pass", "unreadable", "missing_columns", "other_rows", "not_finite", "out_of_range", "column")
SCORE_COLUMNS: Final = ("column", "pass", "values", "nulls", "lowest", "highest", "one_value")
_ROUNDED: Final = 1e-4  # to which scores are rounded, DESIGN 6


@dataclass(frozen=True)
class Scores:
    """units: UNIT_SCORE_COLUMNS, one row per unit and pass. columns: SCORE_COLUMNS, one row per column of numbers and pass.

    new, old: histograms by (column, pass) over units that the parent does not have, and that it has.
    """

    units: pd.DataFrame
    columns: pd.DataFrame
    new: dict[tuple[str, str], np.ndarray]
    old: dict[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class _Column:
    values: int
    nulls: int
    not_finite: int
    out_of_range: int
    lowest: float
    highest: float
    histogram: np.ndarray


def score_metrics(pool: Pool, units: Sequence[str], passes: Sequence[str], *, old: Collection[str] = ()) -> Scores:
    """Reads the columns of numbers (no embeddings) of `passes` over `units`, a unit at a time. old: units that the parent has.

    not_finite, out_of_range: values that are NaN or infinite, or outside the declared range by more than scores are rounded; `column` is
    the worst of the unit's. other_rows: 1 where the scores have another number of rows than the unit. missing_columns: against the pass's
    first unit. lowest, highest: of finite values. one_value: 1 where at least FEW values are all equal, else 0; null for fewer.
    """
    rows, tables = list[dict[str, Any]](), list[dict[str, Any]]()
    new, old_counts = dict[tuple[str, str], np.ndarray](), dict[tuple[str, str], np.ndarray]()
    for pass_name in passes:
        wanted = _first_schema(pool, pass_name, units)
        edges = {field.name: edges_of(field) for field in wanted if _numeric(field.type)}
        found: dict[str, list[_Column]] = {name: [] for name in edges}
        with ThreadPoolExecutor(2) as readers:
            for unit, (row, columns) in zip(
                units, readers.map(lambda unit, of=(pass_name, wanted, edges): _read_unit(pool, unit, *of), units), strict=True
            ):
                rows.append({"unit": unit, "pass": pass_name, **row})
                counts = old_counts if unit in old else new
                for name, column in columns.items():
                    found[name].append(column)
                    counts[name, pass_name] = counts.get((name, pass_name), np.int64(0)) + column.histogram
        tables += [{"column": name, "pass": pass_name, **_over_units(columns)} for name, columns in found.items()]
    return Scores(pd.DataFrame(rows, columns=UNIT_SCORE_COLUMNS), pd.DataFrame(tables, columns=SCORE_COLUMNS), new, old_counts)


def _first_schema(pool: Pool, pass_name: str, units: Sequence[str]) -> pa.Schema:
    """The columns of the first unit whose scores can be read."""
    for unit in units:
        try:
            return pool.score_schema(pass_name, unit)
        except (pa.ArrowException, OSError):
            continue
    return pa.schema([])


def _numeric(type_: pa.DataType) -> bool:
    return pa.types.is_floating(type_) or pa.types.is_integer(type_)


def _read_unit(
    pool: Pool, unit: str, pass_name: str, wanted: pa.Schema, edges: dict[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, _Column]]:
    try:
        schema = pool.score_schema(pass_name, unit)
        names = [name for name in edges if name in schema.names and _numeric(schema.field(name).type)]
        table = pool.read_scores(pass_name, unit, names)
        commit = pool.raw_commit(unit)
    except (pa.ArrowException, OSError):
        return {"unreadable": 1}, {}
    columns = {name: _column(table[name], schema.field(name), edges[name]) for name in names}
    worst = max(columns, key=lambda name: columns[name].not_finite + columns[name].out_of_range, default=None)
    bad = worst is not None and columns[worst].not_finite + columns[worst].out_of_range > 0
    return {
        "unreadable": 0,
        "missing_columns": missing_columns(schema, wanted),
        "other_rows": int(names != [] and (commit is None or commit.rows != table.num_rows)),
        "not_finite": sum(column.not_finite for column in columns.values()),
        "out_of_range": sum(column.out_of_range for column in columns.values()),
        "column": worst if bad else None,
    }, columns


def _column(column: pa.ChunkedArray, field: pa.Field, edges: np.ndarray) -> _Column:
    values = column.drop_null().to_numpy()
    finite = np.isfinite(values)
    not_finite = len(values) - int(np.count_nonzero(finite))
    if not_finite:
        values = values[finite]
    low, high = range_of(field)
    outside = np.zeros(len(values), bool)
    if low is not None:
        outside |= values < low - _ROUNDED
    if high is not None:
        outside |= values > high + _ROUNDED
    ends = (float(values.min()), float(values.max())) if len(values) else (float("inf"), float("-inf"))
    return _Column(len(values), column.null_count, not_finite, int(np.count_nonzero(outside)), *ends, histogram(values, edges))


def _over_units(columns: Sequence[_Column]) -> dict[str, Any]:
    values = sum(column.values for column in columns)
    lowest, highest = min((column.lowest for column in columns), default=None), max((column.highest for column in columns), default=None)
    return {
        "values": values,
        "nulls": sum(column.nulls for column in columns),
        "lowest": lowest if values else None,
        "highest": highest if values else None,
        "one_value": int(lowest == highest) if values >= FEW else None,
    }
