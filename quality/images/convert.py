"""The one conversion from the bytes that came to the bytes that are trained on. The same bytes and target give the same bytes.

Resize modes, filters (area down, Lanczos up), rounding of sides and the default quality are img2dataset's, so that results compare.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, Literal

import cv2
import numpy as np
import simplejpeg

from quality.images.decode import ImageError, checked_header, decode_at_least
from quality.images.header import MAX_PIXELS
from quality.images.metadata import copy_plain
from schemas.digest import digest_of_json

Resize = Literal["no", "keep_ratio", "keep_ratio_largest", "center_crop", "border"]
RESIZES: Final = ("no", "keep_ratio", "keep_ratio_largest", "center_crop", "border")
FORMATS: Final = ("jpeg", "png", "webp", "original")
_REVISION: Final = 1  # of this file's rules; part of a target's digest
_LONGEST: Final = {"jpeg": 65_500, "webp": 16_383, "png": 1_000_000}  # pixels of a side: bounds of libjpeg, libwebp and libpng
_LITTLE: Final = 1.5  # times too large
_PNG_LEVEL: Final = 3  # zlib's level, OpenCV's default

cv2.setNumThreads(1)  # images are converted side by side; threads inside one would only get into each other's way


@dataclass(frozen=True)
class Target:
    """How images are to be.

    resize: "no"; "keep_ratio" (smaller side to `size`), "keep_ratio_largest" (larger side), "center_crop" (smaller side, then the middle
    square), "border" (larger side, then white up to a square). size: pixels; None with "no" only. An image whose side is below `size` stays
    as it is unless `enlarge`. format: "jpeg", "png", "webp", or "original": JPEG and WebP stay what they are, all else becomes PNG.
    quality: of JPEG (4:2:0) and WebP, 1 to 100; 95 is img2dataset's. Raises ValueError.
    """

    resize: Resize = "keep_ratio_largest"
    size: int | None = None
    format: str = "jpeg"
    quality: int = 95
    enlarge: bool = False

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise ValueError(f"resize mode {self.resize!r}; there are {', '.join(RESIZES)}")
        if self.resize != "no" and (self.size is None or self.size < 1):
            raise ValueError(f"resize mode {self.resize!r} needs a size of at least 1 pixel, not {self.size}")
        if self.format not in FORMATS:
            raise ValueError(f"image format {self.format!r}; there are {', '.join(FORMATS)}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality {self.quality}; 1 to 100 are possible")

    def digest(self) -> str:
        """SHA-256 (hex) over what determines the converted bytes, libraries apart."""
        return digest_of_json({"revision": _REVISION, **asdict(self)})


@dataclass(frozen=True, slots=True)
class Converted:
    """An image as a shard holds it: upright, sRGB, without metadata. format: jpeg, png or webp."""

    data: bytes
    width: int
    height: int
    format: str


def convert(
    data: bytes,
    target: Target,
    *,
    max_pixels: int = MAX_PIXELS,
    decoded: Callable[[np.ndarray], None] | None = None,
    halved: bool = False,
) -> Converted:
    """Brings an image into the form of `target`.

    An image that has this form already is copied, its metadata segments left out, and is then not decoded (a JPEG's or PNG's end is looked
    for). decoded: gets the pixels when they are decoded, whole or scaled down, upright, for others to look at; halved: those of a JPEG no
    smaller than half its size. Raises ImageError.
    """
    header = checked_header(data, max_pixels)
    format_ = target.format if target.format != "original" else header.format if header.format in ("jpeg", "webp") else "png"
    width, height = (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)
    scaled, final = _sizes(width, height, target)
    if final == (width, height) and header.format == format_ and (copied := copy_plain(data, header)) is not None:
        return Converted(copied, width, height, format_)
    if max(*scaled, *final) > _LONGEST[format_] or scaled[0] * scaled[1] > max_pixels:
        raise ImageError(
            "pixels", f"{width}x{height} would become {scaled[0]}x{scaled[1]}: too much for {format_} or for {max_pixels} pixels"
        )
    pixels = decode_at_least(data, header, _least((width, height), scaled, halved=halved))
    if decoded is not None:
        decoded(pixels)
    pixels = _halved(pixels, scaled)
    filter_ = _filter(pixels, (width, height), scaled)
    return Converted(_encode(_fit(pixels, scaled, final, filter_), format_, target.quality), *final, format_)


def _sizes(width: int, height: int, target: Target) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) after scaling, and after cropping or padding."""
    size = target.size
    if target.resize == "no" or size is None:
        return (width, height), (width, height)
    side = min(width, height) if target.resize in ("keep_ratio", "center_crop") else max(width, height)
    if side < size and not target.enlarge:
        return (width, height), (width, height)
    scale = size / side
    scaled = (max(1, round(width * scale)), max(1, round(height * scale)))
    return scaled, (size, size) if target.resize in ("center_crop", "border") else scaled


