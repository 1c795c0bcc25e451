"""The bits that an image's blocks carry, for quality.evidence.watermark: compiled, without the interpreter's lock, in little memory.

Arrays of floats for the low band took ten times as long, and beside another process more: for each image a thousand pages went back to the
system and were taken again, at 5 ms.

The low band is looked at in whole numbers, thousandths of a grey level: 886 B - 587 G - 299 R. The bits are those of float32 arithmetic, of
every colour (tests.quality.test_evidence_blocks): no bound of a step lies so near to a whole number that rounding could carry one over it.
"""

from typing import Final

import cv2
import numpy as np
from numba import njit

PLANES: Final = ("bytes", "floats", "swapped")  # see quality.evidence.watermark
STEP: Final = 36.0
_HALF: Final = 2 * 0.492 / 1000  # of the low band of U, which is 0.492 (B - Y); a mean of four counts twice
_FAR: Final = 1 << 30


def block_bits(pixels: np.ndarray) -> np.ndarray:
    """By plane of PLANES, the bit of each block of 4x4, row by row: uint8 (3, blocks). pixels: RGB, uint8, of half size, sides multiples of 4."""
    return _block_bits(*cv2.split(pixels))


@njit(nogil=True, cache=True)
def ones_of(bits, period):
    """int64 (period): how many of bits[i::period], uint8, are set."""
    ones = np.zeros(period, np.int64)
    for start in range(0, len(bits), period):
        turn = bits[start : start + period]
        for index in range(len(turn)):
            ones[index] += turn[index]
    return ones


@njit(nogil=True, cache=True)
def _block_bits(red, green, blue):
    height, width = red.shape
    across = width // 4
    bits = np.empty((3, height // 4 * across), np.uint8)
    # The extremes of each column of a row of blocks, for B - Y and for R - Y, which stands for it where colours were swapped.
    most_b, least_b = np.empty(width, np.int32), np.empty(width, np.int32)
    most_r, least_r = np.empty(width, np.int32), np.empty(width, np.int32)
    for down in range(height // 4):
        most_b[:], least_b[:], most_r[:], least_r[:] = -_FAR, _FAR, -_FAR, _FAR
        for row in range(4 * down, 4 * down + 4):
            _widen(red[row], green[row], blue[row], most_b, least_b, most_r, least_r)
            if row == 4 * down:  # the method leaves out the first of each block
                most_b[::4], least_b[::4], most_r[::4], least_r[::4] = -_FAR, _FAR, -_FAR, _FAR
        for block in range(across):
            first, at = 4 * block, down * across + block
            high_b, low_b = _HALF * _most(most_b, first), _HALF * _least(least_b, first)
            high_r, low_r = _HALF * _most(most_r, first), _HALF * _least(least_r, first)
            bits[0, at] = _bit(high_b + 256)
            bits[1, at] = _bit(max(high_b + 1, -low_b - 1))
            bits[2, at] = _bit(max(high_r + 1, -low_r - 1))
    return bits


@njit(nogil=True, cache=True)
def _widen(red, green, blue, most_b, least_b, most_r, least_r):
    # 32 bits throughout, and no index that might be negative: else the loop does not become vector instructions.
    for column in range(len(red)):
        r, g, b = np.int32(red[column]), np.int32(green[column]), np.int32(blue[column])
        bluish = np.int32(np.int32(886) * b - np.int32(587) * g - np.int32(299) * r)
        reddish = np.int32(np.int32(886) * r - np.int32(587) * g - np.int32(299) * b)
        most_b[column], least_b[column] = max(most_b[column], bluish), min(least_b[column], bluish)
        most_r[column], least_r[column] = max(most_r[column], reddish), min(least_r[column], reddish)


@njit(nogil=True, cache=True)
def _most(values, first):
    return max(max(values[first], values[first + 1]), max(values[first + 2], values[first + 3]))


@njit(nogil=True, cache=True)
def _least(values, first):
    return min(min(values[first], values[first + 1]), min(values[first + 2], values[first + 3]))


@njit(nogil=True, cache=True)
def _bit(value):
    """Whether a value lies in the upper half of its step."""
    return value - np.floor(value / STEP) * STEP > STEP / 2
