"""Whether pictures are copies of what was trained on: their nearest training neighbours, beside those of real pictures nobody trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from training.clip.measures import auc
from training.measures.distances import unit

PDQ_QUALITY: Final = 50  # a hash of less says little (PDQ's documentation)
PDQ_BITS: Final = 256
PDQ_MATCH: Final = 31  # bits; at most so many apart is the same picture, by PDQ's documentation
QUANTILES: Final = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 1.0)
_BLOCK: Final = 1 << 22  # entries of a block of distances held at a time


@dataclass(frozen=True)
class Nearest:
    """The nearest training picture of each of n pictures. index: its number. near: cosine, higher is nearer; or bits apart, lower is."""

    index: np.ndarray
    near: np.ndarray


def nearest_by_cosine(features: np.ndarray, training: np.ndarray) -> Nearest:
    """By cosine of features, (n, width) and (m, width); ties go to the first."""
    x, y = unit(features).astype(np.float32), unit(training).astype(np.float32)
    blocks = [x[rows] @ y.T for rows in _rows(len(x), len(y))]
    index = np.concatenate([block.argmax(1) for block in blocks])
    return Nearest(index, np.concatenate([block.max(1) for block in blocks]))


def nearest_by_pdq(hashes: np.ndarray, training: np.ndarray) -> Nearest:
    """By bits that differ of PDQ hashes, (n, 4) and (m, 4) uint64; ties go to the first."""
    index, near = [], []
    for rows in _rows(len(hashes), len(training) * 4):
        apart = np.bitwise_count(hashes[rows, None, :] ^ training[None, :, :]).sum(2, dtype=np.int32)
        index.append(apart.argmin(1))
        near.append(apart.min(1))
    return Nearest(np.concatenate(index), np.concatenate(near))


def told(generated: np.ndarray, heldout: np.ndarray, *, nearer: str) -> dict[str, Any]:
    """Nearness to training of generated pictures (n,) beside that of held-out real ones (m,), as JSON.

    nearer: "higher" (cosine) or "lower" (bits). nearer_than_heldout: the probability that a generated picture is nearer to training than
    a held-out one, ties counting half: 0.5 where generation is no nearer than new real pictures are. nearer_than_any: how many generated
    pictures are nearer than every held-out one; those are to be looked at.
    """
    sign = 1 if nearer == "higher" else -1
    x, y = sign * np.asarray(generated, np.float64), sign * np.asarray(heldout, np.float64)
    levels = QUANTILES if nearer == "lower" else tuple(1 - level for level in QUANTILES)  # the nearest first
    return {
        "n": len(x),
        "heldout_n": len(y),
        "nearer": nearer,
        "levels": list(QUANTILES),
        "generated": [round(float(value), 6) for value in np.quantile(generated, levels)],
        "heldout": [round(float(value), 6) for value in np.quantile(heldout, levels)],
        "nearer_than_heldout": auc(x, y),
        "nearer_than_any": int((x > y.max()).sum()),
    }


def _rows(n: int, cost: int) -> Iterator[slice]:
    """Slices of n rows that hold at most _BLOCK entries of `cost` a row."""
    step = max(1, _BLOCK // max(cost, 1))
    return (slice(start, start + step) for start in range(0, n, step))
