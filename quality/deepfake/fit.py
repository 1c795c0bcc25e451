"""Fits a probe: logistic regression with an L2 penalty, by Newton's method, calibrated by Platt's on folds that were held out.

Everything is a function of embeddings, labels and uids: folds come from hashes of uids, so that the same labels give the same probe.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from quality.deepfake.probe import Probe
from quality.evaluation.measures import calibration, ranking

FOLDS: Final = 5
LEAST_OF_EACH: Final = 20  # labels of each kind; with fewer a fold may have hardly any, and no figure means much; our judgement
PENALTIES: Final = (0.01, 0.1, 1.0, 10.0, 100.0)  # tried; embeddings are normalised, so that weights of useful probes are 1 to 30
_STEPS, _CLOSE = 100, 1e-8  # of Newton's method


class FitError(Exception):
    """The labels do not make a probe; the message says why."""


@dataclass(frozen=True)
class _Line:
    """weights and bias of raw values."""

    weights: np.ndarray
    bias: float

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return rows @ self.weights + self.bias


def fit(uids: Sequence[str], embeddings: np.ndarray, truth: np.ndarray, *, embedding: str) -> Probe:
    """embeddings: rows x numbers, float64, none missing. truth: booleans. embedding: their version, without the engine. Raises FitError."""
    yes, no = int(truth.sum()), int((~truth).sum())
    if min(yes, no) < LEAST_OF_EACH:
        raise FitError(f"{yes} yes and {no} no with an embedding; a probe needs at least {LEAST_OF_EACH} of each")
    folds = folds_of(uids, truth)
    tried = {penalty: _held_out(embeddings, truth, folds, penalty) for penalty in PENALTIES}
    losses = {penalty: _loss(raw, truth) for penalty, raw in tried.items()}
    penalty = min(PENALTIES, key=lambda each: (losses[each], -each))
    slope, offset = platt(tried[penalty], truth)
    line = logistic(embeddings, truth, penalty)
    crossed = _crossed(tried[penalty], truth, folds)
    ones = np.ones(len(truth))
    card: dict[str, Any] = {
        "labels": len(truth), "yes": yes, "no": no, "folds": FOLDS, "penalty": penalty,
        "held_out": {**ranking(truth, tried[penalty], ones), "calibration": calibration(truth, crossed, ones)},
        "loss_by_penalty": {str(each): round(loss, 6) for each, loss in losses.items()},
        "labels_sha256": hashlib.sha256("\n".join(f"{uid},{int(one)}" for uid, one in sorted(zip(uids, truth, strict=True))).encode()).hexdigest(),
        "note": "Weak evidence: figures are of these labels alone, the penalty was chosen on the same folds, and others' pictures are different. "
        "It can raise a pair to review; it cannot drop and does not clear.",
    }  # fmt: skip
    return Probe(embedding, tuple(line.weights.tolist()), line.bias, slope, offset, yes / (yes + no), card)


def folds_of(uids: Sequence[str], truth: np.ndarray) -> np.ndarray:
    """The fold of each row, 0..FOLDS-1: kinds apart, in the order of hashes of uids, dealt in turn."""
    order = sorted(range(len(uids)), key=lambda row: (bool(truth[row]), hashlib.sha256(uids[row].encode()).digest(), row))
    folds = np.empty(len(uids), int)
    folds[order] = np.arange(len(uids)) % FOLDS
    return folds


def logistic(rows: np.ndarray, truth: np.ndarray, penalty: float) -> _Line:
    """Minimises the sum of log losses + penalty / 2 * |weights|^2; the bias is free. Newton's steps, halved while they do not help."""
    design = np.hstack([rows, np.ones((len(rows), 1))])
    target = truth.astype(np.float64)
    ridge = np.full(design.shape[1], penalty)
    ridge[-1] = 1e-9  # only to keep the system solvable
    beta = np.zeros(design.shape[1])
    best = _objective(design, target, ridge, beta)
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ beta, -500, 500)))
        gradient = design.T @ (chance - target) + ridge * beta
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while (now := _objective(design, target, ridge, beta - size * step)) > best and size > 1e-6:
            size /= 2
        done = best - now < _CLOSE * (1 + abs(best))
        if now <= best:
            beta, best = beta - size * step, now
        if done:
            break
    return _Line(beta[:-1], float(beta[-1]))


def platt(raw: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(slope, offset): log odds = slope * raw + offset. Platt (1999), with his targets, which keep from certainty; a slope below 0, which
    only labels without a pattern give, becomes 0."""
    yes, no = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (yes + 1) / (yes + 2), 1 / (no + 2))
    design = np.stack([raw, np.ones(len(raw))], 1)
    beta = np.array([0.0, np.log((yes + 1) / (no + 1))])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ beta, -500, 500)))
        gradient = design.T @ (chance - target)
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta = beta - np.clip(step, -5, 5)
        if np.abs(step).max() < _CLOSE:
            break
    if beta[0] < 0:
        return 0.0, float(np.log(yes / no))
    return float(beta[0]), float(beta[1])


def _held_out(rows: np.ndarray, truth: np.ndarray, folds: np.ndarray, penalty: float) -> np.ndarray:
    """Raw values of each row by the fit on the other folds."""
    raw = np.empty(len(rows))
    for fold in range(FOLDS):
        out = folds == fold
        raw[out] = logistic(rows[~out], truth[~out], penalty)(rows[out])
    return raw


def _crossed(raw: np.ndarray, truth: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Probabilities of each row by a calibration on the other folds' held-out values, so that calibration is not measured on what made it."""
    found = np.empty(len(raw))
    for fold in range(FOLDS):
        out = folds == fold
        slope, offset = platt(raw[~out], truth[~out])
        found[out] = 1 / (1 + np.exp(-np.clip(slope * raw[out] + offset, -500, 500)))
    return found


def _loss(raw: np.ndarray, truth: np.ndarray) -> float:
    """Mean log loss of raw values taken as log odds."""
    return float(np.logaddexp(0, np.where(truth, -raw, raw)).mean())


def _objective(design: np.ndarray, target: np.ndarray, ridge: np.ndarray, beta: np.ndarray) -> float:
    values = design @ beta
    return float((np.logaddexp(0, values) - target * values).sum() + (ridge * beta**2).sum() / 2)
