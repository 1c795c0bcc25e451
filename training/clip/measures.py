"""How well matched pairs stand out: area under the ROC curve, and recall of the own partner among k."""

import numpy as np


def auc(matched: np.ndarray, mismatched: np.ndarray) -> float:
    """The probability that a matched pair is more similar than a mismatched one, ties counting half."""
    ordered = np.sort(mismatched)
    below = np.searchsorted(ordered, matched, "left") + np.searchsorted(ordered, matched, "right")
    return float(below.mean() / 2 / len(ordered))


def recall(similarity: np.ndarray, k: int) -> float:
    """The share of rows whose own column (the diagonal of `similarity`, n x n) is among the row's k largest; ties count against it."""
    own = similarity.diagonal()[:, None]
    return float(((similarity >= own).sum(1) <= k).mean())


def mismatched(similarity: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """All entries of `similarity` (n x n) whose row and column are of different `groups` (n,)."""
    return similarity[groups[:, None] != groups[None, :]]


def measure(image: np.ndarray, text: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """The measures of n unit vectors of images and of their captions, (n, width).

    `groups` says what shows the same: pairs of one group are no mismatches. Recall is of the own partner all the same.
    """
    similarity = text @ image.T
    return {
        "pairs": len(image),
        "auc": auc(similarity.diagonal(), mismatched(similarity, groups)),
        "text_to_image_r1": recall(similarity, 1),
        "text_to_image_r10": recall(similarity, 10),
        "image_to_text_r1": recall(similarity.T, 1),
        "image_to_text_r10": recall(similarity.T, 10),
    }
