"""Scores as they are stored: float32, rounded to 1e-4, null where there is none."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

DECIMALS = 4  # float noise of other batch shapes stays below 5e-5; the last bits of a model's output mean nothing


def rounded(values: np.ndarray | Sequence[float | None]) -> pa.Array:
    """A float32 column; None and NaN become null."""
    numbers = np.asarray([np.nan if value is None else value for value in values], np.float64)
    return pa.array(np.round(numbers, DECIMALS).astype(np.float32), pa.float32(), from_pandas=True)
