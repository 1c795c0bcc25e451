"""Where the default policy sends pairs by what trust scorers say of them. For NSFW bounds are moved to harmless images, not images to bounds."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from quality.rules import Rules, find_policy
from quality.scorers.batch import PairBatch
from quality.scorers.nsfw import Nsfw
from schemas.policy import Policy
from schemas.reasons import VERDICTS
from tests.scoring import sample_pairs

POLICY = find_policy("embedded")


def only(family: str) -> Policy:
    """The default policy's rules of one family of reasons."""
    return replace(POLICY, rules=tuple(rule for rule in POLICY.rules if rule.reason.startswith(f"{family}:")))


def moved(policy: Policy, reason: str, bound: float) -> Policy:
    assert any(rule.reason == reason for rule in policy.rules)
    return replace(policy, rules=tuple(replace(rule, max=bound) if rule.reason == reason else rule for rule in policy.rules))


def decided(policy: Policy, **columns: pa.Array) -> list[tuple[str, list[str]]]:
    """(verdict, reasons) of fetched pairs with these columns, "__" for a dot."""
    rows = len(next(iter(columns.values())))
    table = {"status": pa.array(["success"] * rows), "image.error": pa.nulls(rows, pa.string())}
    table |= {name.replace("__", "."): column for name, column in columns.items()}
    ruled = Rules(policy).apply(pa.table(table))
    return [(VERDICTS[code], reasons) for code, reasons in zip(ruled.verdict.tolist(), ruled.reason_lists().to_pylist(), strict=True)]


def numbers(*values):
    return pa.array(values, pa.float32())


@pytest.fixture(scope="module")
def scores() -> pa.Array:
    """Open-NSFW of 24 harmless drawings."""
    scorer = Nsfw()
    scorer.load()
    return scorer.score(PairBatch(*zip(*sample_pairs(24), strict=True))).column("open_nsfw")


def test_harmless_images_are_kept(scores):
    nothing = pa.nulls(len(scores), pa.float32())
    assert decided(only("nsfw"), nsfw__open_nsfw=scores, nsfw__disagreement=nothing) == [("keep", [])] * len(scores)


def test_moved_bounds_move_exactly_the_pairs_above_them(scores):
    values = np.asarray(scores)
    nothing = pa.nulls(len(scores), pa.float32())
    low, high = (float(value) for value in np.quantile(values, [0.4, 0.8], method="lower"))
    assert values.min() < low < high < values.max()
    policy = moved(moved(only("nsfw"), "nsfw:possible", low), "nsfw:high", high)
    for value, (verdict, reasons) in zip(values, decided(policy, nsfw__open_nsfw=scores, nsfw__disagreement=nothing), strict=True):
        assert verdict == ("drop" if value > np.float32(high) else "review" if value > np.float32(low) else "keep"), value
        assert ("nsfw:high" in reasons, "nsfw:possible" in reasons) == (value > np.float32(high), value > np.float32(low))


def test_an_image_that_was_not_measured_is_not_kept():
    found = decided(only("nsfw"), nsfw__open_nsfw=numbers(None), nsfw__disagreement=numbers(None))
    assert found == [("drop", ["nsfw:missing"])]


@pytest.mark.parametrize(("disagreement", "verdict"), [(None, "keep"), (0.5, "keep"), (0.5001, "review"), (1.0, "review")])
def test_disagreement_goes_to_review(disagreement, verdict):
    found = decided(only("nsfw"), nsfw__open_nsfw=numbers(0.1), nsfw__disagreement=numbers(disagreement))
    assert found == [(verdict, ["nsfw:disagreement"] if verdict == "review" else [])]


def test_every_band_has_its_way():
    bands = pa.array(["none", "low", "review", "high", None])
    assert decided(only("deepfake"), deepfake__band=bands) == [
        ("keep", []), ("keep", []), ("review", ["deepfake:possible"]), ("drop", ["deepfake:high"]), ("review", ["deepfake:missing"]),
    ]  # fmt: skip
