"""Intervals at 95 %: Wilson's for shares, the bootstrap's for everything else."""

from collections.abc import Callable
from typing import Final

import numpy as np

from quality.intervals import wilson

ROUNDS: Final = 1000
_SEED: Final = 20_260  # the same labels give the same interval

Interval = dict[str, float | None]


def share(hits: np.ndarray, weights: np.ndarray) -> Interval:
    """{value, low, high, n} of a weighted share: Wilson (1927), with an effective sample size where weights differ. hits: booleans.
    Values are None for no rows.

    That size is Kish's, (sum of weights)^2 / sum of squares, or where it is less what the share's variance comes to (Korn and Graubard, 1998):
    Kish's alone takes hits to be as frequent among heavy rows as among light ones.
    """
    total = float(weights.sum())
    if not total:
        return {"value": None, "low": None, "high": None, "n": 0}
    value = 1.0 if hits.all() else float(weights[hits].sum()) / total
    n = total**2 / float((weights**2).sum())
    variance = float((weights**2 * (hits - value) ** 2).sum()) / total**2
    if variance > 0:
        n = min(n, value * (1 - value) / variance)
    low, high = wilson(value * n, n)
    return {"value": value, "low": low, "high": high, "n": len(hits)}


def bootstrap(measure: Callable[[np.ndarray], float | None], weights: np.ndarray, *, rounds: int = ROUNDS) -> Interval:
    """{value, low, high} of measure(weights): the percentile interval over pairs drawn with replacement. A round in which the measure
    has no value (all pairs drawn are of one kind) is left out; fewer than half of them: no interval."""
    generator = np.random.Generator(np.random.PCG64(_SEED))
    n = len(weights)
    value = measure(weights) if n else None
    if value is None:
        return {"value": None, "low": None, "high": None}
    drawn = [measure(weights * generator.multinomial(n, np.full(n, 1 / n))) for _ in range(rounds)]
    known = [each for each in drawn if each is not None]
    if len(known) < rounds / 2:
        return {"value": value, "low": None, "high": None}
    low, high = np.quantile(known, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}
