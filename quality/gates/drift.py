"""How far a distribution has moved: the population stability index.

PSI = sum over bins of (q - p) * ln(q / p), p the reference's share of a bin and q the other's; the bins are the reference's deciles. It is
Kullback and Leibler's divergence taken both ways (1951, equation 2.5). Usual bounds, from credit scoring (Siddiqi, Credit Risk Scorecards,
2006): below 0.1 no change, above 0.25 a major one. Between samples of one population n * m / (n + m) * PSI is about chi-squared with
bins - 1 degrees of freedom (Yurdakul, Statistical Properties of the Population Stability Index, 2018), so few values move it by chance.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from quality.gates.indexes import FEW
from schemas.columns import range_of

DRIFT_COLUMNS: Final = ("column", "pairs", "values", "parent_values", "psi", "psi_by_chance", "psi_beyond_chance")
BINS: Final = 10
# Chi-squared that is exceeded by chance once in 1,000, by degrees of freedom from 0 (NIST/SEMATECH e-Handbook, 1.3.6.7.4).
_CHI_SQUARED: Final = (0.0, 10.828, 13.816, 16.266, 18.467, 20.515, 22.458, 24.322, 26.125, 27.877, 29.588, 31.264)
_FINE: Final = 256  # bins of a histogram; deciles are made of them
_UNBOUNDED: Final = np.concatenate([[0.0], 2.0 ** (np.arange(-40, 161) / 4)])  # 0.001 to 10^12, four bins an octave


def edges_of(field: pa.Field) -> np.ndarray:
    """The inner edges of a column's histogram: equal steps of its declared range; of an open one, four an octave on both sides of zero."""
    low, high = range_of(field)
    if low is not None and high is not None:
        return np.linspace(low, high, _FINE + 1)[1:-1]
    return _UNBOUNDED if low is not None and low >= 0 else np.concatenate([-_UNBOUNDED[:0:-1], _UNBOUNDED])


def histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts (int64) of finite values between the edges: one more than there are edges. An edge belongs to the bin above it."""
    return np.bincount(np.searchsorted(edges, values, "right"), minlength=len(edges) + 1)


def population_stability(reference: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """(PSI, what it exceeds by chance once in 1,000) of two histograms over the same bins, neither empty.

    The bins are joined to at most BINS + 1, of about equal reference mass; half a value is added to each, since the logarithm of 0 is none.
    """
    before = np.cumsum(reference) - reference / 2
    _, group = np.unique(np.floor(BINS * before / reference.sum()), return_inverse=True)
    p, q = (np.bincount(group, weights=each) + 0.5 for each in (reference, counts))
    n, m = reference.sum(), counts.sum()
    chance = _CHI_SQUARED[len(p) - 1] * (1 / n + 1 / m)
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((q - p) * np.log(q / p))), float(chance)


def drift_metrics(now: Mapping[tuple[str, str], np.ndarray], then: Mapping[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    """DRIFT_COLUMNS, one row per (column, pairs) of both, sorted; histograms over the same bins. Fewer than FEW values are not measured.

    pairs: which ones are compared. psi_beyond_chance: psi less what chance gives, at least 0.
    """
    rows = []
    for column, pairs in sorted(now.keys() & then.keys()):
        ours, theirs = now[column, pairs], then[column, pairs]
        row: dict[str, Any] = {"column": column, "pairs": pairs, "values": int(ours.sum()), "parent_values": int(theirs.sum())}
        if min(ours.sum(), theirs.sum()) >= FEW:
            psi, chance = population_stability(theirs, ours)
            row |= {"psi": round(psi, 4), "psi_by_chance": round(chance, 4), "psi_beyond_chance": round(max(0.0, psi - chance), 4)}
        rows.append(row)
    return pd.DataFrame(rows, columns=DRIFT_COLUMNS)
