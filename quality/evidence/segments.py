"""Where an image keeps its metadata: one walk over JPEG, PNG or WebP, no pixel decoded. A bad segment is a note, never an exception."""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

from quality.evidence.text import decoded
from quality.images.header import PNG_MAGIC, jpeg_segments, png_chunks, webp_chunks

MAX_TEXT: Final = 4 << 20  # bytes of one segment's text after inflation; ComfyUI workflows reach 1 MiB
MAX_TOTAL: Final = 16 << 20  # bytes of all of an image's segments
MAX_SEGMENTS: Final = 4096  # segments looked at
_MOST_INFLATED: Final = 1032  # bytes that one byte of deflate can become (RFC 1951: 258 a bit pair)
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"  # XMP specification, part 3, 1.1.3


@dataclass
class Segments:
    """What lies where. texts: (keyword, text) of a PNG; comments: of a JPEG. Of others, those that read them: quality.evidence.exif and so on.

    c2pa: a manifest store may be there; c2pa_bytes: at most so long. problems: truncated (the bytes end early), size, segments (more than
    is read), text (not inflatable).
    """

    exif: list[bytes] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)
    iim: list[bytes] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    c2pa: bool = False
    c2pa_bytes: int = 0
    problems: list[str] = field(default_factory=list)
    left: int = MAX_TOTAL

    def note(self, word: str) -> None:
        if word not in self.problems:
            self.problems.append(word)

    def take(self, payload: bytes) -> bytes | None:
        """The payload if the image may still have so many bytes; else None and the note `size`."""
        if len(payload) > min(MAX_TEXT, self.left):
            self.note("size")
            return None
        self.left -= len(payload)
        return payload


def read_segments(data: bytes) -> Segments:
    """The metadata segments of a JPEG, PNG or WebP; nothing for other bytes. Never raises."""
    found = Segments()
    walk = _jpeg if data.startswith(b"\xff\xd8\xff") else _png if data.startswith(PNG_MAGIC) else None
    if walk is None and data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        walk = _webp
    if walk is not None:
        try:
            walk(data, found)
        except (IndexError, struct.error):  # the bytes end before the image does
            found.note("truncated")
    return found


def _jpeg(data: bytes, found: Segments) -> None:
    for number, (marker, start, end) in enumerate(jpeg_segments(data)):
        if number >= MAX_SEGMENTS:
            found.note("segments")
            found.c2pa_bytes += len(data) - start  # a store goes on over segments
            return
        if marker == 0xEB and data[start + 4 : start + 6] == b"JP":  # JPEG XT box, C2PA 2.1 A.3.1
            found.c2pa = True
            found.c2pa_bytes += end - start
        if marker not in (0xE1, 0xED, 0xFE):
            continue
        payload = found.take(data[start + 4 : end])
        if payload is None:
            continue
        if end > len(data):
            found.note("truncated")
        if marker == 0xFE:
            found.comments.append(decoded(payload))
        elif marker == 0xED and payload.startswith(b"Photoshop 3.0\0"):
            found.iim.append(payload[14:])
        elif payload.startswith(b"Exif\0\0"):
            found.exif.append(payload[6:])
        elif payload.startswith(_XMP):
            found.xmp.append(payload[len(_XMP) :])


def _png(data: bytes, found: Segments) -> None:
    for number, (kind, start, end) in enumerate(png_chunks(data)):
        if number >= MAX_SEGMENTS:
            found.note("segments")
            return
        if kind == b"caBX":  # C2PA 2.1, A.3.2
            found.c2pa = True
            found.c2pa_bytes += end - start
        elif kind == b"eXIf" and (payload := found.take(data[start + 8 : end - 4])) is not None:
            found.exif.append(payload.removeprefix(b"Exif\0\0"))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            _png_text(kind, data[start + 8 : end - 4], found)


def _png_text(kind: bytes, payload: bytes, found: Segments) -> None:
    """PNG, third edition, 11.3.3. XMP is the iTXt chunk `XML:com.adobe.xmp`."""
    keyword, _, rest = payload.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif packed:
        rest = rest[1:]
    if packed:
        most = min(MAX_TEXT, found.left)
        try:
            inflated = zlib.decompressobj().decompress(rest, most + 1)
        except zlib.error:  # what came before the error is not told: no more than this
            found.left -= min(most, _MOST_INFLATED * len(rest))
            return found.note("text")
        if len(inflated) > most:
            found.left -= most  # else thousands of chunks would each be inflated so far, and refused
            return found.note("size")
        rest = inflated
    text = found.take(rest)
    if text is None:
        return
    if keyword == b"XML:com.adobe.xmp":
        found.xmp.append(text)
    else:  # tools write UTF-8 into tEXt, which is Latin-1
        found.texts.append((keyword[:79].decode("latin-1"), decoded(text)))


def _webp(data: bytes, found: Segments) -> None:
    for number, (kind, start, end) in enumerate(webp_chunks(data)):
        if number >= MAX_SEGMENTS:
            found.note("segments")
            return
        if kind == b"C2PA":  # C2PA 2.1, A.3.4
            found.c2pa = True
            found.c2pa_bytes += end - start
        elif kind in (b"EXIF", b"XMP "):
            (size,) = struct.unpack_from("<I", data, start + 4)  # `end` counts the byte that pads an odd one
            payload = found.take(data[start + 8 : start + 8 + size])
            if payload is None:
                continue
            (found.exif if kind == b"EXIF" else found.xmp).append(payload.removeprefix(b"Exif\0\0"))
        if end > len(data) + 1:
            found.note("truncated")
