"""The tables of a review as files: read with every row checked, written whole. Any tool may have written them: our footer is not asked for."""

import tempfile
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quality.command import UsageError
from schemas.pool import write_parquet
from schemas.reasons import REASONS
from schemas.reviews import ANSWER_WORDS, ANSWERS, ANSWERS_PATH, KEEP, QUEUES, TASKS, TASKS_PATH, task_of
from schemas.store import Store, is_url, open_at

QUESTIONS: Final = (KEEP, *(f"{family}:{word}" for family, words in REASONS.items() for word in words))
_NEEDED: Final = {"uid", "question", "answer"}  # of ANSWERS; what else a tool does not write is null


def find_answers(store: Store, given: str | None) -> tuple[Store, str] | None:
    """Where a dataset's answers are: the file that was named, else reviews/decisions.parquet; None for "none", or where there is none."""
    if given is not None:
        return None if given == "none" else open_at(given if is_url(given) else str(Path(given).absolute()))
    return (store, ANSWERS_PATH) if store.exists(ANSWERS_PATH) else None


def read_answers(store: Store, path: str = ANSWERS_PATH) -> pa.Table:
    """ANSWERS. Raises UsageError, naming file and row, for a word that is none or a second answer of one person to one task."""
    where = store.path_of(path)
    table = _read(store, path, ANSWERS, _NEEDED)
    for name in ("uid", "question", "answer"):
        _check(where, table[name], pc.is_valid(table[name]), f"has no {name}")
    _check(where, table["question"], pc.is_in(table["question"], pa.array(QUESTIONS)), "is no question: a reason of pigment, or keep")
    _check(where, table["answer"], pc.is_in(table["answer"], pa.array(ANSWER_WORDS)), "is no answer: yes, no or unsure")
    _check(where, table["queue"], pc.or_(pc.is_null(table["queue"]), pc.is_in(table["queue"], pa.array(tuple(QUEUES)))), "is no queue")
    named = zip(*(table[name].to_pylist() for name in ("task", "uid", "question")), strict=True)
    table = _with(table, "task", pa.array([task or task_of(uid, question) for task, uid, question in named], pa.string()))
    table = _with(table, "adjudicates", pc.fill_null(table["adjudicates"], False))
    first = dict[tuple, int]()
    for row, key in enumerate(_keys(table), 1):
        if key[1] is not None and first.setdefault(key, row) != row:
            raise UsageError(f"{where}: row {row}: {key[1]} answered task {key[0]} in row {first[key]} already")
    return table


def read_tasks(store: Store, path: str = TASKS_PATH) -> pa.Table:
    """TASKS. Raises UsageError where there are none."""
    return _read(store, path, TASKS, {"task", "uid", "question"})


def put_table(store: Store, path: str, table: pa.Table) -> None:
    """Puts TASKS or ANSWERS in place of what was there."""
    with tempfile.TemporaryDirectory(prefix="pigment-") as folder:
        local = Path(folder, "table.parquet")
        write_parquet(table, {}, local)
        store.put(path, local)


def merged(standing: pa.Table, new: pa.Table) -> pa.Table:
    """ANSWERS of both; where a person answered a task in both, the new one. Sorted by task, reviewer and adjudicates: whatever was first."""
    keys = [_keys(table) for table in (standing, new)]
    again = set(keys[1])
    both = pa.concat_tables([standing.filter(pa.array([key not in again for key in keys[0]], pa.bool_())), new])
    return both.sort_by([(name, "ascending") for name in ("task", "reviewer", "adjudicates")]).combine_chunks()


def _keys(table: pa.Table) -> list[tuple]:
    """What there is one standing answer of: (task, reviewer, whether it adjudicates)."""
    return list(zip(*(table[name].to_pylist() for name in ("task", "reviewer", "adjudicates")), strict=True))


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), values)


def _read(store: Store, path: str, schema: pa.Schema, needed: set[str]) -> pa.Table:
    where = store.path_of(path)
    try:
        with store.open(path) as file:
            table = pq.ParquetFile(file).read(use_threads=False)
    except FileNotFoundError as error:
        how = "make it with python -m quality.review tasks" if schema is TASKS else "give the Parquet file that a review wrote"
        raise UsageError(f"{where} is not there; {how}") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{where}: no Parquet file ({error}); give the one that a review wrote") from error
    missing = sorted(needed - set(table.column_names))
    if missing:
        raise UsageError(f"{where}: no column {missing[0]!r}; columns are {', '.join(table.column_names)}")
    columns = []
    for field in schema:
        try:
            there = field.name in table.column_names
            columns.append(table[field.name].cast(field.type) if there else pa.nulls(table.num_rows, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UsageError(f"{where}: column {field.name!r} must hold {field.type}: {error}") from error
    return pa.table(columns, schema=schema).combine_chunks()


def _check(where: str, column: pa.ChunkedArray, good: pa.ChunkedArray, what: str) -> None:
    """Raises UsageError for the first row that is not good."""
    place = pc.index(good, False).as_py()
    if place >= 0:
        value = column[place].as_py()
        raise UsageError(f"{where}: row {place + 1}: {'' if value is None else f'{value!r} '}{what}")
