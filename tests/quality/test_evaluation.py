"""Measures with known answers: intervals, ranking, calibration; labels as people and the review write them."""

import csv
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.command import UsageError
from quality.evaluation.intervals import bootstrap, share
from quality.evaluation.labels import read_labels
from quality.evaluation.measures import Ranked, at_threshold, calibration, ranking
from quality.evaluation.report import measured
from quality.intervals import wilson
from schemas.columns import field

ONES = np.ones(4)
TRUTH = np.array([False, False, True, True])
SCORE = np.array([0.1, 0.4, 0.35, 0.8])  # the example of scikit-learn's documentation: AUC 0.75, AP 0.83


def booleans(text):
    return np.array([letter == "1" for letter in text])


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(8, 10, 0.490162, 0.943318), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (50, 100, 0.403832, 0.596168), (1, 1, 0.206549, 1.0)],
)
def test_wilsons_interval(hits, of, low, high):
    found = share(np.arange(of) < hits, np.ones(of))
    assert (found["value"], found["n"]) == (hits / of, of)
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


@pytest.mark.parametrize("of", [3, 6, 7, 10, 83])
def test_the_interval_holds_the_share_at_both_ends(of):
    """Rounding left 1e-17 outside, and matplotlib draws no bar of negative length."""
    for hits in (np.zeros(of, bool), np.ones(of, bool)):
        for weights in (np.ones(of), np.linspace(0.1, 3, of)):
            found = share(hits, weights)
            assert found["low"] <= found["value"] <= found["high"]
            assert found["value"] in (found["low"], found["high"])


def test_weights_move_the_share_and_widen_the_interval():
    hits, weights = booleans("1100"), np.array([1.0, 1.0, 3.0, 3.0])
    found = share(hits, weights)
    assert found["value"] == 2 / 8
    even = share(booleans("1" + "000"), np.ones(4))  # Kish: (8^2) / (1+1+9+9) = 3.2 pairs' worth
    assert found["high"] > even["high"] and found["n"] == 4
    assert share(hits, 7 * np.ones(4)) == pytest.approx(share(hits, np.ones(4)))
    assert share(np.zeros(0, bool), np.zeros(0))["value"] is None


def test_heavy_rows_that_differ_more_than_light_ones_count_for_less():
    """8 light rows are all hits, of 4 heavy ones half: the share's variance is theirs."""
    hits, weights = booleans("11111111" + "1100"), np.array([1.0] * 8 + [3.0] * 4)
    found = share(hits, weights)
    value, variance = 14 / 20, (8 * 0.3**2 + 9 * (2 * 0.3**2 + 2 * 0.7**2)) / 400
    low, high = wilson(value * (value * (1 - value) / variance), value * (1 - value) / variance)
    assert (found["value"], found["low"], found["high"]) == (value, pytest.approx(low), pytest.approx(high))
    kish = wilson(value * 400 / 44, 400 / 44)
    assert found["low"] < kish[0] and found["high"] > kish[1], "wider than Kish's size alone makes it"


def test_ranking_of_the_textbook():
    ranked = Ranked(TRUTH, SCORE)
    assert ranked.roc_auc(ONES) == 0.75 and ranked.average_precision(ONES) == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("truth", "score", "auc", "ap"),
    [("01", [0, 1], 1, 1), ("10", [0, 1], 0, 0.5), ("0101", [5, 5, 5, 5], 0.5, 0.5), ("011", [1, 1, 2], 0.75, 0.5 + 0.5 * 2 / 3),
        ("11", [1, 2], None, 1), ("00", [1, 2], None, None)],
)  # fmt: skip
def test_ranking_with_ties_and_of_one_kind(truth, score, auc, ap):
    ranked, weights = Ranked(booleans(truth), np.array(score)), np.ones(len(truth))
    assert ranked.roc_auc(weights) == auc and ranked.average_precision(weights) == (ap if ap is None else pytest.approx(ap))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 3)), min_size=2, max_size=20))
def test_weights_count_like_copies(rows):
    truth, score, weights = (np.array(column) for column in zip(*rows, strict=True))
    copied = Ranked(truth.repeat(weights), score.repeat(weights))
    ranked, ones = Ranked(truth, score), np.ones(weights.sum())
    for name in ("roc_auc", "average_precision"):
        one, other = getattr(ranked, name)(weights.astype(float)), getattr(copied, name)(ones)
        assert (one is None) == (other is None) and (one is None or one == pytest.approx(other))
    if 0 < truth.sum() < len(truth):
        pairs = [(a > b) + (a == b) / 2 for a in score[truth] for b in score[~truth]]
        assert ranked.roc_auc(np.ones(len(truth))) == pytest.approx(np.mean(pairs))


