"""A measured number with its interval, and how intervals are made."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from scipy.stats import t as student

CONFIDENCE: Final = 0.95  # of every two-sided interval here
RESAMPLES: Final = 1000


@dataclass(frozen=True)
class Figure:
    """value: None where it was not measured, and `note` says why. low, high: the interval; None where none is cheap. n: what was counted.

    interval: how it was made, in words. more: further numbers that belong to it.
    """

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    interval: str = ""
    note: str = ""
    more: dict[str, float | int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in ("", {})}


def not_measured(why: str, n: int = 0) -> Figure:
    return Figure(None, n, note=why)


def mean_of(values: np.ndarray, *, seed: int, more: dict[str, float | int] | None = None) -> Figure:
    """The mean of (n,) with the percentile bootstrap interval (Efron, 1979) over its entries."""
    if not len(values):
        return not_measured("there is nothing to average")
    rows = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[rows].mean(1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(float(values.mean()), len(values), float(low), float(high), f"bootstrap, {RESAMPLES} resamples", more=more or {})


def over_seeds(differences: Sequence[float]) -> Figure:
    """The mean of differences that were taken seed by seed, with Student's interval for paired samples (n - 1 degrees of freedom).

    One seed has no interval. Two have one that says little (the factor is 12.7): it is given all the same.
    """
    values = np.asarray(differences, np.float64)
    n = len(values)
    if n == 0:
        return not_measured("no seed has both sides")
    mean = float(values.mean())
    if n == 1:
        return Figure(mean, 1, note="one seed: no interval")
    deviation = float(values.std(ddof=1))
    half = float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
    return Figure(mean, n, mean - half, mean + half, f"paired t over seeds, {n - 1} degrees of freedom", more={"sd": deviation})


def normal_interval(value: float, error: float) -> tuple[float, float]:
    """(low, high) of an estimate with a standard error, by the normal approximation."""
    half = float(student.ppf((1 + CONFIDENCE) / 2, np.inf)) * error
    return value - half, value + half
