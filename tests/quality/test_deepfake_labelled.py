"""The labelled set through evidence, faces, image and deepfake: a confusion table, and what must never happen."""

from collections import Counter

import pytest

from quality.deepfake import BANDS
from tests.scoring import sample_pairs
from tests.trust.bands import confusion, judged_pairs, judged_set, lines_of
from tests.trust.labelled import labelled


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return judged_set(tmp_path_factory.mktemp("trust"))


def test_the_set_is_large_and_holds_every_band():
    rows = labelled()
    assert len(rows) >= 40 and {row.band for row in rows} == set(BANDS) and len({row.name for row in rows}) == len(rows)


def test_each_file_gets_the_band_that_its_evidence_is_due(found):
    wrong = {row.name: (row.band, one["band"], one["evidence"]) for row, one in found if one["band"] != row.band}
    assert not wrong, "\n".join(f"{name}: due {due}, got {got}: {why}" for name, (due, got, why) in wrong.items())


def test_no_camera_file_and_no_drawing_is_above_low(found):
    for row, one in found:
        if row.name.startswith(("camera-", "drawing-", "editor-")):
            assert one["band"] in ("none", "low"), (row.name, one["evidence"])


def test_no_drawing_of_the_sample_is_above_low():
    pairs = sample_pairs(1000, step=1)
    bands = Counter(one["band"] for one in judged_pairs(pairs))
    assert set(bands) <= {"none", "low"} and bands.total() == len(pairs) > 700, bands


def test_the_table_counts_every_file(found):
    table = confusion(found)
    assert sum(sum(row.values()) for row in table.values()) == len(labelled())
    assert all(f"{band:8}" in "\n".join(lines_of(found)) for band in BANDS)
