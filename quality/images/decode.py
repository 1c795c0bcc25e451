"""Bytes to pixels: sRGB, upright, on white, 8 bits, first frame. The same bytes give the same pixels.

JPEG goes through libjpeg-turbo (simplejpeg), which scales while decoding; all else through Pillow. Both release the interpreter's lock.
"""

from collections.abc import Iterable
from functools import lru_cache
from io import BytesIO
from typing import Final

import cv2
import numpy as np
import simplejpeg
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageCms, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from quality.images.header import MAX_PIXELS, ImageHeader, excess_scans, jpeg_segments, read_header

# The plug-ins themselves: `Image.open` would raise for images above Pillow's own bound; ours is checked from the header.
_OPENERS: Final = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
}
_SPACES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # colour space of an ICC profile: Pillow's mode
_LONGEST_PROFILE: Final = 4_000_000  # bytes; those of printing presses have 2.5 MB. Some are kept, with what was made from them
_AT_A_TIME: Final = 4_000_000  # pixels that are brought to sRGB together
_SRGB_TOLERANCE: Final = 2  # of 255: rounding of the many sRGB profiles in use; Adobe RGB and Display P3 differ by 20 and more


class ImageError(Exception):
    """Bytes that cannot be taken as an image. word: not_image, pixels, work or undecodable (schemas.reasons.FETCH_ERRORS)."""

    def __init__(self, word: str, detail: str):
        super().__init__(f"{word}: {detail}")
        self.word = word
        self.detail = detail

    def __reduce__(self):
        return type(self), (self.word, self.detail)


def decode(data: bytes, *, side: int | None = None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The image as RGB, uint8, height x width x 3: orientation applied, ICC profile to sRGB, alpha on white, 16 bits to 8, first frame.

    side: pixels; the image may then come scaled down, its smaller side no smaller than `side` (JPEG only; others come whole). An ICC
    profile that cannot be read counts as none. Raises ImageError.
    """
    return decode_at_least(data, checked_header(data, max_pixels), None if side is None else (side, side))


def checked_header(data: bytes, max_pixels: int) -> ImageHeader:
    """The header of an image of at most `max_pixels`, and of no more scans than that allows. Raises ImageError."""
    header = read_header(data)
    if header is None:
        raise ImageError("not_image", f"{len(data)} bytes that are no JPEG, PNG, GIF, WebP, BMP or TIFF")
    if header.width * header.height > max_pixels:
        raise ImageError("pixels", f"{header.width}x{header.height}; at most {max_pixels} pixels are decoded")
    if (scans := excess_scans(data, header)) is not None:
        raise ImageError("work", f"{scans} scans of {header.width}x{header.height}")
    return header


def decode_at_least(data: bytes, header: ImageHeader, least: tuple[int, int] | None) -> np.ndarray:
    """Like :func:`decode`, with the header at hand. least: (height, width) of the upright image that must be reached; None: come whole."""
    if header.format == "jpeg":
        height, width = least or (0, 0)
        pixels = _decode_jpeg(data, header, *((width, height) if header.orientation >= 5 else (height, width)))
    else:
        pixels = _decode_other(data, header)
    return upright(pixels, header.orientation)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation (1 to 8; EXIF 2.32, section 4.6.4) to height x width x 3 pixels."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


# ---- JPEG


# Warnings of libjpeg about what does no harm to pixels; simplejpeg's `strict`, which finds truncated files, refuses on any.
_HARMLESS: Final = ("extraneous bytes before marker", "Invalid SOS parameters", "Unknown Adobe color transform", "unknown JFIF revision")


def _decode_jpeg(data: bytes, header: ImageHeader, height: int, width: int) -> np.ndarray:
    try:
        *size, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
        if size != [header.height, header.width]:
            raise ImageError("undecodable", f"the header says {header.width}x{header.height}, the image is {size[1]}x{size[0]}")
        grey, inks = space == "Gray", space in ("CMYK", "YCCK")
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if grey else "CMYK" if inks else "RGB", min_height=height, min_width=width)
    except KeyError as error:  # simplejpeg's own table lacks the number that libjpeg-turbo gave
        raise ImageError("undecodable", "a JPEG of unknown colour space or subsampling") from error
    except ValueError as error:  # what simplejpeg raises for all that libjpeg refuses
        if any(text in str(error) for text in _HARMLESS):
            return _decode_other(data, header)  # Pillow passes over warnings, and still refuses truncated files
        raise ImageError("undecodable", str(error)) from error
    profile = jpeg_profile(data, jpeg_segments(data))
    if inks:  # stored inverted, as Adobe does: 0 is full ink
        return _to_srgb(Image.fromarray(255 - pixels, "CMYK"), profile)
    transform = None if profile is None else to_srgb_transform(profile, "L" if grey else "RGB")
    if transform is not None:
        return np.array(ImageCms.applyTransform(Image.fromarray(pixels[:, :, 0] if grey else pixels), transform))
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if grey else pixels


def jpeg_profile(data: bytes, segments: Iterable[tuple[int, int, int]]) -> bytes | None:
    """The ICC profile of a JPEG (APP2 segments, ICC.1:2010 annex B), or None. segments: those of quality.images.header.jpeg_segments."""
    parts = {}
    for marker, start, end in segments:
        if marker == 0xE2 and data[start + 4 : start + 16] == b"ICC_PROFILE\0":
            parts[data[start + 16 : start + 17]] = data[start + 18 : end]
    return b"".join(parts[number] for number in sorted(parts)) if parts else None


# ---- colour


@lru_cache(maxsize=32)
def to_srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from an ICC profile to sRGB for pixels of `mode` (L, RGB, CMYK).

    None when none is needed or none can be: the profile is sRGB within rounding, cannot be read, is longer than profiles are, or is of
    another colour space.
    """
    if len(profile) > _LONGEST_PROFILE:
        return None
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if _SPACES.get(source.profile.xcolor_space) != mode:
            return None
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", flags=ImageCms.Flags.NONE)
    except (ImageCms.PyCMSError, OSError, UnicodeDecodeError):  # the last: of a colour space whose name is no text
        return None
    if mode == "RGB":
        steps = np.arange(0, 256, 17, dtype=np.uint8)
        colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(16, -1, 3)
        changed = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform))
        if np.abs(changed.astype(np.int16) - colours).max() <= _SRGB_TOLERANCE:
            return None
    return transform


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _to_srgb(image: Image.Image, profile: bytes | None) -> np.ndarray:
    """Pixels of an L, RGB or CMYK image as sRGB."""
    transform = None if profile is None else to_srgb_transform(profile, image.mode)
    return np.array(image.convert("RGB") if transform is None else ImageCms.applyTransform(image, transform))


