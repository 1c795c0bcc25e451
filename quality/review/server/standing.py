"""The answers that stand: what was answered and not taken back, and what a lead settled. They leave as reviews/decisions.parquet."""

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
from sqlalchemy import Connection, func, select

from quality.review.files import read_answers
from quality.review.server.models import accounts, journal, seats, tasks
from schemas.columns import table_of
from schemas.digest import digest_of_table
from schemas.pool import write_parquet
from schemas.reviews import ANSWERS, ANSWERS_PATH
from schemas.store import Store

_OF_TASK: Final = ("uid", "question", "sampling_probability", "queue", "release")
_OF_RECORD: Final = ("task", "answer", "time", "reasons", "note", "seconds", "revealed", "tool")


def standing(connection: Connection) -> pa.Table:
    """ANSWERS, sorted by task and reviewer. Answers about pairs on a block list are left out: nothing may be told about them."""
    columns = [*(journal.c[name] for name in _OF_RECORD), *(tasks.c[name] for name in _OF_TASK), accounts.c.name.label("reviewer")]
    joined = journal.join(accounts, accounts.c.id == journal.c.account)
    answered = select(*columns).select_from(joined.join(seats, seats.c.record == journal.c.id).join(tasks, tasks.c.task == seats.c.task))
    settled = select(*columns).select_from(joined.join(tasks, tasks.c.adjudication == journal.c.id))
    rows = [
        {**row, "adjudicates": adjudicates}
        for adjudicates, query in ((False, answered), (True, settled))
        for row in connection.execute(query.where(~tasks.c.blocked)).mappings()
    ]
    rows.sort(key=lambda row: (row["task"], row["adjudicates"], row["reviewer"]))
    return table_of(rows, ANSWERS)


def export(connection: Connection, store: Store) -> tuple[int, int]:
    """Writes reviews/decisions.parquet; returns (answers of this database, answers kept from the file that stood).

    The file may hold answers that this database knows nothing of: of another tool, or of a database before it. They are kept, unless this
    database has a newer word of the same person on the same task, an undo included. Raises UsageError for a file that cannot be read.
    """
    words = (
        select(journal.c.task, accounts.c.name, func.max(journal.c.time))
        .join(accounts, accounts.c.id == journal.c.account)
        .where(journal.c.act.in_(("answer", "adjudicate", "undo")))
        .group_by(journal.c.task, accounts.c.name)
    )
    known = {(task, name): time for task, name, time in connection.execute(words)}
    gone = set(connection.execute(select(tasks.c.task).where(tasks.c.blocked)).scalars())
    before = read_answers(store).to_pylist() if store.exists(ANSWERS_PATH) else []
    kept = [row for row in before if _ms(row["time"]) > known.get((row["task"], row["reviewer"]), -1) and row["task"] not in gone]
    newer = {(row["task"], row["reviewer"]) for row in kept}
    ours = [row for row in standing(connection).to_pylist() if (row["task"], row["reviewer"]) not in newer]
    table = pa.concat_tables([table_of(ours, ANSWERS), table_of(kept, ANSWERS)]).sort_by(
        [("task", "ascending"), ("adjudicates", "ascending"), ("reviewer", "ascending")]
    )
    with tempfile.TemporaryDirectory(prefix="pigment-") as folder:
        local = Path(folder, "decisions.parquet")
        write_parquet(table, {"content_digest": digest_of_table(table), "rows": table.num_rows}, local)
        store.put(ANSWERS_PATH, local)
    return len(ours), len(kept)


def _ms(time: datetime | None) -> int:
    """Milliseconds since 1970; 0 for an answer that does not say when it was given."""
    return 0 if time is None else round(time.timestamp() * 1000)
