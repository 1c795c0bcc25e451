"""Counts at edges: every cut that the page offers is counted as a policy would count it."""

import numpy as np
import pytest

from quality.report.histograms import bars, counts_at, edges_of, quantiles_of


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_comparing_every_value(seed):
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(0.2, 0.1, 500), 2).astype(np.float32)
    values[::17] = np.nan
    codes = rng.integers(0, 4, 500).astype(np.uint8)
    edges = edges_of(values, range=(-1, 1), whole=False, bounds=[0.11, 0.2]).values
    at_least, at_most = counts_at(values, codes, edges)
    for place, edge in enumerate(edges):
        for kind in range(4):
            mine = values[codes == kind]
            assert at_least[place, kind] == (mine >= np.float32(edge)).sum()
            assert at_most[place, kind] == (mine <= np.float32(edge)).sum()
    assert {0.11, 0.2} <= set(edges.tolist())


def test_a_bound_that_float32_cannot_hold_is_inclusive():
    values = np.array([0.1, 0.3, 0.7], np.float32)  # 0.1 as float32 is above 0.1, 0.3 and 0.7 are below
    at_least, at_most = counts_at(values, np.zeros(3, np.uint8), np.array([0.1, 0.3, 0.7]), kinds=1)
    assert at_least[:, 0].tolist() == [3, 2, 1] and at_most[:, 0].tolist() == [1, 2, 3]


def test_bars_hold_every_measured_value_once():
    values = np.array([-5.0, 0.0, 0.5, 0.5, 1.0, 40.0, np.nan], np.float32)
    edges = np.array([0.0, 0.4, 0.5, 1.0])
    at_least, _ = counts_at(values, np.zeros(7, np.uint8), edges, kinds=1)
    assert bars(at_least, [0, 2, 3], [6])[:, 0].tolist() == [2, 4]  # what lies beyond the edges is in the outermost
    assert quantiles_of(values)[3] == 0.5 and quantiles_of(np.array([np.nan])) == []


def test_edges_are_round_and_cover_what_was_measured():
    even = edges_of(np.linspace(0.031, 0.612, 5000).astype(np.float32), range=(0, 1), whole=False, bounds=())
    assert even.values[0] <= 0.032 and even.values[-1] >= 0.611 and not even.log
    steps = np.diff(even.values)
    assert np.allclose(steps, steps[0]) and steps[0] == pytest.approx(0.01)
    whole = edges_of(np.arange(1.0, 30.0), range=(0, None), whole=True, bounds=[3])
    assert np.array_equal(whole.values, np.round(whole.values)) and 3 in whole.values
    assert whole.values[-1] > 28  # the last bar holds the largest number


def test_a_long_tail_gets_an_axis_of_logarithms():
    sizes = np.exp(np.random.default_rng(0).normal(9, 2.2, 4000)).astype(np.float32)
    edges = edges_of(sizes, range=(0, None), whole=False, bounds=[5000.0])
    assert edges.log and 5000.0 in edges.values and len(edges.values) < 130
    assert (np.diff(edges.values) > 0).all()


def test_nothing_measured_has_no_edges_but_the_bounds():
    edges = edges_of(np.full(4, np.nan), range=(0, 1), whole=False, bounds=[0.5])
    assert edges.values.tolist() == [0.5]
    at_least, at_most = counts_at(np.full(4, np.nan), np.zeros(4, np.uint8), edges.values)
    assert not at_least.any() and not at_most.any()
    assert len(bars(at_least, edges.drawn.tolist(), [0] * 4)) == len(bars(at_least[:0], [], [0] * 4)) == 0
