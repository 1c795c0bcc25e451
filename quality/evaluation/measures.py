"""Measures of a number against yes and no: ranking (ROC, precision and recall) and calibration. Weighted; ties are handled, not broken."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from quality.evaluation.intervals import bootstrap, share

BINS: Final = 10


class Ranked:
    """Scores in falling order, those that are equal as one. truth: booleans, score: numbers, both of one length."""

    def __init__(self, truth: np.ndarray, score: np.ndarray):
        self.levels, self._level = np.unique(-np.asarray(score, np.float64), return_inverse=True)
        self.levels = -self.levels
        self._truth = np.asarray(truth, bool)

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight of yes and of no with a score of at least each level."""
        n = len(self.levels)
        yes = np.bincount(self._level, weights * self._truth, n)
        no = np.bincount(self._level, weights * ~self._truth, n)
        return np.cumsum(yes), np.cumsum(no)

    def roc_auc(self, weights: np.ndarray) -> float | None:
        """Chance that a yes has a higher score than a no, ties half; None without both."""
        yes, no = self.counts(weights)
        if not len(yes) or not yes[-1] or not no[-1]:
            return None
        return float(np.trapezoid(np.concatenate([[0], yes]), np.concatenate([[0], no])) / (yes[-1] * no[-1]))

    def average_precision(self, weights: np.ndarray) -> float | None:
        """Mean precision over recall, by steps; None without a yes."""
        yes, no = self.counts(weights)
        if not len(yes) or not yes[-1]:
            return None
        there = yes + no > 0
        precision = np.where(there, yes / np.where(there, yes + no, 1), 0)
        return float((np.diff(yes, prepend=0) * precision).sum() / yes[-1])

    def curves(self, weights: np.ndarray) -> dict[str, list[float]]:
        """Points at each level: threshold, true and false positive rate, precision. Both kinds must be there."""
        yes, no = self.counts(weights)
        return {
            "threshold": self.levels.tolist(),
            "true_positive_rate": (yes / yes[-1]).tolist(),
            "false_positive_rate": (no / no[-1]).tolist(),
            "precision": (yes / (yes + no)).tolist(),
        }


def ranking(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """ROC AUC and average precision, with bootstrap intervals."""
    ranked = Ranked(truth, score)
    measures: dict[str, Callable[[np.ndarray], float | None]] = {"roc_auc": ranked.roc_auc, "average_precision": ranked.average_precision}
    return {name: bootstrap(measure, weights) for name, measure in measures.items()}


def at_threshold(truth: np.ndarray, called: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """Precision and recall of what is called yes, with Wilson intervals, and how many of each kind. truth, called: booleans."""
    return {
        "precision": share(truth[called], weights[called]),
        "recall": share(called[truth], weights[truth]),
        "false_positive_rate": share(called[~truth], weights[~truth]),
        "counts": {
            f"{'yes' if real else 'no'}_called_{'yes' if said else 'no'}": int(((truth == real) & (called == said)).sum())
            for real in (True, False)
            for said in (True, False)
        },
    }


def calibration(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """For a score that claims to be a probability: Brier's score with its interval, and in BINS equal bins (the upper edge belongs to the
    last alone) the mean score beside the share of yes."""
    errors = (score - truth) ** 2

    def brier(drawn: np.ndarray) -> float | None:
        return float((errors * drawn).sum() / drawn.sum()) if drawn.sum() else None

    bins = np.minimum((score * BINS).astype(int), BINS - 1)
    rows = [
        {
            "from": number / BINS,
            "to": (number + 1) / BINS,
            "mean_score": float(np.average(score[bins == number], weights=weights[bins == number])),
            "yes": share(truth[bins == number], weights[bins == number]),
        }
        for number in range(BINS)
        if (bins == number).any()
    ]
    return {"brier": bootstrap(brier, weights), "bins": rows}
