"""Measures of generated pictures against closed forms, slow loops that say the definition, and other libraries' computations."""

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ttest_rel

from training.measures.distances import cmmd, frechet, kid, squared_distances, unit
from training.measures.figures import mean_of, over_seeds
from training.measures.manifolds import manifolds
from training.measures.memorisation import nearest_by_cosine, nearest_by_pdq, told


def draws(seed: int, n: int, width: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)) + shift


def mmd2_by_loops(kernel, x, y, *, biased: bool) -> float:
    def within(z):
        values = [kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if biased or i != j]
        return sum(values) / len(values)

    return within(x) + within(y) - 2 * np.mean([kernel(a, b) for a in x for b in y])


# ---- maximum mean discrepancy


def test_cmmd_of_two_points_is_known():
    one, other = np.array([[1.0, 0.0]] * 5), np.array([[0.0, 1.0]] * 7)
    assert cmmd(one, other).value == pytest.approx(1000 * 2 * (1 - math.exp(-2 / (2 * 10**2))))
    assert cmmd(one, one).value == 0


def test_cmmd_is_the_definition_on_vectors_of_length_one():
    x, y = draws(1, 9, 4, shift=1), draws(2, 11, 4)
    by_loops = mmd2_by_loops(lambda a, b: math.exp(-((a - b) ** 2).sum() / 200), unit(x), unit(y), biased=True)
    assert cmmd(x, y).value == pytest.approx(1000 * by_loops)
    assert cmmd(3 * x, y).value == pytest.approx(cmmd(x, y).value)  # lengths say nothing


def test_kid_is_the_definition():
    x, y = draws(1, 9, 4, shift=1), draws(2, 11, 4)
    by_loops = mmd2_by_loops(lambda a, b: (a @ b / 4 + 1) ** 3, x, y, biased=False)
    found = kid(x, y, seed=0)
    assert found.value == pytest.approx(by_loops)
    assert found.more["subset_size"] == 4 and found.more["subsets"] == 100
    assert found.more["subset_mean"] == pytest.approx(by_loops, abs=3 * found.more["subset_sd"] / math.sqrt(100) + 0.2)


def test_kid_is_unbiased_and_its_interval_holds_the_truth_as_often_as_it_says():
    found = [kid(draws(2 * i, 60, 3), draws(2 * i + 1, 50, 3, shift=0.5), seed=i) for i in range(40)]
    # The truth by sixteen times as many pictures.
    truth = kid(draws(-1 % 2**32, 800, 3), draws(-2 % 2**32, 800, 3, shift=0.5), seed=0).value
    values = np.array([one.value for one in found])
    assert abs(values.mean() - truth) < 3 * values.std() / math.sqrt(40) + 0.02
    held = sum(one.low <= truth <= one.high for one in found)
    assert held >= 32  # 38 of 40 are expected
    width = np.mean([one.high - one.low for one in found]) / 2 / 1.96
    assert width == pytest.approx(values.std(), rel=0.4)


def test_few_pictures_have_no_kid():
    assert kid(draws(1, 3, 2), draws(2, 9, 2), seed=0).value is None
    assert "3 pictures are too few" in kid(draws(1, 3, 2), draws(2, 9, 2), seed=0).note


# ---- Fréchet distance


def whitened(seed: int, n: int, width: int) -> np.ndarray:
    """A sample whose mean is 0 and whose covariance is the identity, exactly."""
    x = draws(seed, n, width)
    x -= x.mean(0)
    return x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T


def test_frechet_of_known_gaussians():
    x, y = whitened(1, 40, 5), whitened(2, 50, 5)
    assert frechet(x, y).value == pytest.approx(0, abs=1e-9)
    assert frechet(x + 2, y).value == pytest.approx(5 * 2**2)
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 2, 1, 4, 7])
    assert frechet(x * a, y * b).value == pytest.approx(((a - b) ** 2).sum())  # covariances that commute


def test_frechet_is_that_of_a_matrix_root():
    x, y = draws(1, 40, 6) @ draws(3, 6, 6), draws(2, 50, 6, shift=0.3) @ draws(4, 6, 6)
    root = sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    by_root = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root)
    assert frechet(x, y).value == pytest.approx(by_root)


def test_frechet_is_refused_where_the_covariance_has_no_full_rank():
    found = frechet(draws(1, 6, 6), draws(2, 50, 6))
    assert found.value is None and "6 pictures do not determine a covariance of 6 dimensions" in found.note
    assert frechet(draws(1, 7, 6), draws(2, 50, 6)).value is not None


# ---- precision, recall, density, coverage


