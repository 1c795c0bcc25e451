"""Chunks of pairs: how units are cut, what is decoded when."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pyarrow as pa
import pytest

from quality.scorers.batch import CHUNK_ROWS, PairBatch, chunks
from tests.scoring import drawn_pairs, encoded


def cut(data, **options):
    return [(first, len(part)) for first, part in chunks(len(data), lambda a, b: data[a:b], **options)]


def test_chunks_start_at_multiples_of_64():
    assert cut([None] * 130) == [(0, 64), (64, 64), (128, 2)]
    assert cut([]) == []
    assert CHUNK_ROWS == 64


def test_chunks_hold_no_more_pixels_than_asked():
    image = encoded(np.zeros((100, 100, 3), np.uint8), ".png")  # 30,000 bytes of pixels
    assert cut([image] * 7, pixel_bytes=90_000) == [(0, 3), (3, 3), (6, 1)]
    assert cut([image] * 3, pixel_bytes=1) == [(0, 1), (1, 1), (2, 1)]  # one too large for the bound stands alone
    assert cut([None, b"junk", image, None, image], pixel_bytes=30_000) == [(0, 4), (4, 1)]
    assert cut([image] * 7, pixel_bytes=90_000, side=50) == [(0, 7)]  # halved: 7,500 bytes each


def test_a_chunk_in_the_middle_does_not_move_the_next_64():
    image = encoded(np.zeros((100, 100, 3), np.uint8), ".png")
    assert [first for first, _ in cut([image] * 130, pixel_bytes=30_000 * 50)] == [0, 50, 64, 114, 128]


def test_pixels_and_errors():
    good = encoded(np.full((40, 30, 3), 200, np.uint8), ".png")
    batch = PairBatch(["a", None, "c", "d"], [good, None, b"not an image", good[: len(good) // 2]])
    pixels, errors = batch.pixels(), batch.errors()
    assert pixels[0].shape == (40, 30, 3) and pixels[0].dtype == np.uint8 and (pixels[0] == 200).all()
    assert pixels[1:] == [None, None, None]
    assert errors[:2] == [None, None]
    assert errors[2].startswith("not_image: ") and errors[3].split(":")[0] in ("undecodable", "not_image")


def test_too_many_pixels_are_not_decoded():
    png = encoded(np.zeros((100, 101, 3), np.uint8), ".png")
    assert PairBatch(["a"], [png], max_pixels=10_100).errors() == [None]
    assert PairBatch(["a"], [png], max_pixels=10_099).errors()[0].startswith("pixels: ")


@pytest.mark.parametrize("format", [".png", ".jpg"])
def test_large_images_come_scaled_down_and_never_below_the_side(format):
    image = cv2.resize(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5, (900, 700), interpolation=cv2.INTER_LINEAR)
    batch = PairBatch(["a"], [encoded(image, format)])
    small, whole = batch.pixels(side=256)[0], batch.pixels(side=None)[0]
    assert whole.shape == (700, 900, 3)
    assert 256 <= min(small.shape[:2]) < 512
    assert abs(float(small.mean()) - float(whole.mean())) < 1
    assert batch.pixels(side=512)[0].shape[0] >= 512


def test_prefetching_changes_nothing():
    pairs = [*drawn_pairs(".jpg"), ("x", b"junk"), ("y", None)]
    captions, data = zip(*pairs, strict=True)
    plain, ahead = PairBatch(captions, data), PairBatch(captions, data)
    with ThreadPoolExecutor(2) as executor:
        ahead.prefetch([512], executor)
        assert ahead.errors() == plain.errors()
        assert all((a is None and b is None) or np.array_equal(a, b) for a, b in zip(ahead.pixels(), plain.pixels(), strict=True))


def test_columns():
    batch = PairBatch(["a", "b"], [None, None])
    batch.add_columns({"embed.x": pa.array([1, 2])})
    assert batch.column("embed.x").to_pylist() == [1, 2]
    with pytest.raises(KeyError, match=r"embed\.y is not among embed\.x"):
        batch.column("embed.y")
