"""Drawings and captions to measure engines with: made here, so that a choice needs no data and no network, and the same everywhere."""

from typing import Final

import cv2
import numpy as np

CAPTIONS: Final = (
    "a red heart",
    "kite",
    "blue circle on a white background",
    "a house with a tree beside it and a yellow sun above the roof",
    "물음표",
    "빨간 하트와 파란 별",
    "Part of the Flat Icon Collection (Wed Aug 25 23:29:46 2004)",
    "two overlapping triangles, one green and one purple, drawn with thin black lines",
    "a cup",
    "icon of a letter in an envelope",
    "무지개 아래의 작은 집",
    "checkerboard pattern in black and white",
    "a",
    "stripes",
    "a photograph of sand seen from above, with small shadows, late in the afternoon of a long summer day by the sea",
    "colour gradient from orange to blue",
)


def drawings() -> list[np.ndarray]:
    """16 images, RGB uint8: shapes, gradients, stripes and texture, 160 to 640 pixels, upright and wide."""
    return [_drawing(number) for number in range(16)]


def _drawing(number: int) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(number))
    height, width = (int(length) for length in generator.integers(160, 640, 2))
    ends = generator.integers(0, 256, (2, 3))
    ramp = np.linspace(0, 1, width)[None, :, None]
    image = np.broadcast_to(ends[0] * (1 - ramp) + ends[1] * ramp, (height, width, 3)).astype(np.uint8).copy()
    if number % 4 == 0:
        image[:] = 255
    if number % 4 == 3:
        texture = generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
        image[:] = cv2.resize(texture, (width, height), interpolation=cv2.INTER_CUBIC)
    for shape in range(number % 5 + 2):
        colour = tuple(int(value) for value in generator.integers(0, 256, 3))
        points = generator.integers(0, (width, height), (3, 2))
        if shape % 3 == 0:
            cv2.circle(image, points[0].tolist(), int(generator.integers(10, 120)), colour, -1)
        elif shape % 3 == 1:
            cv2.fillPoly(image, [points.astype(np.int32)], colour)
        else:
            cv2.rectangle(image, points[0].tolist(), points[1].tolist(), colour, int(generator.integers(1, 12)))
    return image