def test_manifolds_on_a_line():
    real = np.array([[0.0], [1], [2], [3], [4], [5], [6]])
    found = {name: one.value for name, one in manifolds(real + 0.25, real, seed=0).items()}
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    far = {name: one.value for name, one in manifolds(real + 100, real, seed=0).items()}
    assert set(far.values()) == {0}
    one_place = {name: one.value for name, one in manifolds(np.full((7, 1), 3.0), real, seed=0).items()}
    assert one_place["precision"] == 1
    assert one_place["recall"] == pytest.approx(1 / 7)  # generated balls have no size: only the real 3 lies in one


def test_manifolds_are_their_definitions():
    x, y = draws(1, 20, 3, shift=0.7), draws(2, 25, 3)

    def reach(z, k):
        return [sorted(np.linalg.norm(z - a, axis=1))[k] for a in z]  # the own distance, 0, comes first

    three_x, three_y, five_y = reach(x, 3), reach(y, 3), reach(y, 5)
    far = np.linalg.norm
    found = manifolds(x, y, seed=0)
    assert found["precision"].value == pytest.approx(np.mean([any(far(a - b) <= r for b, r in zip(y, three_y, strict=True)) for a in x]))
    assert found["recall"].value == pytest.approx(np.mean([any(far(a - b) <= r for a, r in zip(x, three_x, strict=True)) for b in y]))
    assert found["density"].value == pytest.approx(np.mean([sum(far(a - b) <= r for b, r in zip(y, five_y, strict=True)) / 5 for a in x]))
    assert found["coverage"].value == pytest.approx(np.mean([any(far(a - b) <= r for a in x) for b, r in zip(y, five_y, strict=True)]))
    assert found["precision"].n == found["density"].n == 20 and found["recall"].n == found["coverage"].n == 25
    assert 0 <= found["precision"].low <= found["precision"].value <= found["precision"].high <= 1


def test_few_pictures_have_no_manifold():
    assert {one.value for one in manifolds(draws(1, 5, 2), draws(2, 9, 2), seed=0).values()} == {None}


# ---- memorisation


def test_a_copy_is_found_and_its_like_is_not():
    training = draws(1, 3000, 8)
    generated = draws(2, 30, 8)
    generated[7] = 2 * training[1234]  # lengths say nothing
    found = nearest_by_cosine(generated, training)
    assert found.index[7] == 1234 and found.near[7] == pytest.approx(1)
    assert found.near[0] == pytest.approx((unit(generated[:1]) @ unit(training).T).max(), abs=1e-6)
    heldout = nearest_by_cosine(draws(3, 400, 8), training)
    said = told(found.near, heldout.near, nearer="higher")
    assert said["nearer_than_any"] == 1
    assert 0.35 < said["nearer_than_heldout"] < 0.65  # the others are strangers, as the held-out ones are
    assert said["generated"][0] == pytest.approx(1) and said["levels"][0] == 0


def test_bits_that_differ_are_counted():
    draw = np.random.default_rng(1)
    training = draw.integers(0, 2**64, (500, 4), dtype=np.uint64)
    copies = training[[3, 9]].copy()
    copies[1] ^= np.array([0b1011, 0, 0, 1 << 63], np.uint64)
    found = nearest_by_pdq(copies, training)
    assert found.index.tolist() == [3, 9] and found.near.tolist() == [0, 4]
    stranger = draw.integers(0, 2**64, (1, 4), dtype=np.uint64)
    by_strings = [sum(bin(int(a) ^ int(b)).count("1") for a, b in zip(stranger[0], row, strict=True)) for row in training]
    assert nearest_by_pdq(stranger, training).near[0] == min(by_strings)
    said = told(np.array([0, 4]), np.array([4, 90, 100]), nearer="lower")
    assert said["nearer_than_any"] == 1 and said["generated"][0] == 0 and said["heldout"][-1] == 100
    assert said["nearer_than_heldout"] == pytest.approx((1 + (0.5 + 2) / 3) / 2)


# ---- intervals


def test_differences_over_seeds_are_a_paired_t_test():
    raw, curated = np.array([1.0, 1.4, 1.1]), np.array([0.7, 1.2, 0.9])
    found = over_seeds(curated - raw)
    theirs = ttest_rel(curated, raw).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert (found.high - found.low) / 2 == pytest.approx(4.303 * found.more["sd"] / math.sqrt(3), rel=1e-3)
    assert over_seeds([0.3]).low is None and "one seed" in over_seeds([0.3]).note
    assert over_seeds([]).value is None


def test_the_interval_of_a_mean():
    values = np.random.default_rng(5).normal(3, 2, 400)
    found = mean_of(values, seed=1)
    assert found.value == pytest.approx(values.mean()) and found.n == 400
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 2 / math.sqrt(400), rel=0.15)
    assert found == mean_of(values, seed=1)
    assert mean_of(np.array([]), seed=1).value is None


def test_distances_are_never_below_zero():
    x = 1e4 + draws(1, 50, 3) * 1e-9
    assert (squared_distances(x, x) >= 0).all()