# ---- all but JPEG


def _decode_other(data: bytes, header: ImageHeader) -> np.ndarray:
    try:
        with _OPENERS[header.format](BytesIO(data)) as image:
            if image.width * image.height > header.width * header.height:
                raise ImageError(
                    "undecodable", f"the header says {header.width}x{header.height}, the image is {image.width}x{image.height}"
                )
            image.load()
            return _flatten(image)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # hostile bytes make Pillow's plug-ins raise nearly anything
        raise ImageError("undecodable", f"{type(error).__name__}: {error}") from error


def _flatten(image: Image.Image) -> np.ndarray:
    """Pixels as sRGB on white. A few rows at a time: copies of the whole at each step were 2 GB for 100 megapixels with alpha (measured)."""
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise ImageError("undecodable", f"{image.format} with samples of mode {image.mode}, which have no defined range")
    profile = image.info.get("icc_profile")
    rows = max(1, _AT_A_TIME // image.width)
    if rows >= image.height:
        return _flat(image, profile)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        end = min(top + rows, image.height)
        pixels[top:end] = _flat(image.crop((0, top, image.width, end)), profile)
    return pixels


def _flat(image: Image.Image, profile: bytes | None) -> np.ndarray:
    if image.mode.startswith("I"):
        return cv2.cvtColor((np.asarray(image) >> 8).astype(np.uint8), cv2.COLOR_GRAY2RGB)  # as libpng does for RGB
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        pixels = _to_srgb(image.convert("RGB"), profile)
        if alpha.getextrema() == (255, 255):
            return pixels
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(Image.fromarray(pixels), mask=alpha)
        return np.array(white)
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return _to_srgb(image, profile)
