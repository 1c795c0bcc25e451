"""The compiled search of blocks against the method's arithmetic as other implementations have it: float32, array by array."""

import numpy as np
import pytest

from quality.evidence.blocks import PLANES, STEP, block_bits, ones_of
from tests.conftest import SOAK
from tests.quality.test_evidence_watermark import picture

_HALF = np.float32(2 * 0.492)


def in_floats(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The low band of each plane, float32 (height, width)."""
    red, green, blue = (pixels[:, :, channel].astype(np.float32) for channel in range(3))
    bluish = _HALF * (0.886 * blue - 0.587 * green - 0.299 * red)
    reddish = _HALF * (0.886 * red - 0.587 * green - 0.299 * blue)
    return {"bytes": bluish + 256, "floats": np.abs(bluish + 1), "swapped": np.abs(reddish + 1)}


def upper(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64) % STEP > STEP / 2


@pytest.mark.parametrize("size", [(128, 128), (132, 260), (4, 4), (160, 200)])
def test_the_bits_are_those_of_the_method(size):
    for seed, pixels in enumerate((picture(3, *size), picture(4, *size, power=0), np.full((*size, 3), 37, np.uint8))):
        found = block_bits(pixels)
        for plane, low in in_floats(pixels).items():
            blocks = low.reshape(size[0] // 4, 4, size[1] // 4, 4).transpose(0, 2, 1, 3).reshape(-1, 16)
            np.testing.assert_array_equal(found[PLANES.index(plane)], upper(blocks[:, 1:].max(1)), err_msg=f"{plane}, {seed}")


def test_no_colour_is_rounded_over_a_bound():
    """The bit of a block in one colour is that of float32: of every colour in the soak, of a fifteenth of them else."""
    green, blue = (axis.ravel() for axis in np.mgrid[0:256, 0:256].astype(np.uint8))
    for red in range(0, 256, 1 if SOAK else 15):
        pixels = np.stack([np.full_like(green, red), green, blue], -1)
        found = block_bits(np.repeat(pixels, 4, 0)[None].repeat(4, 0))  # a row of 65,536 blocks
        for plane, low in in_floats(pixels[None]).items():
            np.testing.assert_array_equal(found[PLANES.index(plane)], upper(low[0]), err_msg=f"{plane}, red {red}")


def test_the_first_of_a_block_is_left_out():
    pixels = np.full((4, 4, 3), 128, np.uint8)
    expected = block_bits(pixels)
    for colour in ((0, 0, 255), (255, 255, 0), (255, 0, 0)):
        pixels[0, 0] = colour
        np.testing.assert_array_equal(block_bits(pixels), expected)
    pixels[0, 1] = (0, 0, 30)  # 27 in the low band of U, of a step of 36
    assert (block_bits(pixels) != expected).any()


@pytest.mark.parametrize("count", [1, 31, 32, 33, 96, 1000])
def test_bits_follow_one_another_over_the_blocks(count):
    bits = np.random.default_rng(count).integers(0, 2, count, np.uint8)
    np.testing.assert_array_equal(ones_of(bits, 32), [bits[start::32].sum() for start in range(32)])
