"""Agreement: the published worked examples, another implementation, and the ends."""

import numpy as np
import pytest

from quality.review.server.agreement import cohen, counts_of, kappas, krippendorff, raw_agreement

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), sections B and C: data of observers, alpha.
NOMINAL = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
BINARY = ["0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"]


def units_of(observers):
    return [[value for value in unit if value != "."] for unit in zip(*(line.split() for line in observers), strict=True)]


@pytest.mark.parametrize(("observers", "alpha", "units"), [(NOMINAL, 0.743, 11), (BINARY, 0.095, 10)])
def test_alpha_as_published(observers, alpha, units):
    found = krippendorff(counts_of(units_of(observers)))
    assert found.value == pytest.approx(alpha, abs=5e-4) and found.tasks == units
    assert found.low < found.value < found.high


def test_alpha_at_the_ends():
    same = [["yes", "yes"], ["no", "no"]] * 10
    assert krippendorff(counts_of(same)).value == 1
    assert krippendorff(counts_of([["yes", "no"]] * 10)).value < 0
    for undefined in ([], [["yes"]], [["yes", "yes"]] * 5):  # nobody to compare with; one value alone
        found = krippendorff(counts_of(undefined))
        assert (found.value, found.low, found.high) == (None, None, None)


def test_the_interval_covers_what_it_claims():
    """Two people who answer alike with probability 0.8, of two values: alpha is 0.6 in the long run. 300 samples of 100 tasks.

    The percentile interval is a little narrow for so few: 90 % covered for 95 % claimed (measured here).
    """
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        first = generator.integers(0, 2, 100)
        second = np.where(generator.random(100) < 0.8, first, 1 - first)
        found = krippendorff(counts_of(list(zip(first, second, strict=True))), rounds=200)
        covered += found.low <= 0.6 <= found.high
    assert 0.88 < covered / 300 < 0.99


def test_same_answers_same_interval_in_any_order():
    units = units_of(NOMINAL)
    shuffled = [list(reversed(unit)) for unit in units]
    assert krippendorff(counts_of(units)) == krippendorff(counts_of(shuffled))


def test_kappa_against_another_implementation():
    metrics = pytest.importorskip("sklearn.metrics", reason="not run: scikit-learn is not installed")
    generator = np.random.default_rng(3)
    for _ in range(20):
        pairs = [(int(a), int(b)) for a, b in generator.integers(0, 3, (40, 2))]
        assert cohen(pairs) == pytest.approx(metrics.cohen_kappa_score(*zip(*pairs, strict=True)), abs=1e-12)


def test_kappa_by_hand():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert cohen(pairs) == pytest.approx(0.4)
    assert cohen([]) is None and cohen([("yes", "yes")] * 3) is None


def test_kappas_of_everybody_with_a_common_task():
    answers = [{"ann": "yes", "ben": "yes", "cho": "no"}, {"ann": "no", "ben": "no"}, {"cho": "no"}]
    assert kappas(answers) == [("ann", "ben", 2, 1.0), ("ann", "cho", 1, 0.0), ("ben", "cho", 1, 0.0)]


def test_raw_agreement():
    assert raw_agreement(counts_of([["yes", "yes", "no"], ["no", "no"], ["yes"]])) == pytest.approx((1 + 1) / (3 + 1))
    assert raw_agreement(counts_of([["yes"]])) is None
