"""The table of photographs: licences that may be used, nothing twice, nothing of it in the repository; and what is installed is a picture."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from quality.images.header import read_header
from tests.bench.faces import summary
from tests.trust.photographs import NO_RIGHTS, PHOTOGRAPHS, installed

ROOT = Path(__file__).parents[2]


def test_licences_are_free_and_named():
    assert {photograph.license for photograph in PHOTOGRAPHS} <= {
        "public domain",
        "CC0-1.0",
        "CC-BY-2.0",
        "CC-BY-4.0",
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        NO_RIGHTS,
    }
    assert all(photograph.credit and photograph.package for photograph in PHOTOGRAPHS)


def test_count_by_package():
    assert Counter(photograph.package for photograph in PHOTOGRAPHS) == {
        "scikit-image": 13,
        "scikit-learn": 2,
        "matplotlib": 1,
        "lomiri-wallpapers-16.04": 13,
        "lomiri-wallpapers-20.04": 1,
    }
    assert len({photograph.path for photograph in PHOTOGRAPHS}) == len(PHOTOGRAPHS) == 30


def test_what_is_installed_is_a_picture_and_is_not_in_the_repository():
    found = installed()
    if not found:
        pytest.skip("not run: no package of photographs is installed (the extra `photographs`)")
    assert all(read_header(path.read_bytes()) is not None for _, path in found)
    pictures = {".jpg", ".jpeg", ".png", ".webp"}
    ours = {hashlib.sha256(path.read_bytes()).digest() for path in (ROOT / "tests" / "data").rglob("*") if path.suffix in pictures}
    assert ours and not {hashlib.sha256(path.read_bytes()).digest() for _, path in found} & ours


def test_few_pictures_are_no_claim():
    hopper, brick = (next(one for one in PHOTOGRAPHS if one.name == name) for name in ("grace_hopper.jpg", "brick.png"))
    assert summary([(hopper, 2), (hopper, 0), (brick, 1)] + [(brick, 0)] * 29)[1:] == [
        "precision       1 of   2, interval 0.09 to 0.91; below 30: no claim",
        "recall          1 of   2, interval 0.09 to 0.91; below 30: no claim",
        "wrong alarms    1 of  30, interval 0.01 to 0.17",
    ]