def test_precision_and_recall_at_a_bound():
    found = at_threshold(TRUTH, SCORE >= 0.35, ONES)
    assert found["counts"] == {"yes_called_yes": 2, "yes_called_no": 0, "no_called_yes": 1, "no_called_no": 1}
    assert (found["precision"]["value"], found["recall"]["value"], found["false_positive_rate"]["value"]) == (pytest.approx(2 / 3), 1, 0.5)
    nothing = at_threshold(TRUTH, SCORE > 1, ONES)
    assert nothing["precision"]["value"] is None and nothing["recall"]["value"] == 0


def test_calibration_in_bins():
    truth, score = booleans("00111"), np.array([0.0, 0.05, 0.1, 0.99, 1.0])
    found = calibration(truth, score, np.ones(5))
    assert found["brier"]["value"] == pytest.approx((0.05**2 + 0.9**2 + 0.01**2) / 5)
    assert [(row["from"], row["to"], row["mean_score"], row["yes"]["value"], row["yes"]["n"]) for row in found["bins"]] == [
        (0.0, 0.1, pytest.approx(0.025), 0, 2), (0.1, 0.2, pytest.approx(0.1), 1, 1), (0.9, 1.0, pytest.approx(0.995), 1, 2),
    ]  # fmt: skip


def test_the_bootstrap_covers_and_repeats():
    generator = np.random.Generator(np.random.PCG64(1))
    truth = generator.random(300) < 0.5
    score = generator.normal(size=300) + truth  # the true area is Phi(1/sqrt 2) = 0.760
    found = ranking(truth, score, np.ones(300))
    assert found == ranking(truth, score, np.ones(300))
    area = found["roc_auc"]
    assert area["low"] < 0.760 < area["high"] and area["low"] < area["value"] < area["high"]
    # Hanley and McNeil (1982) put the standard error of such an area at about 0.028
    assert 2 * 1.96 * 0.02 < area["high"] - area["low"] < 2 * 1.96 * 0.036
    assert bootstrap(Ranked(booleans("11"), np.array([1, 2])).roc_auc, np.ones(2)) == {"value": None, "low": None, "high": None}


def number(values, low=0, high=1):
    return pa.chunked_array([pa.array(values, pa.float32())]), field("s.x", pa.float32(), meaning="", range=(low, high))


def test_missing_values_are_counted_and_left_out():
    values, kind = number([0.9, None, 0.2, math.inf], 0, None)
    found = measured(values, kind, booleans("1110"), ONES, at=[0.5])
    assert (found["missing"], found["yes"], found["no"]) == (1, 2, 1) and "calibration" not in found
    assert found["thresholds"][0]["counts"] == {"yes_called_yes": 1, "yes_called_no": 1, "no_called_yes": 1, "no_called_no": 0}
    assert measured(*number([0.9, None, 0.2, 0.7]), booleans("1110"), ONES) == measured(
        *number([0.9, math.nan, 0.2, 0.7]), booleans("1110"), ONES
    )


def test_low_may_mean_yes():
    values, kind = number(SCORE.tolist(), -1)
    found = measured(values, kind, ~TRUTH, ONES, at=[0.1], lower_is_yes=True)
    assert found["roc_auc"]["value"] == 0.75 and found["thresholds"][0]["counts"]["yes_called_yes"] == 1
    values, kind = number([0.25, 0.5])
    assert measured(values, kind, booleans("01"), np.ones(2), at=[0.5])["thresholds"][0]["recall"]["value"] == 1  # a bound is inclusive


