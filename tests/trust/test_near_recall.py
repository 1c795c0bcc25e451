"""Near-duplicates of changed pictures: the sure cases, and the bench's own rule against the search itself."""

import numpy as np
import pytest

from quality.near_duplicates import near_losers
from tests.bench.near_recall import COLOUR, measured, recall
from tests.trust.changes import CHANGES, sample


@pytest.fixture(scope="module")
def drawings() -> list[np.ndarray]:
    return sample(40)


def test_drawings_saved_again_or_made_a_little_smaller_are_found(drawings):
    """tests.bench.near_recall on 236 drawings finds 0.996, 0.987 and 0.936."""
    found = recall(drawings, {name: CHANGES[name] for name in ("JPEG 90", "JPEG 75", "resize 0.9")})
    assert found["JPEG 90"].found >= 0.97 and found["JPEG 75"].found >= 0.95 and found["resize 0.9"].found >= 0.85
    assert all(one.distance <= 16 for one in found.values())


def test_what_is_lost_is_lost_to_one_thing(drawings):
    found = recall(drawings[:12], {"none": lambda image: image, **CHANGES, "grey": lambda image: np.full_like(image, 128)})
    assert found["none"].found == 1 and found["none"].distance == 0
    assert found["grey"].lost_to_quality == 1
    assert found["mirror"].found <= 0.4 and found["mirror"].distance >= 90  # found where the drawing is its own mirror image
    for one in found.values():
        assert one.found + one.lost_to_quality + one.lost_to_distance + one.lost_to_colour == pytest.approx(1)


@pytest.mark.parametrize("change", ["JPEG 50", "brightness 1.2", "caption overlay"])
def test_found_is_what_the_search_finds(drawings, change):
    images = [image for image, row in zip(drawings, measured(drawings), strict=True) if row["pdq_quality"] >= 50][:8]
    searched = []
    for image in images:
        rows = measured([image, CHANGES[change](image)])
        hashes, thumbnails = (np.array([np.frombuffer(row[name], np.uint8) for row in rows]) for name in ("pdq", "thumbnail"))
        quality = np.array([row["pdq_quality"] for row in rows])
        lost, to = near_losers(hashes, quality, np.arange(2), thumbnails.__getitem__, colour_distance=COLOUR)
        assert (lost.tolist(), to.tolist()) in (([1], [0]), ([], []))
        searched.append(len(lost))
    assert recall(images, {change: CHANGES[change]})[change].found == sum(searched) / len(searched)
