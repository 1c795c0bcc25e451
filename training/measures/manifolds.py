"""How many generated pictures look real, and how much of what is real is generated, by neighbours in a feature space."""

from typing import Final

import numpy as np

from training.measures.distances import squared_distances
from training.measures.figures import Figure, mean_of, not_measured

PRECISION_K: Final = 3  # Kynkäänniemi et al. 2019, section 3
DENSITY_K: Final = 5  # Naeem et al. 2020, section 4


def manifolds(generated: np.ndarray, real: np.ndarray, *, seed: int) -> dict[str, Figure]:
    """`precision` and `recall` (Kynkäänniemi et al., arXiv 1904.06991), `density` and `coverage` (Naeem et al., arXiv 2002.09797).

    A ball around each picture of a set reaches to its k-th nearest other picture of that set, the border included.
    precision: the share of generated pictures in any real ball. recall: of real ones in any generated ball. density: real balls around a
    generated picture, over k; may pass 1. coverage: the share of real balls with a generated picture inside.
    Intervals: bootstrap over the pictures that are averaged, the balls held fixed. Not measured with k pictures or fewer in a set.
    """
    fewest = min(len(generated), len(real))
    if fewest <= DENSITY_K:
        why = f"{fewest} pictures are too few; more than {DENSITY_K} are needed"
        return {name: not_measured(why, fewest) for name in ("precision", "recall", "density", "coverage")}
    x, y = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    apart = squared_distances(x, y)
    own_x, own_y = squared_distances(x, x), squared_distances(y, y)
    in_real = apart <= _reach(own_y, PRECISION_K)[None, :]
    in_generated = apart <= _reach(own_x, PRECISION_K)[:, None]
    in_wider = apart <= _reach(own_y, DENSITY_K)[None, :]
    found = {
        "precision": in_real.any(1),
        "recall": in_generated.any(0),
        "density": in_wider.sum(1) / DENSITY_K,
        "coverage": in_wider.any(0),
    }
    return {name: mean_of(np.asarray(values, np.float64), seed=seed) for name, values in found.items()}


def _reach(own: np.ndarray, k: int) -> np.ndarray:
    """(n,) squared distance from each picture to its k-th nearest other, of (n, n)."""
    others = own.copy()
    np.fill_diagonal(others, np.inf)
    return np.partition(others, k - 1, axis=1)[:, k - 1]