def test_a_band_has_its_confusion_in_order():
    values = pa.chunked_array([pa.array(["high", "none", None, "low", "review", "high"])])
    found = measured(values, field("deepfake.band", pa.string(), meaning=""), booleans("101010"), np.ones(6))
    assert [(row["value"], row["yes"], row["no"]) for row in found["confusion"]] == [
        ("none", 0, 1),
        ("low", 0, 1),
        ("review", 1, 0),
        ("high", 1, 1),
    ]
    assert (found["precision"]["value"], found["recall"]["value"], found["missing"]) == (pytest.approx(2 / 3), 1, 1)
    with pytest.raises(UsageError, match=r"say which mean yes with --yes"):
        measured(values, field("license.class", pa.string(), meaning=""), booleans("101010"), np.ones(6))
    names = pa.chunked_array([pa.array(["CC0-1.0", "MIT"])])
    found = measured(names, field("license.spdx", pa.string(), meaning=""), booleans("10"), np.ones(2), yes=["CC0-1.0"])
    assert [row["value"] for row in found["confusion"]] == ["CC0-1.0", "MIT"] and found["recall"]["value"] == 1  # as it is stored
    flags = pa.chunked_array([pa.array([True, False])])
    assert measured(flags, field("caption.boilerplate", pa.bool_(), meaning=""), booleans("10"), np.ones(2))["precision"]["value"] == 1


# ---- labels


def labels_file(path, header, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def test_answers_and_majorities(tmp_path):
    rows = [("a", "yes"), ("b", "No"), ("c", "unsure"), ("a", "yes"), ("a", "no"), ("d", "yes"), ("d", "no"), ("e", "1"), ("f", "")]
    found = read_labels(labels_file(tmp_path / "l.csv", "uid,answer", *rows))
    assert found.answers == {"a": True, "b": False, "e": True}
    assert (found.records, found.unsure, found.split, found.weighted) == (9, 2, 1, False)
    assert found.weights == {"a": 1.0, "b": 1.0, "e": 1.0}
    assert read_labels(labels_file(tmp_path / "m.csv", "uid,label", ("a", "0"))).answers == {"a": False}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_reviews_records(tmp_path, kind):
    header = ["uid", "question", "answer", "reviewer", "time", "sampling_probability"]
    rows = [
        ("a", "nsfw:possible", "yes", "r1", "t", 0.5),
        ("b", "nsfw:possible", "no", "r1", "t", 0.01),
        ("a", "keep", "no", "r2", "t", 1.0),
    ]
    path = tmp_path / f"l.{kind}"
    if kind == "csv":
        labels_file(path, ",".join(header), *rows)
    else:
        pq.write_table(pa.table(dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))), path)
    with pytest.raises(UsageError, match=r"several questions .*--question"):
        read_labels(path)
    found = read_labels(path, question="nsfw:possible")
    assert found.answers == {"a": True, "b": False} and found.weighted and found.weights == {"a": 2.0, "b": 100.0}
    with pytest.raises(UsageError, match="no answer to 'nope'; there are keep, nsfw:possible"):
        read_labels(path, question="nope")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_leads_word_alone_counts_and_gold_is_left_out(tmp_path, kind):
    """As a release settles it, and as calibrate counts it."""
    header = ["uid", "answer", "adjudicates", "queue"]
    rows = [("a", "yes", False, "kept"), ("a", "yes", False, "kept"), ("a", "no", True, "kept"), ("b", "yes", False, "gold"),
        ("c", "no", False, "kept"), ("c", "unsure", True, "kept")]  # fmt: skip
    path = tmp_path / f"l.{kind}"
    if kind == "csv":
        labels_file(path, ",".join(header), *rows)
    else:
        pq.write_table(pa.table(dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))), path)
    found = read_labels(path)
    assert found.answers == {"a": False} and found.records == 5 and (found.unsure, found.split) == (0, 1)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("uid,answer,adjudicates", ("a", "yes", "lead"), "row 1: adjudicates 'lead' is not true or false"),
        ("uid,verdict", ("a", "yes"), "columns are uid, verdict; uid and answer are needed"),
        ("uid,answer", ("a", "maybe"), "row 1: answer 'maybe' is not yes, no or unsure"),
        ("uid,answer", ("", "yes"), "row 1: no uid"),
        ("uid,answer,sampling_probability", ("a", "yes", "0"), "sampling_probability '0' is not above 0"),
        ("uid,answer,sampling_probability", ("a", "yes", "nan"), "is not above 0"),
    ],
)
def test_mistakes_name_file_and_row(tmp_path, header, row, message):
    with pytest.raises(UsageError, match=message):
        read_labels(labels_file(tmp_path / "l.csv", header, row))


def test_files_that_are_no_labels(tmp_path):
    (tmp_path / "l.parquet").write_text("junk")
    (tmp_path / "latin.csv").write_bytes(b"uid,answer\n\xff,yes\n")
    for name, message in (("l.parquet", "cannot be read"), ("latin.csv", "cannot be read"), ("none.csv", "No such file")):
        with pytest.raises(UsageError, match=message):
            read_labels(tmp_path / name)
