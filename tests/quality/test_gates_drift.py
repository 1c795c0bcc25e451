"""The population stability index against sums by hand, and what chance does to it."""

import numpy as np
import pyarrow as pa
import pytest

from quality.gates.drift import edges_of, histogram, population_stability
from quality.gates.shares import deviations
from schemas.columns import field

UNIT = edges_of(field("x.y", pa.float32(), meaning="", range=(0, 1)))


def psi(reference: np.ndarray, values: np.ndarray, edges: np.ndarray = UNIT) -> tuple[float, float]:
    return population_stability(histogram(reference, edges), histogram(values, edges))


def test_two_bins_by_hand():
    """80 and 20 against 20 and 80, half a value more in each: 2 * (0.7970 - 0.2030) * ln(0.7970 / 0.2030)."""
    counts, other = np.array([80, 20]), np.array([20, 80])
    p, q = 80.5 / 101, 20.5 / 101
    expected = 2 * (p - q) * np.log(p / q)
    assert population_stability(counts, other) == (pytest.approx(expected), pytest.approx(10.828 * 2 / 100))
    assert expected == pytest.approx(1.6247, abs=1e-3)


def test_equal_samples_do_not_drift_and_a_shift_of_half_a_deviation_does():
    rng = np.random.default_rng(1)
    one, same, shifted = (np.clip(rng.normal(mean, 0.1, 20_000), 0, 1) for mean in (0.5, 0.5, 0.55))
    value, chance = psi(one, same)
    assert value < chance < 0.01
    # Two normal distributions, half a deviation apart: the divergence both ways is 0.25; of ten bins a little less.
    assert psi(one, shifted)[0] == pytest.approx(0.25, abs=0.03)


def test_chance_is_exceeded_about_once_in_a_thousand():
    rng = np.random.default_rng(2)
    pairs = [psi(rng.random(60), rng.random(90)) for _ in range(2_000)]
    assert sum(value > chance for value, chance in pairs) <= 20


@pytest.mark.parametrize(("then", "now"), [(0.0, 0.9), (0.9, 0.0), (0.5, 0.51), (1.0, 0.0)])
def test_a_constant_that_becomes_another_is_seen(then, now):
    assert psi(np.full(500, then), np.full(500, then))[0] == 0
    assert psi(np.full(500, then), np.full(500, now))[0] > 5


def test_open_ranges_have_bins_from_thousandths_to_billions_and_below_zero():
    edges = edges_of(field("x.bytes", pa.int64(), meaning="", range=(0, None)))
    assert psi(np.full(99, 10_000), np.full(99, 20_000), edges)[0] > 1
    both = edges_of(field("x.any", pa.float64(), meaning=""))
    assert psi(np.full(99, -3.0), np.full(99, 3.0), both)[0] > 1 and (np.diff(both) > 0).all()
    counts = histogram(np.array([-1e30, 0.0, 1e30]), both)
    assert counts.sum() == 3 and counts[0] == counts[-1] == 1


def test_deviations_of_units():
    shares = np.array([0.1, 0.12, 0.09, 0.11, 0.1, 0.1, 0.13, 0.9, np.nan])
    found = deviations(shares, np.full(9, 1000.0))
    assert np.isnan(found[8]) and found[7] > 8 and (np.abs(found[:7]) < 3.5).all()
    assert np.isnan(deviations(shares[:7], np.full(7, 1000.0))).all(), "of so few units none is usual"
    # All alike but one, which differs by a row or two: no spread, and chance explains it.
    assert deviations(np.array([0.0] * 8 + [0.02]), np.full(9, 100.0))[8] < 3.5
