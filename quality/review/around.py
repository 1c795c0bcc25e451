"""A sample to calibrate one rule: pairs on both sides of its bounds, more of those that are near.

Strata: on each side of each bound, by rank of the distance to the nearest bound, the nearest tenth, the next fifth, the rest. Each stratum gets
an equal part of the wanted pairs; a pair's probability is that part over the stratum's size, at most 1.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from quality.command import UsageError
from quality.review.sampling import QUEUE_OF, Asked, draw, groups
from schemas.policy import Policy, Rule
from schemas.reasons import REJECTED
from schemas.release import Release

_EDGES: Final = (0.1, 0.3)  # shares of a side that end the first and the second stratum


def rules_of(policy: Policy, column: str, question: str | None) -> tuple[str, list[Rule]]:
    """(the question, its rules with bounds on the column). Raises UsageError where there are none, or several questions."""
    bounded = [rule for rule in policy.rules if rule.column == column and (rule.min, rule.max, rule.top_fraction) != (None, None, None)]
    reasons = list(dict.fromkeys(rule.reason for rule in bounded))
    if question is not None and question not in reasons:
        raise UsageError(f"policy {policy.name} has no bound on {column} that gives {question!r}; it gives {', '.join(reasons) or 'none'}")
    if not bounded:
        columns = dict.fromkeys(rule.column for rule in policy.rules if (rule.min, rule.max, rule.top_fraction) != (None, None, None))
        raise UsageError(f"policy {policy.name} has no min, max or top_fraction on {column!r}; it has them on {', '.join(columns)}")
    if question is None and len(reasons) > 1:
        raise UsageError(f"policy {policy.name} gives {' and '.join(reasons)} by {column}: choose one with --question")
    question = question or reasons[0]
    if question not in policy.overrulable:
        raise UsageError(f"policy {policy.name} lets nobody overrule {question}: people are not asked about it")
    return question, [rule for rule in bounded if rule.reason == question]


def sample_around(release: Release, policy: Policy, column: str, *, question: str | None, pairs: int) -> list[Asked]:
    """About `pairs` questions about pairs that the policy keeps, or does not keep for this reason and none that stands whatever people say."""
    question, rules = rules_of(policy, column, question)
    decided = release.decided()
    bounds = sorted({bound for rule in rules for bound in _bounds(rule, policy, decided[0].cuts if decided else {})})
    found = dict[str, tuple[str, int, str, float]]()
    for footer in decided:
        table = release.read_decisions(footer.unit, ["row", "uid", "verdict", "reasons", column])
        values = np.asarray(table[column].cast(pa.float64()))
        for verdict, reasons, rows in groups(table):
            if verdict == "keep" or (question in reasons and REJECTED not in reasons and set(reasons) <= policy.overrulable):
                rows = rows[~np.isnan(values[rows])]
                picked = table.select(["uid", "row"]).take(pa.array(rows))
                for uid, row, value in zip(picked["uid"].to_pylist(), picked["row"].to_pylist(), values[rows].tolist(), strict=True):
                    found.setdefault(uid, (footer.unit, row, verdict, value))
    chance = dict(zip(found, probabilities(np.array([each[3] for each in found.values()]), bounds, pairs), strict=True))
    return [
        Asked(uid, question, QUEUE_OF[verdict], unit, row, float(chance[uid]))
        for uid, (unit, row, verdict, _) in found.items()
        if draw(uid) < chance[uid]
    ]


def probabilities(values: np.ndarray, bounds: Sequence[float], pairs: int) -> np.ndarray:
    """The probability of each value to be sampled."""
    side = np.searchsorted(np.asarray(bounds), values, side="right")
    distance = np.abs(values[:, None] - np.asarray(bounds)).min(axis=1) if len(values) else np.empty(0)
    stratum = np.zeros(len(values), np.int64)
    for each in np.unique(side):
        here = np.flatnonzero(side == each)
        order = here[np.argsort(distance[here], kind="stable")]
        ranks = (np.arange(len(order)) + 0.5) / len(order)
        stratum[order] = each * (len(_EDGES) + 1) + np.searchsorted(_EDGES, ranks)
    _, of, sizes = np.unique(stratum, return_inverse=True, return_counts=True)
    return np.minimum(1.0, pairs / max(1, len(sizes)) / sizes)[of]


def _bounds(rule: Rule, policy: Policy, cuts: Mapping[str, float]) -> list[float]:
    cut = cuts.get(str(policy.rules.index(rule)))
    return [bound for bound in (rule.min, rule.max, cut) if bound is not None]
