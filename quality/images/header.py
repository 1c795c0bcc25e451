"""What the header of an image says: format by magic number, size, EXIF orientation, animation. No pixel is decoded.

Formats: JPEG (ITU-T T.81), PNG (W3C, third edition), GIF89a, WebP (RFC 9649), BMP, TIFF 6.0 (not BigTIFF).
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAX_PIXELS: Final = 100_000_000  # width * height that decoding takes on unless told otherwise: 300 MB as RGB

_LONGEST: Final = 2**31 - 1  # pixels of a side: PNG's own bound, and that of the columns that hold it
MAX_SCANNED: Final = 5_000_000_000  # pixels that the scans of a JPEG may pass over in all: 1.5 s on one core; a usual one has 10 scans
_SHORTEST_SCAN: Final = 10  # bytes of a scan's header
PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_WIDTH, _HEIGHT, _ORIENTATION = 0x0100, 0x0101, 0x0112  # TIFF tags
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15, without DHT, JPG and DAC
# 0xFF and a marker with a length: no fill byte, and not stuffing, TEM, RST0 to RST7, SOI. Searched, for fill bytes may be millions.
_SEGMENT: Final = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """format: jpeg, png, gif, webp, bmp or tiff. width, height: pixels as stored, before `orientation` (EXIF, 1 to 8) is applied."""

    format: str
    width: int
    height: int
    orientation: int = 1
    animated: bool = False


def read_header(data: bytes) -> ImageHeader | None:
    """The header of an image; None when the bytes are no supported image, or its header is cut off or senseless. Never raises."""
    try:
        header = _read(data)
    except (IndexError, struct.error):  # the bytes end before the header does
        return None
    return header if header is not None and 0 < header.width <= _LONGEST and 0 < header.height <= _LONGEST else None


def _read(data: bytes) -> ImageHeader | None:
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(PNG_MAGIC):
        return _png(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(b"BM"):
        return _bmp(data)
    if data.startswith((b"II*\0", b"MM\0*")):
        tags = _first_directory(data)
        return ImageHeader("tiff", tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0), _orientation(tags))
    return None


# ---- JPEG


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment up to the first scan's header (SOS), included.

    data[start:start + 4] are 0xFF, the marker and a length; the payload is data[start + 4:end]. Bytes between segments are skipped, as
    libjpeg does. Raises IndexError where the bytes end first.
    """
    end = 2
    while True:
        found = _SEGMENT.search(data, end)
        if found is None:
            raise IndexError("no scan")
        start, marker = found.start(), data[found.start() + 1]
        if marker == 0xD9:
            return
        end = start + 2 + (data[start + 2] << 8 | data[start + 3])
        yield marker, start, end
        if marker == 0xDA:
            return


