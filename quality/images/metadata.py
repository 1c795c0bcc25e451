"""Copying an image without its metadata: EXIF, XMP, IPTC, comments, thumbnails and what follows the image's end are left out."""

import re
import struct
from collections.abc import Sequence
from typing import Final

from quality.images.decode import ImageError, jpeg_profile, to_srgb_transform
from quality.images.header import PNG_MAGIC, ImageHeader, jpeg_frame, jpeg_segments, png_chunks, webp_chunks

Segment = tuple[int, int, int]  # marker, start, end
_APP0, _APP2, _APP14, _COM = 0xE0, 0xE2, 0xEE, 0xFE
_PLAIN_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive; Huffman coded
_MARKER_IN_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # no stuffed byte, restart or fill byte
_PNG_KEEP: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB"})
_WEBP_KEEP: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"})
_WEBP_ANIMATED, _WEBP_XMP, _WEBP_EXIF, _WEBP_ALPHA, _WEBP_ICC = 0x02, 0x04, 0x08, 0x10, 0x20  # flags of VP8X


def copy_plain(data: bytes, header: ImageHeader) -> bytes | None:
    """The image without metadata, if its stored pixels may be used as they are, else None.

    They may be when they are upright, 8 bits, grey or RGB, sRGB, without transparency, in one frame. Raises ImageError("undecodable")
    where the bytes end before the image does.
    """
    if header.animated or header.orientation != 1:
        return None
    if header.format == "jpeg":
        segments = list(jpeg_segments(data))
        return _strip_jpeg(data, segments) if _plain_jpeg(data, segments) else None
    if header.format == "png":
        return _strip_png(data) if _plain_png(data) else None
    return _strip_webp(data) if header.format == "webp" and _plain_webp(data) else None


def strip_metadata(data: bytes, header: ImageHeader) -> bytes:
    """A JPEG, PNG or WebP without metadata, its compressed pixels untouched; an ICC profile stays where it is not sRGB.

    Orientation is metadata: an image whose `header.orientation` is not 1 has to be turned instead. Raises ImageError("undecodable") where
    the bytes end before the image does, ValueError for other formats.
    """
    if header.format == "jpeg":
        return _strip_jpeg(data, list(jpeg_segments(data)))
    if header.format == "png":
        return _strip_png(data)
    if header.format == "webp":
        return _strip_webp(data)
    raise ValueError(f"metadata of {header.format} cannot be left out; convert the image")


# ---- JPEG


def _plain_jpeg(data: bytes, segments: Sequence[Segment]) -> bool:
    marker, frame = next((marker, frame) for marker, start, _ in segments if (frame := jpeg_frame(data, marker, start)))
    precision, _, _, components = frame
    if marker not in _PLAIN_FRAMES or precision != 8 or components not in (1, 3):
        return False
    profile = jpeg_profile(data, segments)
    return profile is None or to_srgb_transform(profile, "L" if components == 1 else "RGB") is None


def _strip_jpeg(data: bytes, segments: Sequence[Segment]) -> bytes:
    profile = jpeg_profile(data, segments)
    keep_profile = profile is not None and any(to_srgb_transform(profile, mode) is not None for mode in ("L", "RGB", "CMYK"))
    parts: list[bytes] = []
    kept, scan = 0, 2  # data[kept:scan] is to be copied and not yet in parts
    for marker, start, end in segments:
        thumbnail = marker == _APP0 and data[start + 4 : start + 9] == b"JFIF\0" and end - start > 18
        plain_jfif = marker == _APP0 and data[start + 4 : start + 9] == b"JFIF\0" and not thumbnail
        profile_part = keep_profile and marker == _APP2 and data[start + 4 : start + 16] == b"ICC_PROFILE\0"
        if _is_metadata(marker) and not plain_jfif and not profile_part:
            parts.append(data[kept:scan])
            if thumbnail:
                parts.append(b"\xff\xe0\0\x10" + data[start + 4 : start + 16] + b"\0\0")
            kept = end
        scan = end
    # Scans are copied up to the end of the image. Between progressive scans stand tables, which stay, and perhaps metadata, which does not.
    while (found := _MARKER_IN_SCAN.search(data, scan)) is not None:
        start, marker = found.start(), data[found.start() + 1]
        if marker == 0xD9:
            return b"".join([*parts, data[kept : start + 2]]) if parts else data[: start + 2]
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if _is_metadata(marker):
            parts.append(data[kept:start])
            kept = end
        scan = end
    raise ImageError("undecodable", "the JPEG has no end marker")


def _is_metadata(marker: int) -> bool:
    """APP0 to APP15 but Adobe's APP14, which says how colours are stored, and comments."""
    return (0xE0 <= marker <= 0xEF and marker != _APP14) or marker == _COM


# ---- PNG


def _plain_png(data: bytes) -> bool:
    depth, colours = data[24], data[25]
    return depth <= 8 and colours in (0, 2, 3) and not {b"tRNS", b"iCCP", b"cICP"} & {kind for kind, _, _ in _chunks_of_png(data)}


def _chunks_of_png(data: bytes) -> list[tuple[bytes, int, int]]:
    try:
        chunks = list(png_chunks(data))
    except struct.error as error:
        raise ImageError("undecodable", "the PNG ends before its end chunk") from error
    if chunks[-1][2] > len(data):
        raise ImageError("undecodable", "the PNG ends within its end chunk")
    return chunks


def _strip_png(data: bytes) -> bytes:
    chunks = _chunks_of_png(data)
    keep = _PNG_KEEP | {b"iCCP"} if any(kind == b"iCCP" for kind, _, _ in chunks) else _PNG_KEEP
    return b"".join([PNG_MAGIC, *(data[start:end] for kind, start, end in chunks if kind in keep)])


# ---- WebP


def _plain_webp(data: bytes) -> bool:
    for kind, start, _ in webp_chunks(data):
        if kind == b"VP8X" and data[start + 8] & (_WEBP_ANIMATED | _WEBP_ALPHA):
            return False
        if kind == b"VP8L" and data[start + 12] & 0x10:  # alpha_is_used
            return False
    profile = _webp_profile(data)
    return profile is None or to_srgb_transform(profile, "RGB") is None


def _webp_profile(data: bytes) -> bytes | None:
    return next((data[start + 8 : end] for kind, start, end in webp_chunks(data) if kind == b"ICCP"), None)


def _strip_webp(data: bytes) -> bytes:
    profile = _webp_profile(data)
    keep_profile = profile is not None and to_srgb_transform(profile, "RGB") is not None
    parts = []
    for kind, start, end in webp_chunks(data):
        if end > len(data) + 1:  # the last padding byte is often missing
            raise ImageError("undecodable", "the WebP ends within a chunk")
        if kind == b"VP8X":
            flags = data[start + 8] & ~(_WEBP_EXIF | _WEBP_XMP | (0 if keep_profile else _WEBP_ICC))
            parts.append(data[start : start + 8] + bytes([flags]) + data[start + 9 : end])
        elif kind in _WEBP_KEEP or (kind == b"ICCP" and keep_profile):
            parts.append(data[start:end].ljust(end - start, b"\0"))
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
