"""Invisible watermarks: written by the tests' own encoder, read back, destroyed, and not found where there are none."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.evidence.watermark import SCHEMES, Watermark, decode, least_agreeing
from tests.conftest import SOAK
from tests.trust.watermarks import marked

KINDS = [(name, plane) for name, scheme in SCHEMES.items() for plane in scheme.planes]


def picture(seed: int, height: int = 320, width: int = 400, power: float = 1.0) -> np.ndarray:
    """RGB noise whose amplitude falls with frequency, as in photographs (Field, 1987)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    planes = [np.fft.irfft2(np.fft.rfft2(generator.normal(size=(height, width))) / frequency**power, (height, width)) for _ in range(3)]
    mixed = np.stack([planes[0] + 0.3 * planes[1], planes[0] - 0.2 * planes[2], planes[0] + 0.3 * planes[2]], -1)
    return np.clip(128 + 45 * mixed / mixed.std(), 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int, sampling: int = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444) -> np.ndarray:
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    data = cv2.imencode(".jpg", image[:, :, ::-1], flags)[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1])


@pytest.mark.parametrize(("scheme", "plane"), KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_is_read(scheme, plane, seed):
    bits = SCHEMES[scheme].bits
    found = decode(marked(picture(seed), bits, plane))
    assert found is not None and (found.scheme, found.bits) == (scheme, len(bits)) and found.agree >= len(bits) - 1


@pytest.mark.parametrize(("scheme", "plane"), KINDS)
def test_any_size_from_256_by_256_on(scheme, plane):
    bits = SCHEMES[scheme].bits
    for height, width in ((256, 256), (261, 517), (1000, 263)):
        found = decode(marked(picture(5, height, width), bits, plane))
        assert found is not None and found.scheme == scheme and found.agree >= 0.97 * len(bits)
    assert decode(marked(picture(5, 256, 256), bits, plane)[:255]) is None


def test_a_flat_picture_can_be_marked_and_is_not_when_it_is_not():
    for colour in (0, 90, 128, 255):
        flat = np.full((300, 300, 3), colour, np.uint8)
        assert decode(flat) is None
    bits = SCHEMES["stable-diffusion-xl"].bits
    assert decode(marked(np.full((300, 300, 3), 90, np.uint8), bits)) == Watermark("stable-diffusion-xl", 48, 48)


def test_another_message_is_none_of_ours():
    bits = SCHEMES["stable-diffusion-xl"].bits
    assert decode(marked(picture(1), bits.translate(str.maketrans("01", "10")))) is None
    assert decode(marked(picture(1), bits[1:] + bits[:1])) is None


@pytest.mark.parametrize(("wrong", "found"), [(7, True), (8, False)])
def test_41_of_48_bits_are_enough(wrong, found):
    bits = SCHEMES["stable-diffusion-xl"].bits
    flipped = "".join("10"[int(bit)] if index % 6 == 0 and index < 6 * wrong else bit for index, bit in enumerate(bits))
    expected = Watermark("stable-diffusion-xl", 41, 48) if found else None
    assert decode(marked(np.full((384, 384, 3), 100, np.uint8), flipped)) == expected


def test_the_bounds_follow_from_chance():
    assert {name: scheme.least for name, scheme in SCHEMES.items()} == {
        "stable-diffusion-xl": 41,
        "flux": 40,
        "stable-diffusion-1": 97,
        "stable-diffusion-2": 30,
    }
    assert least_agreeing(22) == 22  # 2**-22 is 2.4e-7: all of them
    assert [len(scheme.bits) for scheme in SCHEMES.values()] == [48, 46, 136, 32]


# In how many of 6 pictures it is found still, at least and at most. These pictures are kinder to it than photographs: see the module's figures.
@pytest.mark.parametrize(
    ("change", "least", "most"),
    [
        (lambda image: jpeg(image, 90), 6, 6),
        (lambda image: jpeg(image, 50), 6, 6),
        (lambda image: jpeg(image, 50, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420), 0, 1),
        (lambda image: image[: len(image) - len(image) // 20], 6, 6),  # cut at the bottom: the blocks stay where they were
        (lambda image: np.ascontiguousarray(image[8:-8, 10:-10]), 0, 0),  # 5 % of the width
        (lambda image: cv2.resize(image, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA), 0, 0),
    ],
    ids=["jpeg90-444", "jpeg50-444", "jpeg50-420", "bottom", "crop", "resize"],
)
def test_what_it_outlives(change, least, most):
    bits = SCHEMES["stable-diffusion-xl"].bits
    found = [decode(change(marked(picture(seed), bits, "floats"))) for seed in range(6)]
    assert least <= sum(one is not None for one in found) <= most


@settings(max_examples=2000 if SOAK else 40, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 2), st.sampled_from([256, 384, 401]))
def test_not_found_where_there_is_none(seed, power, width):
    assert decode(picture(seed, 256, width, power)) is None


@pytest.mark.parametrize("period", [1, 8, 16, 48, 96, 384])
def test_stripes_are_no_message(period):
    """At a width of 384 each bit keeps to one column of blocks: what stripes have in common adds up."""
    image = np.full((400, 384, 3), 40, np.uint8)
    image[:, np.arange(384) // period % 2 == 1] = (200, 30, 220)
    assert decode(image) is None and decode(np.ascontiguousarray(image.transpose(1, 0, 2))) is None


@settings(max_examples=1000 if SOAK else 60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_no_size_breaks_it(height, width):
    assert decode(np.zeros((height, width * 3, 3), np.uint8)) is None
