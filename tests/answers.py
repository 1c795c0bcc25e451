"""Answers of people, for tests: (uid, question, answer[, reviewer[, adjudicates]])."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from schemas.columns import table_of
from schemas.reviews import ANSWERS, task_of


def answers(*given: Sequence[Any]) -> pa.Table:
    """ANSWERS; a reviewer who is not named is another one for every row."""
    rows = []
    for number, (uid, question, answer, *more) in enumerate(given):
        reviewer, adjudicates = more[0] if more else f"person {number}", len(more) > 1 and more[1]
        row = {"task": task_of(uid, question), "uid": uid, "question": question, "answer": answer, "reviewer": reviewer}
        rows.append({**row, "adjudicates": adjudicates, "queue": "review", "sampling_probability": 1.0})
    return table_of(rows, ANSWERS)
