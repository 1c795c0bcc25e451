"""Semantic duplicates: pairs whose image embeddings say nearly the same (SemDeDup, arXiv 2303.09540).

Embeddings are clustered (k-means by cosine), and within a cluster **a pair is dropped if a better-ranked pair has a cosine of at least `cosine`**,
itself dropped or not. Pairs that the clusters part are not found: the price of not comparing all. Everything starts from the order of ranks, so
the answer does not depend on that of the rows; it may depend, at the bound, on the machine's matrix product.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EMBEDDINGS: Final = "embed.image"
MOST_ROWS: Final = 1_000_000  # 6 GB for 512 numbers a row, twice as fp32 while they are scaled
COSINE: Final = 0.99  # NeMo Curator's default
CLUSTER_ROWS: Final = 1000  # SemDeDup: 50,000 clusters of LAION-440M have 8,800; smaller ones cost less and lose little at 0.99
ROUNDS: Final = 10  # of k-means
_TRAINED_ROWS = 256  # a cluster; the others are only assigned
_BLOCK = 4096  # rows of one matrix product


def embeddings_of(column: pa.ChunkedArray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(those of `rows` that have an embedding, their embeddings, float16 (n, d)). column: lists of one length, or null."""
    rows = rows[np.asarray(pc.is_valid(column))[rows]]
    lists = column.take(pa.array(rows)).combine_chunks()
    return rows, lists.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1 if len(rows) else 0)


def semantic_winners(embeddings: np.ndarray, rank: np.ndarray, *, cosine: float = COSINE, clusters: int | None = None) -> np.ndarray:
    """For each row the best-ranked row of its cluster that is within the bound and better-ranked, or -1: int64 (n,).

    embeddings: float (n, d), of any length; rows of zeros or with NaN are nobody's duplicate. rank: (n,), distinct, smaller is better.
    clusters: default one for CLUSTER_ROWS rows. Raises ValueError when two rows have one rank.
    """
    ranked = np.argsort(rank, kind="stable")
    if (np.diff(np.asarray(rank)[ranked]) == 0).any():
        raise ValueError("two rows have one rank")
    won = np.full(len(ranked), -1, np.int64)
    units = np.asarray(embeddings)[ranked].astype(np.float32)
    lengths = np.linalg.norm(units, axis=1)
    said = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
    ranked, units = ranked[said], units[said] / lengths[said, None]
    if not len(units):
        return won
    cluster = _cluster(units, clusters or -(-len(units) // CLUSTER_ROWS))
    order = np.argsort(cluster, kind="stable")  # in rank order within each
    for members in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
        for start in range(0, len(members), _BLOCK):
            block = members[start : start + _BLOCK]
            near = units[block] @ units[members[: start + len(block)]].T >= cosine
            near &= np.arange(near.shape[1]) < np.arange(start, start + len(block))[:, None]  # better-ranked ones only
            lost = near.any(axis=1)
            won[ranked[block[lost]]] = ranked[members[near[lost].argmax(axis=1)]]
    return won


def _cluster(units: np.ndarray, k: int) -> np.ndarray:
    """Spherical k-means: the cluster of each row. Begins with rows at even steps; an empty cluster keeps its centre."""
    k = min(k, len(units))
    sample = units[np.linspace(0, len(units) - 1, min(len(units), k * _TRAINED_ROWS)).astype(np.int64)]
    centres = sample[np.linspace(0, len(sample) - 1, k).astype(np.int64)].copy()
    for _ in range(ROUNDS if k > 1 else 0):
        nearest = _nearest(sample, centres)
        order = np.argsort(nearest, kind="stable")
        begins = np.flatnonzero(np.r_[True, np.diff(nearest[order]) != 0])
        sums = np.add.reduceat(sample[order].astype(np.float64), begins)
        lengths = np.linalg.norm(sums, axis=1)
        centres[nearest[order][begins]] = sums / np.where(lengths > 0, lengths, 1)[:, None]
    return _nearest(units, centres)


def _nearest(units: np.ndarray, centres: np.ndarray) -> np.ndarray:
    blocks = (units[start : start + _BLOCK] for start in range(0, len(units), _BLOCK))
    return np.concatenate([(block @ centres.T).argmax(axis=1) for block in blocks])
