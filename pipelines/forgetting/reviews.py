"""Reviews without the pairs that were removed: the tables of tasks and answers, and the review's database."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quality.review.files import put_table
from quality.review.server.database import ENVIRONMENT, PATH, open_database, url_of
from quality.review.server.forget import Place, forget_tasks
from schemas.pool import Pool
from schemas.removals import Entries
from schemas.store import Store

_MOVES: Final = ("tar", "offset", "size")


@dataclass(frozen=True)
class Reviewed:
    """rows: how many were taken out of tables, by path. tasks: out of the database; None where the dataset has none."""

    rows: Mapping[str, int]
    tasks: int | None


def clean_reviews(pool: Pool, plan: Mapping[str, Sequence[int]], entries: Entries, *, database: str | None = None) -> Reviewed:
    """After the units are rewritten: what is left of them is told where its images lie now. database: as of quality.review; None: the dataset's.

    Raises UsageError for a database that cannot be opened.
    """
    uids = {uid.hex() for uid in entries.get("uid", ())}
    places = dict(_places(pool, plan))
    rows = {}
    for path, _ in list(pool.store.list("reviews")):
        if path.endswith(".parquet"):
            gone = _clean_table(pool.store, path, uids, plan, places)
            if gone:
                rows[path] = gone
    if not has_database(pool.store, database):
        return Reviewed(rows, None)
    opened = open_database(url_of(pool.store, database))
    try:
        return Reviewed(rows, forget_tasks(opened, uids=uids, rows=plan, places=places))
    finally:
        opened.close()


def has_database(store: Store, given: str | None) -> bool:
    """Whether a database is named, or the dataset has its own."""
    return bool(given or os.environ.get(ENVIRONMENT)) or (store.beside / PATH).exists()


def _places(pool: Pool, units: Mapping[str, Sequence[int]]) -> Iterator[tuple[tuple[str, int], Place]]:
    for unit in units:
        commit = pool.raw_commit(unit)
        if commit is not None and commit.tar is not None:
            for row in pool.read_raw(unit, ["row", "offset", "size"]).to_pylist():
                if row["offset"] is not None:
                    yield (unit, row["row"]), Place(commit.tar, row["offset"], row["size"])


def _clean_table(
    store: Store, path: str, uids: set[str], plan: Mapping[str, Sequence[int]], places: Mapping[tuple[str, int], Place]
) -> int:
    """Puts a table in place of itself without the rows of removed pairs; returns how many those are. A table of other columns is left alone."""
    with store.open(path) as file:
        table = pq.ParquetFile(file).read(use_threads=False)
    if "uid" not in table.column_names:
        return 0
    by_place = {"unit", "row"} <= set(table.column_names)
    pairs = list(zip(table["unit"].to_pylist(), table["row"].to_pylist(), strict=True)) if by_place else [("", -1)] * table.num_rows
    gone = np.array(
        [uid in uids or row in plan.get(unit, ()) for uid, (unit, row) in zip(table["uid"].to_pylist(), pairs, strict=True)], bool
    )
    moved = [places.get(pair) for pair in pairs] if set(_MOVES) <= set(table.column_names) else [None] * table.num_rows
    new = table
    for number, name in enumerate(_MOVES if any(moved) else ()):
        values = [old if place is None else place[number] for old, place in zip(table[name].to_pylist(), moved, strict=True)]
        new = new.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(values, table.schema.field(name).type))
    new = new.filter(pa.array(~gone)) if gone.any() else new
    if not new.equals(table):
        put_table(store, path, new.combine_chunks())
    return int(gone.sum())
