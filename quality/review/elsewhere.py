"""Answers that were given with another tool, read row by row: what every adapter checks, and how a question is put in words."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import pyarrow as pa

from quality.command import UsageError
from schemas.columns import table_of
from schemas.reasons import REASONS, is_fact, reason_text
from schemas.reviews import ANSWER_WORDS, ANSWERS, KEEP

# What a person can say against a pair that is kept.
AGAINST: Final = tuple(
    reason
    for family, words in REASONS.items()
    for word in words
    if not is_fact(reason := f"{family}:{word}") and family not in ("review", "id") and word != "missing"
)


def ask(question: str) -> str:
    """The question as a sentence."""
    return "Should this pair be in the set?" if question == KEEP else f"Does this hold: {reason_text(question)}?"


class Answers:
    """Collects ANSWERS to known tasks. Raises UsageError, naming file and row, for a task or a word that is not known."""

    def __init__(self, where: str, tasks: pa.Table, tool: str):
        self.where, self.tool = where, f"{tool}, by pigment {version('pigment')}"
        names = ("task", "uid", "question", "queue", "release", "sampling_probability")
        self._tasks: Mapping[str, dict[str, Any]] = {row["task"]: row for row in tasks.select(names).to_pylist()}
        self._rows = dict[tuple, dict[str, Any]]()

    def add(
        self, row: int, task: Any, answer: Any, *, reviewer: str, reasons: Sequence[str] = (), adjudicates: bool = False, **more: Any
    ) -> None:
        """Adds an answer; of two of one person to one task the one given later counts. more: other fields of ANSWERS."""
        known = self._tasks.get(task) if isinstance(task, str) else None
        if known is None:
            raise self.error(row, f"unknown task {task!r}; give the file that was made from this dataset's tasks")
        if answer not in ANSWER_WORDS:
            raise self.error(row, f"answer {answer!r} is not yes, no or unsure")
        if wrong := next((reason for reason in reasons if reason not in AGAINST), None):
            raise self.error(row, f"reason {wrong!r} is not one of {', '.join(AGAINST)}")
        if not reviewer:
            raise self.error(row, "nobody is named who gave the answer")
        against = list(reasons) if known["question"] == KEEP and answer == "no" else []
        given = {**known, "answer": answer, "reviewer": reviewer, "reasons": against, "adjudicates": adjudicates, "tool": self.tool, **more}
        key = (task, reviewer, adjudicates)
        before = self._rows.get(key)
        if before is None or _time(given) >= _time(before):
            self._rows[key] = given

    def error(self, row: int, what: str) -> UsageError:
        return UsageError(f"{self.where}: row {row}: {what}")

    def table(self) -> pa.Table:
        """ANSWERS, sorted by task, reviewer and adjudicates."""
        return table_of([self._rows[key] for key in sorted(self._rows)], ANSWERS)


def time_of(text: Any) -> datetime | None:
    """A time in ISO 8601; UTC where it names no zone. None for none. Raises ValueError."""
    if text in (None, ""):
        return None
    time = datetime.fromisoformat(str(text))
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _time(row: Mapping[str, Any]) -> datetime:
    return row.get("time") or datetime.min.replace(tzinfo=UTC)
