"""Wilson intervals: published figures, the ends, symmetry, and that they cover what they claim to."""

import math
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.intervals import wilson


@pytest.mark.parametrize(
    ("hits", "n", "expected"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_as_published(hits, n, expected):
    assert wilson(hits, n) == pytest.approx(expected, abs=5e-5)


def test_the_ends_solve_the_score_equation():
    for confidence, z in ((0.6826894921, 1.0), (0.9544997361, 2.0)):
        for end in wilson(7, 19, confidence):
            assert abs(7 / 19 - end) / math.sqrt(end * (1 - end) / 19) == pytest.approx(z, rel=1e-6)


def test_none_all_and_nothing_counted():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 1)[0] == 0.0 and wilson(1, 1)[1] == 1.0
    low, high = wilson(10, 10)
    assert high == 1.0 and low == pytest.approx(1 / (1 + 1.959964**2 / 10), rel=1e-6)


@given(st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_it_holds_the_share_and_mirrors(counted, confidence):
    hits, n = counted
    low, high = wilson(hits, n, confidence)
    assert 0 <= low <= hits / n <= high <= 1
    assert wilson(n - hits, n, confidence) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_about_95_of_100_samples_hold_the_true_share():
    """Exactly, by the binomial distribution, over shares from 5 to 95 %."""
    n = 40
    found = []
    for share in (step / 100 for step in range(5, 96)):
        chances = [comb(n, hits) * share**hits * (1 - share) ** (n - hits) for hits in range(n + 1)]
        found.append(sum(chance for hits, chance in enumerate(chances) if wilson(hits, n)[0] <= share <= wilson(hits, n)[1]))
    assert sum(found) / len(found) == pytest.approx(0.95, abs=0.01) and min(found) > 0.9


@pytest.mark.parametrize(("hits", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (0, -1, 0.95), (1, 5, 0.0), (1, 5, 1.0)])
def test_what_is_out_of_range_is_refused(hits, n, confidence):
    with pytest.raises(ValueError, match=r"hits must be|confidence must be"):
        wilson(hits, n, confidence)
