"""Near-duplicates against brute force: what is found, who wins, and that no order matters."""

import io
from itertools import pairwise

import cv2
import numpy as np
import pdqhash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from quality.near.shuffle import band_rows, best_of, met_in_group, winners_in_group
from quality.near_duplicates import met, near_losers, winners
from quality.scorers.batch import PairBatch
from quality.scorers.image import Image as ImageScorer
from tests.conftest import SOAK

COLOUR = 6.0


def flipped(draw: np.random.Generator, hash_: np.ndarray, bits: int) -> np.ndarray:
    """The hash, uint8 (32,), with `bits` different bits turned."""
    turned = np.zeros(256, np.uint8)
    turned[draw.choice(256, bits, replace=False)] = 1
    return hash_ ^ np.packbits(turned)


def pool(seed: int, n: int, *, spread: int = 40, colours: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clustered hashes (n, 32), distinct ranks, thumbnails (n, 192) around a few colours: many pairs on both sides of every bound."""
    draw = np.random.default_rng(seed)
    hashes = draw.integers(0, 256, (n, 32), dtype=np.uint8)
    for row in range(1, n):
        if draw.random() < 0.7:
            hashes[row] = flipped(draw, hashes[draw.integers(row)], int(draw.integers(spread)))
    base = draw.integers(20, 230, (colours, 1, 3))
    noise = draw.integers(-4, 5, (n, 64, 3)) * draw.integers(0, 2, (n, 1, 1)) + draw.integers(-2, 3, (n, 1, 1))
    thumbnails = (base[draw.integers(colours, size=n)] + noise).clip(0, 255).astype(np.uint8).reshape(n, 192)
    return hashes, draw.permutation(n), thumbnails


def near(hashes: np.ndarray, thumbnails: np.ndarray, distance: int, colour: float) -> tuple[np.ndarray, np.ndarray]:
    """By definition, all with all: (within the distance, and of like colours too), bool (n, n), nobody with itself."""
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(2, dtype=np.int64)
    cells = thumbnails.reshape(len(thumbnails), 64, 3).astype(np.float64)
    lab = np.stack([np.sqrt(((cells - one) ** 2).sum(2)).sum(1) for one in cells])
    within = (apart <= distance) & ~np.eye(len(hashes), dtype=bool)
    return within, within & (lab <= 64 * colour)


def expected(alike: np.ndarray, rank: np.ndarray) -> np.ndarray:
    better = alike & (rank[None] < rank[:, None])
    best = np.where(better, rank[None], len(rank)).argmin(1)
    return np.where(better.any(1), best, -1)


@settings(max_examples=200 if SOAK else 12, deadline=None)
@given(
    seed=st.integers(0, 1 << 30), n=st.integers(1, 150), distance=st.sampled_from([0, 1, 15, 16, 30, 31]), threads=st.sampled_from([1, 2])
)
def test_is_what_brute_force_finds(seed, n, distance, threads):
    hashes, rank, thumbnails = pool(seed, n)
    within, alike = near(hashes, thumbnails, distance, COLOUR)
    assert np.array_equal(met(hashes, distance=distance, threads=threads), within.any(1))
    found = winners(hashes, rank, thumbnails, colour_distance=COLOUR, distance=distance, threads=threads)
    assert np.array_equal(found, expected(alike, rank))


@settings(max_examples=60 if SOAK else 5, deadline=None)
@given(seed=st.integers(0, 1 << 30), n=st.integers(1, 90), distance=st.sampled_from([15, 31]))
def test_shuffled_search_gives_the_same_answer(seed, n, distance):
    hashes, rank, thumbnails = pool(seed, n)
    key, row, home = band_rows(hashes, distance=distance)
    marked, parts = np.zeros(n, bool), []
    for each in np.unique(key):
        here = np.flatnonzero(key == each)
        rows = row[here]
        marked[rows] |= met_in_group(hashes[rows], home[here], distance=distance)
        won = winners_in_group(hashes[rows], home[here], rank[rows], thumbnails[rows], colour_distance=COLOUR, distance=distance)
        lost = won >= 0
        parts.append((rows[lost], rows[won[lost]]))
    losers, better = (np.concatenate(part) for part in zip(*parts, strict=True))
    losers, better = best_of(losers, better, rank[better])
    found = np.full(n, -1)
    found[losers] = better
    assert np.array_equal(marked, met(hashes, distance=distance))
    assert np.array_equal(found, winners(hashes, rank, thumbnails, colour_distance=COLOUR, distance=distance))


def test_all_planted_at_31_are_found_and_none_at_32():
    draw = np.random.default_rng(3)
    sources = draw.integers(0, 256, (5000, 32), dtype=np.uint8)
    at_31 = np.stack([flipped(draw, one, 31) for one in sources])
    assert met(np.concatenate([sources, at_31])).all()
    at_32 = np.stack([flipped(draw, one, 32) for one in sources[:1000]])
    assert not met(np.concatenate([sources[:1000], at_32])).any()


def test_fast_finds_all_to_15():
    draw = np.random.default_rng(4)
    sources = draw.integers(0, 256, (1000, 32), dtype=np.uint8)
    planted = np.stack([flipped(draw, one, int(bits)) for one, bits in zip(sources, draw.integers(0, 16, 1000), strict=True)])
    assert met(np.concatenate([sources, planted]), fast=True).all()


def test_no_order_matters():
    hashes, rank, thumbnails = pool(5, 400)
    found = winners(hashes, rank, thumbnails, colour_distance=COLOUR)
    assert (found >= 0).sum() > 20
    order = np.random.default_rng(6).permutation(400)
    again = winners(hashes[order], rank[order], thumbnails[order], colour_distance=COLOUR, threads=2)
    back = np.full(400, -1)
    back[order] = np.where(again >= 0, order[again], -1)
    assert np.array_equal(found, back)


@pytest.mark.parametrize(("colour", "lost"), [(5.0, True), (4.999, False)])
def test_colour_bound_is_inclusive(colour, lost):
    thumbnails = np.full((2, 64, 3), 100, np.uint8)
    thumbnails[1, :, :2] += np.array([3, 4], np.uint8)  # every cell is 5 apart
    hashes = np.zeros((2, 32), np.uint8)
    found = winners(hashes, np.array([0, 1]), thumbnails.reshape(2, 192), colour_distance=colour)
    assert found.tolist() == [-1, 0 if lost else -1]


@pytest.mark.parametrize(("quality", "losers"), [((50, 50), [1]), ((50, 49), []), ((49, 50), [])])
def test_quality_bound_is_inclusive_on_both_sides(quality, losers):
    hashes, thumbnails = np.zeros((2, 32), np.uint8), np.zeros((2, 192), np.uint8)
    rows, won = near_losers(hashes, np.array(quality), np.array([0, 1]), lambda rows: thumbnails[rows], colour_distance=COLOUR)
    assert rows.tolist() == losers
    assert won.tolist() == [0] * len(losers)


def test_a_dropped_pair_drops_what_is_near_it_too():
    """A chain of 20 bits a link: each loses to the one before, which is near, and none to the first, which is not."""
    draw = np.random.default_rng(7)
    places = draw.permutation(256)
    hashes = [np.zeros(256, np.uint8)]
    for start in (0, 20, 40):
        hashes.append(hashes[-1].copy())
        hashes[-1][places[start : start + 20]] ^= 1
    packed = np.packbits(np.array(hashes), axis=1)
    assert [int(np.bitwise_count(a ^ b).sum()) for a, b in pairwise(packed)] == [20, 20, 20]
    assert winners(packed, np.arange(4), np.zeros((4, 192), np.uint8), colour_distance=COLOUR).tolist() == [-1, 0, 1, 2]


def test_many_equal_hashes_are_quick():
    n = 200_000
    hashes, thumbnails = np.zeros((n, 32), np.uint8), np.zeros((n, 192), np.uint8)
    assert met(hashes).all()
    assert winners(hashes, np.arange(n), thumbnails, colour_distance=COLOUR).tolist() == [-1, *[0] * (n - 1)]


def test_empty_and_one():
    nothing = np.empty((0, 32), np.uint8)
    assert met(nothing).shape == (0,)
    assert winners(nothing, np.empty(0, int), np.empty((0, 192), np.uint8), colour_distance=COLOUR).shape == (0,)
    assert met(np.zeros((1, 32), np.uint8)).tolist() == [False]


def test_what_cannot_be_answered_is_refused():
    hashes, thumbnails = np.zeros((2, 32), np.uint8), np.zeros((2, 192), np.uint8)
    with pytest.raises(ValueError, match="one rank"):
        winners(hashes, np.array([1, 1]), thumbnails, colour_distance=COLOUR)
    with pytest.raises(ValueError, match="0 to 31"):
        met(hashes, distance=32)
    with pytest.raises(ValueError, match=r"uint8 \(n, 32\)"):
        met(np.zeros((2, 31), np.uint8))


def test_distance_is_the_published_one():
    """ThreatExchange, PDQ's PDQHasherTest: these two hashes are 120 bits apart."""
    a = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
    b = "30a10efd71cc3d429013d48d0ffffc52e34e0e17ada952a9d29685211ea9e5af"
    hashes = np.array([list(bytes.fromhex(each)) for each in (a, b)], np.uint8)
    assert int(np.bitwise_count(hashes[0] ^ hashes[1]).sum()) == 120
    assert not met(hashes).any()


def heart(colour: str) -> bytes:
    image = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 50, 130, 140), fill=colour)
    draw.ellipse((126, 50, 216, 140), fill=colour)
    draw.polygon(((46, 115), (210, 115), (128, 225)), fill=colour)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_hearts_of_six_colours_stay_and_a_smaller_copy_goes():
    colours = ["#e0202a", "#f4a020", "#f7dd30", "#2ea043", "#2060d0", "#8030b0"]
    files = [heart(colour) for colour in colours]
    small = cv2.resize(cv2.imdecode(np.frombuffer(files[0], np.uint8), 1), (200, 200), interpolation=cv2.INTER_AREA)
    files.append(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())
    scorer = ImageScorer()
    scorer.load()
    scores = scorer.score(PairBatch([None] * len(files), files)).to_pydict()
    hashes = np.array([list(value) for value in scores["pdq"]], np.uint8)
    thumbnails = np.array([list(value) for value in scores["thumbnail"]], np.uint8)
    assert (np.bitwise_count(hashes[:6, None] ^ hashes[None, :6]).sum(2) <= 31).all(), (
        "PDQ does not tell the hearts apart: the point of this test"
    )
    rows, won = near_losers(hashes, np.array(scores["pdq_quality"]), np.arange(7), lambda rows: thumbnails[rows], colour_distance=COLOUR)
    assert (rows.tolist(), won.tolist()) == ([6], [0])
    assert pdqhash.compute(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))[1] >= 50
