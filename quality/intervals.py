"""Intervals of shares that were counted."""

import math
from statistics import NormalDist


def wilson(hits: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of the share whose sample is `hits` of `n`: the score interval of Wilson (1927), without continuity correction.

    It stays within 0..1 and says something for 0 and for n hits, where the normal approximation has no width. confidence: of the
    two-sided interval, above 0 and below 1. Of weighted counts n is the effective size. n of 0 says
    nothing: (0, 1). Raises ValueError for a count or a confidence out of range.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"hits must be from 0 to n; got {hits} of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1; got {confidence}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # The ends are exact for no hits and for all; rounding would leave 1e-17 of them.
    return (0.0 if hits == 0 else (middle - half) / scale), (1.0 if hits == n else (middle + half) / scale)
