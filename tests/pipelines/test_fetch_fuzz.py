"""Spoilt images and answers, through all that fetching and scoring do to them: a word for each, and nothing that ends, holds up or fills
a process. Seeds make them again (tests/fuzzing.py); PIGMENT_SOAK=1 tries 10,000 of both."""

from pathlib import Path

import pytest

from schemas.reasons import FETCH_ERRORS
from tests.conftest import SOAK
from tests.fuzzing import UNIT_TIMEOUT_S, Found, apart, whole_answers, whole_images
from tests.mutations import mutated

COUNT = 10_000 if SOAK else 300
SECONDS = {"images": 3.0, "answers": UNIT_TIMEOUT_S}  # of one image through all steps; of a unit of answers
GROWN = 60_000_000  # bytes of memory from the first quarter to the end: caches of libraries, and no leak of an image a case


@pytest.mark.parametrize("case", ["images", "answers"])
def test_spoilt_bytes_get_a_word(case, tmp_path):
    found = apart(case, range(COUNT), tmp_path)
    check(found, SECONDS[case])


def check(found: Found, seconds: float) -> None:
    known = {*FETCH_ERRORS, "success"} - {"deadline"}
    assert {word for word in found.words if word not in known and not word.startswith("http_")} == set()
    assert found.words["success"] > COUNT // 20  # what is spoilt beyond recognition tries nothing
    assert found.seconds < seconds, f"seed {found.slowest}"
    assert found.grown < GROWN
    assert found.left == []


def test_a_process_that_dies_is_told_with_its_seed(tmp_path):
    with pytest.raises(AssertionError, match=r"deaths, seed 7, .*: the process died"):
        apart("deaths", range(5, 10), tmp_path)
    assert Path(tmp_path, "bytes").read_bytes() == b"seventh"


def test_the_same_seed_spoils_alike():
    for known in (whole_images()[:20], whole_answers()):
        spoilt = [mutated(known[seed % len(known)], known, seed) for seed in range(200)]
        assert spoilt == [mutated(known[seed % len(known)], known, seed) for seed in range(200)]
        assert len(set(spoilt)) > 180
