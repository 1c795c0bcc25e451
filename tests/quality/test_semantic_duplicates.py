"""Semantic duplicates: what is within the cosine, who wins, and that no order matters."""

import numpy as np
import pytest

from quality.semantic_duplicates import semantic_winners


def embeddings(seed: int, n: int) -> np.ndarray:
    """Vectors of many lengths, a third of them close to another: cosines on both sides of 0.99."""
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(n, 32))
    for row in range(1, n, 3):
        vectors[row] = vectors[draw.integers(row)] + draw.normal(size=32) * draw.uniform(0, 0.3)
    return (vectors * draw.uniform(0.1, 9, (n, 1))).astype(np.float32)


def test_one_cluster_is_what_brute_force_finds():
    vectors, rank = embeddings(1, 500), np.random.default_rng(2).permutation(500)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = units.astype(np.float64) @ units.T.astype(np.float64)
    assert not (np.abs(cosine - 0.99) < 1e-6).any(), "rounding decides nothing here"
    better = (cosine >= 0.99) & (rank[None] < rank[:, None])
    expected = np.where(better.any(1), np.where(better, rank[None], 500).argmin(1), -1)
    assert (expected >= 0).sum() > 20
    assert np.array_equal(semantic_winners(vectors, rank, clusters=1), expected)


def test_no_order_matters_and_clusters_lose_little():
    vectors, rank = embeddings(3, 900), np.random.default_rng(4).permutation(900)
    found = semantic_winners(vectors, rank, clusters=9)
    order = np.random.default_rng(5).permutation(900)
    again = semantic_winners(vectors[order], rank[order], clusters=9)
    back = np.full(900, -1)
    back[order] = np.where(again >= 0, order[again], -1)
    assert np.array_equal(found, back)
    all_ = semantic_winners(vectors, rank, clusters=1)
    assert ((found >= 0) <= (all_ >= 0)).all()
    assert (found >= 0).sum() >= 0.9 * (all_ >= 0).sum()


def test_vectors_that_say_nothing_are_nobodys_duplicate():
    vectors = np.ones((5, 4), np.float32)
    vectors[1] = 0
    vectors[2, 0] = np.nan
    assert semantic_winners(vectors, np.arange(5)).tolist() == [-1, -1, -1, 0, 0]
    assert semantic_winners(np.empty((0, 4), np.float32), np.empty(0, int)).tolist() == []
    with pytest.raises(ValueError, match="one rank"):
        semantic_winners(vectors, np.zeros(5, int))
