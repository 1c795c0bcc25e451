"""A sheet: our tasks as CSV with empty columns for the answer, and the same file filled in as our answers. Images lie beside it.

What would sway a person stays here: the verdict, what was measured and its bound, known answers.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any, Final

import pyarrow as pa

from quality.command import UsageError
from quality.review.elsewhere import Answers, ask, time_of

_TOLD: Final = ("task", "question", "ask", "caption", "license", "creator", "title", "image", "sharp")
_FILLED: Final = ("answer", "reasons", "note", "reviewer")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would carry out (OWASP, CSV injection)


def sheet_out(rows: Iterable[tuple[Mapping[str, Any], str, str]]) -> str:
    """CSV of (task, path of its image, path of the sharp one). A text that a spreadsheet would take for a formula begins with '."""
    out = io.StringIO()
    writer = csv.DictWriter(out, (*_TOLD, *_FILLED), lineterminator="\n")
    writer.writeheader()
    for task, image, sharp in rows:
        told = {**task, "ask": ask(task["question"]), "image": image, "sharp": sharp}
        writer.writerow({name: _text(told[name]) for name in _TOLD})
    return out.getvalue()


def answers_in(text: str, where: str, tasks: pa.Table, *, reviewer: str | None) -> pa.Table:
    """ANSWERS of the rows whose answer is filled in. reviewer: who gave them, where the row does not say. reasons are parted by spaces; a column
    `time` in ISO 8601 is read where there is one."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in ("task", "answer") if name not in (reader.fieldnames or ())]
    if missing:
        raise UsageError(f"{where}: no column {missing[0]!r}; columns are {', '.join(reader.fieldnames or ()) or 'none'}")
    found = Answers(where, tasks, "CSV")
    try:
        for row, given in enumerate(reader, 1):
            answer = (given["answer"] or "").strip().casefold()
            if answer:
                _add(found, row, given, answer, reviewer)
    except csv.Error as error:
        raise UsageError(f"{where}: line {reader.line_num}: {error}") from error
    return found.table()


def _add(found: Answers, row: int, given: Mapping[str, Any], answer: str, reviewer: str | None) -> None:
    try:
        time = time_of((given.get("time") or "").strip())
    except ValueError as error:
        raise found.error(row, f"time {given['time']!r} is not in ISO 8601") from error
    who = (given.get("reviewer") or "").strip() or reviewer or ""
    reasons = (given.get("reasons") or "").replace(",", " ").split()
    found.add(row, given["task"], answer, reviewer=who, reasons=reasons, time=time, note=(given.get("note") or "").strip() or None)


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
