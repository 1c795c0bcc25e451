"""What the review says about one reason, pair by pair, and how many pairs of the release each answer speaks for.

The population is every pair that the policy keeps, or does not keep for this reason; so a bound can be judged on both sides. Its labels:
    the question itself was settled    as it was settled
    else keep was settled with yes     no: the reason does not hold
    else keep was settled with no      yes, if at least half of those who said no name the reason; else the pair is left out

Weights. A pair's probability of being asked is the largest of its tasks' (quality.review.sampling). Tasks without an outcome are taken to be
like the others of the same queue and probability: a label stands for 1 / probability pairs, times tasks over labels in its cell. Gold items
were not drawn by chance and are left out.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.review.settle import settle
from schemas.reviews import KEEP


@dataclass(frozen=True)
class ReasonLabels:
    """truth: by uid, whether the reason holds. weights: by uid, pairs that it stands for. direct, implied: labels from the question and from
    keep. asked: pairs with a task. other: pairs that should not be in the set for other reasons, left out. unheard: by queue, pairs of cells in
    which there is no label at all: nothing stands for them."""

    truth: Mapping[str, bool]
    weights: Mapping[str, float]
    direct: int
    implied: int
    asked: int
    other: int
    unheard: Mapping[str, int]


def labels_of(answers: pa.Table, tasks: pa.Table | None, question: str) -> ReasonLabels:
    """Labels from ANSWERS, and TASKS where they are at hand; without them every task is taken to be answered."""
    answers = answers.filter(_about(answers, question))
    direct, keep = dict[str, bool](), dict[str, bool]()
    for row in settle(answers).settled.to_pylist():
        (keep if row["question"] == KEEP else direct)[row["uid"]] = row["answer"] == "yes"
    named = _named(answers, question)
    other = {uid for uid, wanted in keep.items() if not wanted and uid not in direct and not named.get(uid)}
    implied = {uid: not wanted for uid, wanted in keep.items() if uid not in direct and uid not in other}
    truth = {**implied, **direct}
    cells = _cells(answers if tasks is None else tasks.filter(_about(tasks, question)), answers)
    asked, answered = Counter(cells.values()), Counter(cells[uid] for uid in truth)
    weights = {uid: asked[cells[uid]] / answered[cells[uid]] / cells[uid][1] for uid in truth}
    unheard = Counter(cell[0] for cell in cells.values() if not answered[cell])
    return ReasonLabels(truth, weights, len(direct), len(implied), len(cells), len(other), dict(sorted(unheard.items())))


def _about(table: pa.Table, question: str) -> pa.ChunkedArray:
    asked = pc.is_in(table["question"], pa.array([question, KEEP]))
    return pc.and_(asked, pc.fill_null(pc.not_equal(table["queue"], "gold"), True))


def _named(answers: pa.Table, question: str) -> dict[str, bool]:
    """By uid: whether at least half of the answers that count against keeping the pair name the reason."""
    rows = [row for row in answers.select(["uid", "question", "answer", "reasons", "adjudicates"]).to_pylist() if row["question"] == KEEP]
    by_lead = {row["uid"] for row in rows if row["adjudicates"]}
    votes = dict[str, list[bool]]()
    for row in rows:
        if row["answer"] == "no" and row["adjudicates"] == (row["uid"] in by_lead):
            votes.setdefault(row["uid"], []).append(question in (row["reasons"] or ()))
    return {uid: 2 * sum(names) >= len(names) for uid, names in votes.items()}


def _cells(tasks: pa.Table, answers: pa.Table) -> dict[str, tuple[str, float]]:
    """(queue, probability) of each pair, of its task with the largest probability; an answer whose task is not there speaks for itself."""
    found = dict[str, tuple[str, float]]()
    names = ("uid", "queue", "sampling_probability")
    for uid, queue, probability in chain(*(zip(*(table[name].to_pylist() for name in names), strict=True) for table in (tasks, answers))):
        cell = (queue or "", probability or 1.0)
        if uid not in found or cell[1] > found[uid][1]:
            found[uid] = cell
    return found


def arrays_of(labels: ReasonLabels, values: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, truth, weights) of the labelled pairs that have a value."""
    uids = sorted(set(labels.truth) & set(values))
    return (
        np.array([values[uid] for uid in uids], np.float64),
        np.array([labels.truth[uid] for uid in uids], bool),
        np.array([labels.weights[uid] for uid in uids], np.float64),
    )
