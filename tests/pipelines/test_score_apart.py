"""Pairs that end the process which scores them: found, told, and without a trace in the scores of the others."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.apart import Died
from pipelines.steps.loaded_scorers import LoadedScorers, ScorerBug
from pipelines.steps.score_apart import CRASHED, score_unit_apart
from pipelines.steps.score_units import score_unit
from quality.scorers.image import Image
from schemas.pool import Pool
from tests.crashing import Crashes, trap
from tests.scoring import drawn_pairs, put_unit

UNIT = "0123456789abcdef-00000"
TRAPS = (3, 40, 69)  # two in the first chunk, one in the second


class CrashesTogether(Crashes):
    """At any two pictures."""

    def score(self, batch):
        if sum(data is not None for data in batch.data) > 1:
            ctypes.string_at(0)
        return super().score(batch)


class Raises(Crashes):
    def score(self, batch):
        raise ZeroDivisionError("oh")


def pool_of(folder, traps: bool) -> Pool:
    """70 pairs; at TRAPS a trap, or a pair without caption and bytes."""
    pairs = (drawn_pairs(".jpg") * 8)[:70]
    for row in TRAPS:
        pairs[row] = ("a trap", trap(row)) if traps else (None, None)
    pool = Pool(folder)
    put_unit(pool, UNIT, pairs)
    return pool


def test_others_are_scored_as_beside_a_pair_without_bytes(tmp_path):
    scorers = (Image(), Crashes())
    found = score_unit_apart(pool_of(tmp_path / "trapped", True), UNIT, scorers, stored={})
    with ThreadPoolExecutor(1) as executor:
        expected = score_unit(pool_of(tmp_path / "bare", False), UNIT, LoadedScorers(scorers), executor=executor)
    assert found.schema.equals(expected.schema, check_metadata=True)
    assert {row: error for row, error in enumerate(found["image.error"].to_pylist()) if error is not None} == dict.fromkeys(TRAPS, CRASHED)
    assert found.drop_columns("image.error").equals(expected.drop_columns("image.error"))
    assert found["lengths.bytes"].null_count == len(TRAPS)


def test_scores_of_a_unit_without_traps_are_the_same(tmp_path):
    pool, scorers = pool_of(tmp_path / "bare", False), (Image(), Crashes())
    with ThreadPoolExecutor(1) as executor:
        expected = score_unit(pool, UNIT, LoadedScorers(scorers), executor=executor)
    assert score_unit_apart(pool, UNIT, scorers, stored={}).equals(expected)


def test_where_no_pair_alone_is_to_blame_the_scorer_is(tmp_path):
    with pytest.raises(
        ScorerBug, match=f"scores unit {UNIT}, rows 0 to 63 ends, and no pair of them is to blame alone.*signal 11"
    ) as raised:
        score_unit_apart(pool_of(tmp_path / "bare", False), UNIT, (Image(), CrashesTogether()), stored={})
    assert isinstance(raised.value.__cause__, Died)


def test_a_scorer_that_raises_is_told_as_ever(tmp_path):
    with pytest.raises(ScorerBug, match=f"raised at unit {UNIT}, rows 0 to 63: ZeroDivisionError: oh"):
        score_unit_apart(pool_of(tmp_path / "bare", False), UNIT, (Raises(),), stored={})
