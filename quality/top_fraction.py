"""The cut of a `top_fraction` rule: the edge of one of 65,536 equal bins of the field's declared range, ties kept."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import range_of
from schemas.policy import PolicyError, Rule

BINS: Final = 65_536


@dataclass(frozen=True)
class Histogram:
    """Counts (int64, BINS) of a field's values between `low` and `high`, inclusive, for a rule that keeps `fraction`."""

    counts: np.ndarray
    low: float
    high: float
    fraction: float

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(self.counts + other.counts, self.low, self.high, self.fraction)


def histogram_of(column: pa.ChunkedArray, counted: np.ndarray, rule: Rule, field: pa.Field) -> Histogram:
    """Values of the rows `counted` (bool); nulls are left out. Raises PolicyError for a field without a declared range."""
    low, high = range_of(field)
    if low is None or high is None or rule.top_fraction is None:
        raise PolicyError(f"rule on {rule.column}: 'top_fraction' needs a field with a declared range, and {rule.column} has none")
    values = pc.fill_null(column, np.nan).to_numpy()[counted].astype(np.float64)
    values = values[~np.isnan(values)]
    bins = np.clip(((values - low) / (high - low) * BINS).astype(np.int64), 0, BINS - 1)
    return Histogram(np.bincount(bins, minlength=BINS).astype(np.int64), low, high, rule.top_fraction)


def cut_of(histogram: Histogram) -> float:
    """The lowest value that stays: the lower edge of the bin in which the wanted number is reached. The whole bin stays."""
    from_top = np.cumsum(histogram.counts[::-1])
    wanted = np.ceil(histogram.fraction * from_top[-1])
    bin_ = BINS - 1 - int(np.searchsorted(from_top, max(wanted, 1)))
    return histogram.low + max(bin_, 0) * (histogram.high - histogram.low) / BINS