def _least(whole: tuple[int, int], scaled: tuple[int, int], *, halved: bool) -> tuple[int, int]:
    """(height, width) to decode a JPEG to at least, for `scaled`; all sizes upright.

    libjpeg-turbo scales to halves, quarters and eighths by SIMD, and to no other size: 960x720 at 3/8 takes 1.05 ms, at 1/2 0.89 (measured).
    """
    half = (whole[1] + 1) // 2, (whole[0] + 1) // 2
    if halved and half[0] >= scaled[1] and half[1] >= scaled[0]:
        return half
    for shift in (3, 2, 1):
        height, width = (-(-length // 2**shift) for length in (whole[1], whole[0]))
        if scaled[1] <= height < _LITTLE * scaled[1] and scaled[0] <= width < _LITTLE * scaled[0]:
            return height, width
    return scaled[1], scaled[0]


def _halved(pixels: np.ndarray, scaled: tuple[int, int]) -> np.ndarray:
    """Pixels halved for as long as they stay no smaller than `scaled`: means of 2x2, which together are the mean that the area filter takes.

    1024x768 to 341x256 takes 0.25 ms in two steps and 1.48 in one (measured): only halving is done by SIMD.
    """
    while True:
        height, width = pixels.shape[:2]
        if height % 2 or width % 2 or height // 2 < scaled[1] or width // 2 < scaled[0]:
            return pixels
        pixels = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def _filter(pixels: np.ndarray, whole: tuple[int, int], scaled: tuple[int, int]) -> int:
    """The filter from what was decoded to `scaled`. whole: the image's own width and height."""
    decoded = pixels.shape[1::-1]
    if scaled[0] * scaled[1] > decoded[0] * decoded[1]:
        return cv2.INTER_LANCZOS4
    # Scaled decoding has averaged already. For the little that is left, area takes as long as all of the decoding (1.6 ms for 345x260) and
    # bilinear a fifth; against whole decoding and area the two differ by 0.6 dB at most, at 47 to 54 dB (measured).
    nearly = decoded != whole and decoded[0] < _LITTLE * scaled[0] and decoded[1] < _LITTLE * scaled[1]
    return cv2.INTER_LINEAR if nearly else cv2.INTER_AREA


def _fit(pixels: np.ndarray, scaled: tuple[int, int], final: tuple[int, int], filter_: int) -> np.ndarray:
    width, height = scaled
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, scaled, interpolation=filter_)
    left, top = abs(final[0] - width) // 2, abs(final[1] - height) // 2
    if final[0] > width or final[1] > height:
        right, bottom = final[0] - width - left, final[1] - height - top
        return cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.ascontiguousarray(pixels[top : top + final[1], left : left + final[0]])


def _encode(pixels: np.ndarray, format_: str, quality: int) -> bytes:
    if format_ == "jpeg":
        return simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="420")
    flags = [cv2.IMWRITE_WEBP_QUALITY, quality] if format_ == "webp" else [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
    done, encoded = cv2.imencode(f".{format_}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), flags)
    if not done:
        raise RuntimeError(f"OpenCV could not encode {pixels.shape} pixels as {format_}")
    return encoded.tobytes()
