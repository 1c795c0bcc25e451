"""How far two sets of pictures are apart, by their features: maximum mean discrepancy with two kernels, and the Fréchet distance.

Features are (n, width), one row a picture, as the network gives them. All arithmetic is in float64.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from training.measures.figures import Figure, normal_interval, not_measured

CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0  # bandwidth and factor of the reference implementation (google-research/cmmd)
KID_SUBSETS: Final = 100
KID_LARGEST_SUBSET: Final = 1000
Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def unit(features: np.ndarray) -> np.ndarray:
    """Rows at length 1."""
    rows = np.asarray(features, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, m) squared Euclidean distances, never below 0."""
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * x @ y.T, 0)


def cmmd(generated: np.ndarray, real: np.ndarray) -> Figure:
    """CLIP maximum mean discrepancy (Jayasumana et al., arXiv 2401.09603): 1000 times MMD² with the Gaussian kernel of bandwidth 10.

    As in the reference implementation, embeddings are brought to length 1 first and the estimator is the biased one (Gretton et al. 2012,
    equation 5), which is above 0 for two samples of one distribution by about 1/n: compare at equal n.
    """
    x, y = unit(generated), unit(real)
    value, error = _mmd2(lambda a, b: np.exp(-squared_distances(a, b) / (2 * CMMD_SIGMA**2)), x, y, biased=True)
    low, high = normal_interval(CMMD_SCALE * value, CMMD_SCALE * error)
    return Figure(CMMD_SCALE * value, len(x), low, high, "jackknife")


def kid(generated: np.ndarray, real: np.ndarray, *, seed: int) -> Figure:
    """Kernel distance (Bińkowski et al., arXiv 1801.01401): unbiased MMD² with the kernel (x·y / width + 1)³, on these features.

    The value uses all pictures; `more` has mean and deviation over 100 random subsets, as KID is commonly given, of at most 1,000 pictures
    and at most half of the smaller set: subsets of all of it would hardly differ.
    """
    x, y = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    size = min(KID_LARGEST_SUBSET, len(x) // 2, len(y) // 2)
    if size < 2:
        return not_measured(f"{min(len(x), len(y))} pictures are too few; 4 or more are needed", min(len(x), len(y)))
    value, error = _mmd2(_cubic, x, y, biased=False)
    draw = np.random.default_rng(seed)
    subsets = [
        _mmd2(_cubic, x[draw.permutation(len(x))[:size]], y[draw.permutation(len(y))[:size]], biased=False)[0] for _ in range(KID_SUBSETS)
    ]
    low, high = normal_interval(value, error)
    more = {"subsets": KID_SUBSETS, "subset_size": size, "subset_mean": float(np.mean(subsets)), "subset_sd": float(np.std(subsets))}
    return Figure(value, len(x), low, high, "jackknife", more=more)


def frechet(generated: np.ndarray, real: np.ndarray) -> Figure:
    """The Fréchet distance of two Gaussians with the features' means and covariances (Dowson and Landau, 1982; Heusel et al. 2017).

    The trace of the covariances' geometric mean is the nuclear norm of the product of the centred samples, so no matrix root is taken.
    Not measured where a set has no more pictures than the features have dimensions: its covariance has no full rank, and what comes out
    tells of n rather than of the pictures.
    """
    x, y = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    fewest, width = min(len(x), len(y)), x.shape[1]
    if fewest <= width:
        return not_measured(f"{fewest} pictures do not determine a covariance of {width} dimensions; take more than {width}", fewest)
    means = ((x.mean(0) - y.mean(0)) ** 2).sum()
    x, y = (x - x.mean(0)) / np.sqrt(len(x) - 1), (y - y.mean(0)) / np.sqrt(len(y) - 1)
    # tr (A B)^1/2 with A = x'x and B = y'y is the nuclear norm of x y': by QR it has width rows and columns however many pictures there are.
    upper_x, upper_y = (np.asarray(np.linalg.qr(z, mode="r")) for z in (x, y))
    product = upper_x @ upper_y.T
    value = means + (x**2).sum() + (y**2).sum() - 2 * np.linalg.svd(product, compute_uv=False).sum()
    return Figure(max(float(value), 0.0), len(generated), note="falls with n: compare at equal n")


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mmd2(kernel: Kernel, x: np.ndarray, y: np.ndarray, *, biased: bool) -> tuple[float, float]:
    """MMD² (Gretton et al., JMLR 2012, equations 5 and 3) and its standard error by leaving out one picture at a time (Efron and Stein)."""
    across = kernel(x, y)
    (within_x, without_x), (within_y, without_y) = (_within(kernel(z, z), biased) for z in (x, y))
    n, m = across.shape
    total = across.sum()
    value = within_x + within_y - 2 * total / (n * m)
    if min(n, m) < 4:
        return float(value), float("nan")
    less_x = without_x + within_y - 2 * (total - across.sum(1)) / ((n - 1) * m)
    less_y = within_x + without_y - 2 * (total - across.sum(0)) / (n * (m - 1))
    variance = sum((len(less) - 1) * np.var(less) for less in (less_x, less_y))
    return float(value), float(np.sqrt(variance))


def _within(k: np.ndarray, biased: bool) -> tuple[float, np.ndarray]:
    """The mean of a set's own kernel (n, n), and that without each row and its column; without the diagonal where not biased."""
    n, own = len(k), k.diagonal()
    if biased:
        return float(k.mean()), (k.sum() - 2 * k.sum(1) + own) / (n - 1) ** 2
    rows = k.sum(1) - own
    total = rows.sum()
    return float(total / (n * (n - 1))), (total - 2 * rows) / ((n - 1) * max(n - 2, 1))
