"""Shares of a unit's pairs, and how far a unit lies from the others."""

from typing import Final

import numpy as np
import pandas as pd

from quality.gates.indexes import FEW

# Fetch statuses that say: the pair was asked for, and did not come. The others are refusals, lists and rows that are no pairs.
FAILED: Final = ("failed_to_download", "failed_to_resize", "postponed", "crashed")
SHARES: Final = ("asked", "failed", "failed_share", "failed_share_new", "failed_deviation", "drop_share", "drop_deviation")
FEW_UNITS: Final = 8  # of fewer no median says what is usual
_NORMAL: Final = 0.6745  # the median absolute deviation of the standard normal distribution


def share(part: float, whole: float) -> float | None:
    """part / whole to 4 digits; None when the whole is below FEW."""
    return round(part / whole, 4) if whole >= FEW else None


def add_shares(units: pd.DataFrame) -> pd.DataFrame:
    """Fills the columns SHARES of a frame of units, but for failed_share_new, which needs the parent.

    asked: pairs whose image was asked for; failed: those of them that did not come. drop_share: of the pairs that came and were decided
    about, those dropped. *_deviation: modified z-scores of the shares, see `deviations`.
    """
    failed = units[[f"status.{status}" for status in FAILED]].sum(axis=1, min_count=1)
    came = units["status.success"]
    dropped = came - units["keep"] - units["review"]
    asked = came + failed
    shares = {"failed": (failed, asked), "drop": (dropped, came)}
    filled = units.assign(asked=asked, failed=failed)
    for name, (part, whole) in shares.items():
        each = [share(*pair) if pair[0] == pair[0] else None for pair in zip(_floats(part), _floats(whole), strict=True)]
        filled[f"{name}_share"] = pd.Series(each, index=units.index, dtype=float)
        filled[f"{name}_deviation"] = deviations(_floats(filled[f"{name}_share"]), _floats(whole))
    return filled


def _floats(values: pd.Series) -> np.ndarray:
    return values.to_numpy(dtype=float, na_value=np.nan)


def deviations(shares: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Modified z-scores, 0.6745 * (share - median) / spread, to 2 digits; NaN where the share is, and for all of fewer than FEW_UNITS units.

    Iglewicz and Hoaglin (1993), in NIST/SEMATECH e-Handbook 1.3.5.17, where the spread is the median absolute deviation. Ours is no smaller
    than what chance alone gives a share of so many rows: units of equal share would otherwise call each other outliers.
    """
    measured = ~np.isnan(shares)
    if measured.sum() < FEW_UNITS:
        return np.full(len(shares), np.nan)
    middle = np.median(shares[measured])
    usual = np.median(np.abs(shares[measured] - middle))
    # A share of 0 or 1 has no standard error of its own; one row more or less is the least that can be told apart.
    chance = np.sqrt(np.maximum(middle * (1 - middle), 1 / np.maximum(rows, 1)) / np.maximum(rows, 1))
    return np.round(_NORMAL * (shares - middle) / np.maximum(usual, _NORMAL * chance), 2)
