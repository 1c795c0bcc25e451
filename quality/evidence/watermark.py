"""Invisible watermarks of Stable Diffusion and FLUX: method `dwtDct` of the package `invisible-watermark` (MIT; read and checked against 0.2.0).

The method, for its name, has no DCT: of the U channel (scale of Y: 0, of V: never reached) it takes the low band of a Haar wavelet, cuts it
into 4x4 blocks, row by row, and moves the largest of each block's values, the first left out, to the quarter (bit 0) or three quarters (bit 1)
of a step of 36. Bits follow one another over the blocks, and start again; a decoder takes the mean over all blocks of a bit.

The channel's zero point matters, for values are taken without sign. OpenCV adds 128 to U of 8-bit images (CompVis's scripts) and 0.5 to U of
floats (diffusers, Stability's and Black Forest Labs' scripts); early diffusers gave RGB where BGR is expected. All three are tried.

Measured on nine photographs marked by the package, found of nine, SDXL as diffusers writes it / SD 1: as written 9 / 9; JPEG 95 6 / 5, and
9 / 9 when decoded without smooth chroma upsampling; JPEG 90 2 / 1; JPEG 75 1 / 1; JPEG 50 0 / 0; JPEG 90 without chroma subsampling 9 / 9;
WebP 90 7 / 5; scaled by 0.9 or cropped by 5 % on all sides 0 / 0; cropped at the bottom 9 / 9. Found in none of 2,181 drawings of the Open Clip
Art library and none of 2,000 pictures of noise with a natural spectrum. 0.3 ms a megapixel from half size, on one core.

A JPEG is better decoded at half its size, which is cheaper too: where its colours are halved they are then taken as stored, not interpolated.
Found of 24 drawings with grain, SDXL as diffusers writes it, whole / at half size: halved colours, JPEG 95 6 / 24, JPEG 90 0 / 2, JPEG 75 0 / 0;
full colours, JPEG 90 24 / 24, JPEG 75 24 / 24, JPEG 50 22 / 23. SD 1, full colours, JPEG 90: 24 / 17, its only loss of note.
"""

from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Final

import cv2
import numpy as np

from quality.evidence.blocks import PLANES, block_bits, ones_of

LEAST_PIXELS: Final = 256 * 256  # the package refuses smaller images
CHANCE: Final = 4e-7  # that as many independent bits agree by luck; 41 of 48: 3.1e-7


@dataclass(frozen=True)
class Watermark:
    """What was found. scheme: a name in SCHEMES. agree: of `bits` bits, those that are as the scheme has them."""

    scheme: str
    agree: int
    bits: int


@dataclass(frozen=True)
class Scheme:
    """bits: of the message, "0" and "1". planes: of what images it is written to: "bytes", "floats", "swapped" (floats, RGB for BGR)."""

    bits: str
    planes: tuple[str, ...]

    @property
    def least(self) -> int:
        """Bits that must agree: the fewest that do so by luck with a probability of at most CHANCE."""
        return least_agreeing(len(self.bits))


def _text(message: str) -> str:
    return "".join(f"{byte:08b}" for byte in message.encode())


# Stability-AI/generative-models scripts/demo and diffusers' StableDiffusionXLWatermarker; CompVis/stable-diffusion scripts/txt2img.py;
# Stability-AI/stablediffusion scripts/txt2img.py; black-forest-labs/flux src/flux/util.py, whose two leading zeros Python's `bin` drops.
SCHEMES: Final = {
    "stable-diffusion-xl": Scheme("101100111110110010010000011110111011000110011110", ("bytes", "floats", "swapped")),
    "flux": Scheme("1010101111111010000111100111001111010100101110", ("floats",)),
    "stable-diffusion-1": Scheme(_text("StableDiffusionV1"), ("bytes",)),
    "stable-diffusion-2": Scheme(_text("SDV2"), ("bytes",)),
}


@cache
def least_agreeing(bits: int) -> int:
    """The fewest of `bits` fair coins that agree with a given row of them with a probability of at most CHANCE."""
    wrong, ways = 0, 1
    while ways + comb(bits, wrong + 1) <= CHANCE * 2**bits:
        wrong += 1
        ways += comb(bits, wrong)
    return bits - wrong


def decode(pixels: np.ndarray) -> Watermark | None:
    """The watermark of an image, or None. pixels: RGB, uint8, height x width x 3, as stored: scaling and shifting destroy a watermark.

    None too for fewer than LEAST_PIXELS pixels, as the package has it. Of several, the least probable.
    """
    return decode_halved(halved(pixels))


def halved(pixels: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels, half the low band of the wavelet. Rounded, which moves a value by 0.3 of the 9 that a bit stands safe."""
    height, width = (length // 2 for length in pixels.shape[:2])
    if not height or not width:
        return np.zeros((0, 0, 3), np.uint8)
    return cv2.resize(pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)


def decode_halved(pixels: np.ndarray) -> Watermark | None:
    """Like :func:`decode`, from what :func:`halved` returns, or from a JPEG decoded at exactly half its size."""
    height, width = (length // 4 * 4 for length in pixels.shape[:2])
    if 4 * pixels.shape[0] * pixels.shape[1] < LEAST_PIXELS or not height or not width:
        return None
    planes = dict(zip(PLANES, block_bits(pixels[:height, :width]), strict=True))
    found = []
    for name, scheme in SCHEMES.items():
        for plane in scheme.planes:
            agree = _agreeing(planes[plane], scheme.bits)
            if agree >= scheme.least:
                found.append((_luck(agree, len(scheme.bits)), Watermark(name, agree, len(scheme.bits))))
    return min(found, key=lambda item: item[0])[1] if found else None


def _agreeing(blocks: np.ndarray, bits: str) -> int:
    """Bits of the message that are read as they should be. A bit is read as 1 where the mean of its blocks is above that of all bits.

    The package asks for a mean above a half instead. Its own encoder, though, often leaves another value than the one it moved as the
    largest, which adds as much to all bits. Of 27 photographs that it marked with 48 bits it reads 41 or more in 14; with the right zero point
    that makes 23, and with the mean for the bound all 27, with 48 bits each.
    A flat picture has all its bits on one side, so that about half of any message agrees.
    """
    turns, rest = divmod(len(blocks), len(bits))
    means = ones_of(blocks, len(bits)) / (turns + (np.arange(len(bits)) < rest))
    ones = np.frombuffer(bits.encode(), np.uint8) == ord("1")
    return int(np.count_nonzero((means > means.mean()) == ones))


def _luck(agree: int, bits: int) -> float:
    return sum(comb(bits, wrong) for wrong in range(bits - agree + 1)) / 2**bits
