"""What is left of a pair that is on a list: its place in its unit, and that it is blocked."""

from typing import Final

import numpy as np
import pyarrow as pa

LISTED: Final = "list:blocked"  # error_message, and the reason in decisions
_LEFT: Final = {"status": "blocked", "error_message": LISTED}


def blanked(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The table with all columns but `row` null in `rows` (booleans), status and error_message set. Nothing of them is left beneath.

    Arrow lets values stand under nulls, and a dictionary keeps values that no row has any more: both are made anew.
    """
    if not rows.any():
        return table
    kept = pa.array(np.where(rows, 0, np.arange(table.num_rows)), pa.int64(), mask=rows)
    columns = []
    for field in table.schema:
        if field.name == "row":
            columns.append(table[field.name])
        elif field.name in _LEFT:
            values = table[field.name].take(kept).to_pylist()
            columns.append(pa.array([_LEFT[field.name] if row else value for row, value in zip(rows, values, strict=True)], field.type))
        else:
            columns.append(_without_dictionary_leftovers(table[field.name].take(kept)))
    return pa.table(columns, schema=table.schema)


def _without_dictionary_leftovers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(column.to_pylist(), column.type)]) if "dictionary<" in str(column.type) else column