def excess_scans(data: bytes, header: ImageHeader) -> int | None:
    """How many scans a JPEG has when they are too many for its size (MAX_SCANNED); None for all others.

    Each scan of a progressive JPEG passes over all pixels, and may be 100 bytes long: 1 MB of them took 80 s (measured, 100 megapixels).
    """
    pixels = header.width * header.height
    if header.format != "jpeg" or pixels * (len(data) // _SHORTEST_SCAN) <= MAX_SCANNED:
        return None
    scans = data.count(b"\xff\xda")  # stuffing keeps it out of scans; a preview in the metadata may add one
    return scans if pixels * scans > MAX_SCANNED else None


def jpeg_frame(data: bytes, marker: int, start: int) -> tuple[int, int, int, int] | None:
    """(precision in bits, height, width, components) of a segment that starts a frame; None of any other."""
    return struct.unpack_from(">BHHB", data, start + 4) if marker in _FRAMES else None


def _jpeg(data: bytes) -> ImageHeader | None:
    orientation, size = None, None
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE1:
            if orientation is None and data[start + 4 : start + 10] == b"Exif\0\0":
                orientation = exif_orientation(data[start + 10 : end])
        elif size is None:
            size = jpeg_frame(data, marker, start)
    return None if size is None else ImageHeader("jpeg", size[2], size[1], orientation or 1)


# ---- PNG


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of each chunk up to IEND, included; data[start:end] is length, type, payload and CRC.

    Raises struct.error where the bytes end first.
    """
    start, kind = len(PNG_MAGIC), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, start)
        yield kind, start, start + 12 + length
        start += 12 + length


def _png(data: bytes) -> ImageHeader | None:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    orientation, animated = 1, False
    for kind, start, end in png_chunks(data):
        if kind == b"IDAT":  # eXIf after the pixels is allowed and not seen in practice
            break
        if kind == b"eXIf":
            orientation = exif_orientation(data[start + 8 : end - 4])
        elif kind == b"acTL":
            animated = struct.unpack_from(">I", data, start + 8)[0] > 1
    return ImageHeader("png", width, height, orientation, animated)


# ---- GIF


def _gif(data: bytes) -> ImageHeader | None:
    """Size of the screen, or of the first frame where that reaches beyond it (decoders enlarge the screen then)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position, frames = 13 + _colours(flags), 0
    while frames < 2 and position < len(data):  # a file cut after its first frame still has a header
        block = data[position]
        if block == 0x2C:
            left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", data, position + 1)
            if frames == 0:
                width, height = max(width, left + frame_width), max(height, top + frame_height)
            frames += 1
            position += 11 + _colours(flags)  # descriptor, colour table, code size
        elif block == 0x21:
            position += 2
        else:
            break  # trailer (0x3B) or junk
        while position < len(data) and data[position]:  # sub-blocks end with an empty one
            position += data[position] + 1
        position += 1
    return ImageHeader("gif", width, height, 1, frames > 1) if frames else None


def _colours(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


# ---- WebP


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of each RIFF chunk; data[start:end] is type, length, payload and padding, the payload starts at start + 8."""
    start = 12
    while start + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, start)
        end = start + 8 + length + (length & 1)
        yield kind, start, end
        start = end


def _webp(data: bytes) -> ImageHeader | None:
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("webp", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L" and data[20:21] == b"\x2f":
        bits = struct.unpack_from("<I", data, 21)[0]
        return ImageHeader("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        orientation = 1
        if data[20] & 0x08:
            for kind, start, end in webp_chunks(data):
                if kind == b"EXIF":
                    payload = data[start + 8 : end]
                    orientation = exif_orientation(payload.removeprefix(b"Exif\0\0"))
                    break
        return ImageHeader("webp", width, height, orientation, bool(data[20] & 0x02)) if len(data) >= 30 else None
    return None


# ---- BMP


def _bmp(data: bytes) -> ImageHeader | None:
    size = struct.unpack_from("<I", data, 14)[0]
    if size == 12:  # OS/2
        width, height = struct.unpack_from("<HH", data, 18)
    elif 16 <= size <= 124:
        width, height = struct.unpack_from("<ii", data, 18)
    else:
        return None
    return ImageHeader("bmp", width, abs(height))  # a negative height means: first row on top


# ---- TIFF and EXIF


def exif_orientation(exif: bytes) -> int:
    """EXIF orientation, 1 to 8, of a TIFF structure; 1 when there is none, or none that makes sense."""
    if not exif.startswith((b"II*\0", b"MM\0*")):
        return 1
    try:
        return _orientation(_first_directory(exif))
    except struct.error:
        return 1


def _orientation(tags: Mapping[int, int]) -> int:
    value = tags.get(_ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def _first_directory(tiff: bytes) -> dict[int, int]:
    """The first value of every SHORT and LONG tag of the first image directory."""
    order = "<" if tiff.startswith(b"II") else ">"
    (position,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, position)
    tags: dict[int, int] = {}
    for at in range(position + 2, position + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", tiff, at)
        if kind in (3, 4) and number == 1:
            (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, at + 8)
    return tags
