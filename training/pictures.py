"""An image of a shard as pixels of the shape wanted: decoded at the smallest scale that is large enough, resized, cut."""

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from training.order import Shape


@dataclass(frozen=True)
class Cut:
    """What of the image is shown, as SDXL is told of it: the image's sides, and where the window begins in the resized image, in pixels."""

    width: int
    height: int
    left: int
    top: int


def picture(data: bytes, width: int, height: int, shape: Shape, *, place: tuple[float, float] = (0.5, 0.5)) -> tuple[np.ndarray, Cut]:
    """(shape.height, shape.width, 3) uint8 RGB, and what it shows: the image, scaled to cover the shape, its sides' ratio kept.

    width, height: of the stored image. place: of the window in what is left over, 0 (left, top) to 1 (right, bottom).
    JPEGs are decoded at an eighth, quarter or half of their size where that still covers the shape (libjpeg's scaled inverse DCT).
    Raises ValueError when the bytes cannot be decoded.
    """
    scale = max(shape.width / width, shape.height / height)
    covers = max(shape.width, round(width * scale)), max(shape.height, round(height * scale))
    pixels = _decoded(data, *covers)
    if pixels.shape[1::-1] != covers:
        pixels = cv2.resize(pixels, covers, interpolation=_interpolation(pixels.shape[1] / covers[0]))
    left, top = (round(at * (have - want)) for at, have, want in zip(place, covers, (shape.width, shape.height), strict=True))
    return pixels[top : top + shape.height, left : left + shape.width], Cut(width, height, left, top)


def _interpolation(shrinks: float) -> int:
    """Below a half, areas: else points are missed. To a half two neighbours are all there is to average, at a seventh of the time."""
    return cv2.INTER_AREA if shrinks > 2 else cv2.INTER_LINEAR if shrinks > 1 else cv2.INTER_CUBIC


def _decoded(data: bytes, width: int, height: int) -> np.ndarray:
    """RGB, at least `width` x `height` where the image is that large."""
    if simplejpeg.is_jpeg(data):
        return simplejpeg.decode_jpeg(data, "RGB", min_width=width, min_height=height)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None:
        raise ValueError("the bytes are no image that can be decoded")
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    alpha = pixels[..., 3:].astype(np.float32) / 255  # on white, as shards are written
    return np.rint(pixels[..., 2::-1] * alpha + 255 * (1 - alpha)).astype(np.uint8)
