"""Measurements of pixels, against their definitions and the libraries they come from."""

import cv2
import numpy as np
import pdqhash
import pytest
from PIL import Image as Pillow

from quality.scorers.batch import PairBatch
from quality.scorers.image import Image
from tests.scoring import drawn_pairs, encoded, sample_pairs


def measured(*data):
    return Image().score(PairBatch([None] * len(data), list(data))).to_pylist()


def bits(digest: bytes) -> np.ndarray:
    return np.unpackbits(np.frombuffer(digest, np.uint8))


def test_one_colour():
    row = measured(encoded(np.full((60, 90, 3), 128, np.uint8), ".png"))[0]
    assert (row["width"], row["height"], row["smallest_side"], row["aspect"]) == (90, 60, 60, 1.5)
    assert (row["entropy"], row["sharpness"], row["pdq_quality"], row["error"]) == (0, 0, 0, None)
    assert row["thumbnail"] == bytes(cv2.cvtColor(np.full((1, 1, 3), 128, np.uint8), cv2.COLOR_RGB2LAB)) * 64


def test_entropy_counts_bits():
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 255
    quarters = np.repeat(np.array([0, 60, 120, 255], np.uint8), 16)[None, :, None].repeat(64, 0).repeat(3, 2)
    assert [row["entropy"] for row in measured(encoded(halves, ".png"), encoded(quarters, ".png"))] == [1, 2]


def test_blur_lowers_sharpness():
    (_, sharp), *_ = drawn_pairs()
    image = cv2.imdecode(np.frombuffer(sharp, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    values = [measured(encoded(cv2.GaussianBlur(image, (0, 0), sigma), ".png"))[0]["sharpness"] for sigma in (0.5, 2, 8)]
    assert values == sorted(values, reverse=True) and values[0] > 10 * values[2]


@pytest.mark.parametrize("pairs", [drawn_pairs(".png"), drawn_pairs(".jpg"), sample_pairs(40)], ids=["png", "jpeg", "sample"])
def test_pdq_is_the_librarys_on_whole_images(pairs):
    batch = PairBatch(*zip(*pairs, strict=True))
    for row, pixels in zip(Image().score(batch).to_pylist(), batch.pixels(side=None), strict=True):
        expected, quality = pdqhash.compute(np.ascontiguousarray(pixels))
        assert row["pdq_quality"] == pytest.approx(quality, abs=5)
        if quality >= 50:
            assert int((bits(row["pdq"]) != expected).sum()) <= 10


def test_pdq_of_a_large_photograph_survives_scaled_decoding():
    noise = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = cv2.resize(noise, (2400, 1800), interpolation=cv2.INTER_CUBIC)
    expected, quality = pdqhash.compute(image)
    row = measured(encoded(image))[0]
    assert row["pdq_quality"] == quality == 100
    assert int((bits(row["pdq"]) != expected).sum()) <= 16  # half of what near duplicates may differ in


def test_hashes_move_little_with_compression_and_much_with_content():
    first, second = (image for _, image in drawn_pairs(".png")[2:4])
    again = encoded(cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1], ".jpg")
    a, b, c = measured(first, again, second)
    for name, near, far in (("pdq", 16, 80), ("phash", 6, 16)):
        assert (bits(a[name]) != bits(b[name])).sum() <= near
        assert (bits(a[name]) != bits(c[name])).sum() >= far


def test_thumbnail_tells_colours_apart():
    hearts = [encoded(np.full((99, 99, 3), colour, np.uint8), ".png") for colour in ((255, 0, 0), (0, 0, 255))]
    red, blue = (np.frombuffer(row["thumbnail"], np.uint8).astype(int) for row in measured(*hearts))
    assert np.abs(red - blue).max() > 50


def test_sizes_are_upright(tmp_path):
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.new("RGB", (80, 40)).save(tmp_path / "a.jpg", exif=exif)
    row = measured((tmp_path / "a.jpg").read_bytes())[0]
    assert (row["width"], row["height"], row["aspect"], row["bytes"]) == (40, 80, 2.0, (tmp_path / "a.jpg").stat().st_size)


def test_bad_bytes_get_a_reason_and_no_bytes_get_nothing():
    whole = drawn_pairs(".jpg")[0][1]
    failed, junk, cut = measured(None, b"<html>", whole[: len(whole) // 2])
    assert set(failed.values()) == {None}
    assert junk.pop("error").startswith("not_image: ") and junk.pop("bytes") == 6 and set(junk.values()) == {None}
    assert cut["error"].startswith("undecodable: ") and cut["pdq"] is None and cut["thumbnail"] is None and cut["width"] > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 2), (513, 4000)])
def test_odd_sizes(shape):
    row = measured(encoded(np.full((*shape, 3), 9, np.uint8), ".png"))[0]
    assert row["error"] is None and len(row["pdq"]) == 32 and len(row["phash"]) == 8 and len(row["thumbnail"]) == 192
    assert row["aspect"] == pytest.approx(max(shape) / min(shape), abs=1e-4)
