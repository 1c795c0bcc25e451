"""EXIF: the few tags that say where an image came from (CIPA DC-008, EXIF 2.32; TIFF 6.0). Directories are read once each; never raises."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from quality.evidence.text import decoded

MAX_TAGS: Final = 512  # of one directory; cameras write under 100
MAX_VALUE: Final = 1 << 20  # bytes of one text; ComfyUI's WebP nodes keep whole graphs in Make and Model
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of a value, by type
_EXIF, _GPS = 0x8769, 0x8825  # directories
_TEXTS: Final = {
    0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x013B: "Artist", 0x9286: "UserComment",
}  # fmt: skip
_MAKER_NOTE: Final = 0x927C
_LEAST_MAKER_NOTE: Final = 16  # bytes: Fooocus writes "fooocus" or "a1111" here
# What the act of taking a photograph leaves behind: exposure, lens, sensor, time. Not what any writer of EXIF adds (sizes, resolution, dates).
CAMERA_TAGS: Final = frozenset({
    0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x9003, 0x9201, 0x9202, 0x9203, 0x9204, 0x9205, 0x9206, 0x9207, 0x9208, 0x9209, 0x920A, _MAKER_NOTE,
    0xA20B, 0xA20E, 0xA20F, 0xA215, 0xA217, 0xA300, 0xA301, 0xA302, 0xA402, 0xA403, 0xA404, 0xA405, 0xA406, 0xA407, 0xA431, 0xA432, 0xA433,
    0xA434, 0xA435,
})  # fmt: skip
_LATITUDE, _LONGITUDE = 2, 4  # tags of the GPS directory
_CODE: Final = 8  # bytes of UserComment that name its character code


@dataclass
class Exif:
    """texts: by tag's name, not empty, as stored. camera: tags of CAMERA_TAGS that have a value. gps: latitude and longitude are there."""

    texts: dict[str, str] = field(default_factory=dict)
    camera: set[int] = field(default_factory=set)
    gps: bool = False
    whole: bool = True  # False: an offset or a count leads out of the bytes


def read_exif(tiff: bytes) -> Exif:
    """The evidence in a TIFF structure. Of a tag that is there twice, the first."""
    found = Exif()
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        found.whole = False
        return found
    (start,) = struct.unpack_from(order + "I", tiff.ljust(8, b"\0"), 4)
    pointers = _directory(tiff, order, start, found)
    if _EXIF in pointers:
        pointers = _directory(tiff, order, pointers[_EXIF], found) | pointers
    if _GPS in pointers:
        found.gps = _has_position(tiff, order, pointers[_GPS], found)
    return found


def _entries(tiff: bytes, order: str, start: int, found: Exif) -> Iterator[tuple[int, int, bytes]]:
    """(tag, type, value) of a directory, one at a time: values may be long, and all may be the same bytes. Each tag comes once."""
    seen = set[int]()
    try:
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for at in range(start + 2, start + 2 + 12 * min(count, MAX_TAGS), 12):
            tag, kind, number = struct.unpack_from(order + "HHI", tiff, at)
            size = _SIZES.get(kind, 0) * number
            (offset,) = (at + 8,) if size <= 4 else struct.unpack_from(order + "I", tiff, at + 8)
            if not 0 < size <= len(tiff) - offset:
                found.whole = found.whole and not size
                continue
            if tag not in seen:
                seen.add(tag)
                yield tag, kind, tiff[offset : offset + min(size, MAX_VALUE)]
    except struct.error:  # the directory leads out of the bytes
        found.whole = False
        return
    found.whole = found.whole and count <= MAX_TAGS


def _directory(tiff: bytes, order: str, start: int, found: Exif) -> dict[int, int]:
    """Adds a directory's evidence; returns where the directories are that it points to."""
    pointers: dict[int, int] = {}
    for tag, kind, value in _entries(tiff, order, start, found):
        if tag in (_EXIF, _GPS) and kind == 4:
            pointers.setdefault(tag, struct.unpack(order + "I", value[:4])[0])
        elif tag in _TEXTS:
            text = user_comment(value, order) if tag == 0x9286 else decoded(value)
            if text.strip():
                found.texts.setdefault(_TEXTS[tag], text)
        elif tag in CAMERA_TAGS and _says_something(tag, kind, value):
            found.camera.add(tag)
    return pointers


def _says_something(tag: int, kind: int, value: bytes) -> bool:
    if tag == _MAKER_NOTE:
        return len(value) >= _LEAST_MAKER_NOTE
    return kind != 2 or bool(value.strip(b"\0 "))


def _has_position(tiff: bytes, order: str, start: int, found: Exif) -> bool:
    """Whether a directory has a latitude and a longitude. Phones write 0/0 where they do not know."""
    known = {tag for tag, kind, value in _entries(tiff, order, start, found) if kind == 5 and len(value) >= 8 and any(value[4:8])}
    return {_LATITUDE, _LONGITUDE} <= known


def user_comment(value: bytes, order: str = ">") -> str:
    """The text of a UserComment. order: of the TIFF structure, "<" or ">".

    UTF-16 stands in either order, whatever the structure has: A1111's webui writes it big-endian into little-endian files. A text without
    code is taken as UTF-8; so is one that says UNICODE and has no NUL, as some tools write.
    """
    code, text = value[:_CODE], value[_CODE:]
    if code == b"UNICODE\0":
        if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return text.decode("utf-16", "replace").rstrip("\0")
        low, high = text[::2].count(0), text[1::2].count(0)
        if low != high or not text.isascii():
            little = high > low if low != high else order == "<"
            return text.decode("utf-16-le" if little else "utf-16-be", "replace").rstrip("\0")
        return decoded(text)
    return decoded(text if code in (b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(_CODE)) else value)
