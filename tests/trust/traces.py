"""Searches all that a job leaves for traces of what it must not keep: as raw bytes, and in every decoded form.

What is decoded, quality.traces.views says. Images are held against the pictures by PDQ, and so is all that may be a PDQ hash: 32 bytes, or
64 hex digits.
"""

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np

from quality.traces.views import picture_of, views

DISTANCE: Final = 31
QUALITY: Final = 50
_WINDOW: Final = 48  # bytes of an image's middle that stand for its bytes
_HEX64: Final = re.compile(rb"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")


@dataclass(frozen=True)
class Trace:
    """where: a file's path, then how it was decoded, step by step. what: the needle."""

    where: str
    what: str


class Needles:
    """What is searched for. All names are for messages."""

    def __init__(self) -> None:
        self.patterns: dict[bytes, str] = {}
        self.pictures: list[tuple[np.ndarray, str]] = []

    def text(self, name: str, text: str) -> None:
        """A caption, a url, a name: in UTF-8 and UTF-16, composed and decomposed, percent-encoded, and the digests of a url."""
        for form in {text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text), quote(text), quote(text, safe="")}:
            self.patterns.setdefault(form.encode(), name)
            self.patterns.setdefault(form.encode("utf-16-le"), f"{name}, UTF-16")
            self.patterns.setdefault(json.dumps(form)[1:-1].encode(), f"{name}, JSON")
            for algorithm in ("md5", "sha1", "sha256"):
                self.digest(f"{name}, {algorithm}", hashlib.new(algorithm, form.encode()).digest())

    def digest(self, name: str, digest: bytes) -> None:
        """Raw, in hex of either case, in base64 of either alphabet."""
        self.patterns[digest] = f"{name}, raw"
        for text in (digest.hex(), digest.hex().upper()):
            self.patterns[text.encode()] = f"{name}, hex"
        for encoded in (base64.b64encode(digest), base64.urlsafe_b64encode(digest)):
            self.patterns[encoded.rstrip(b"=")] = f"{name}, base64"

    def image(self, name: str, data: bytes) -> None:
        """Its bytes, their digests, and its picture."""
        middle = len(data) // 2
        self.patterns[data[middle : middle + _WINDOW]] = f"{name}, bytes"
        for algorithm in ("md5", "sha1", "sha256"):
            self.digest(f"{name}, {algorithm}", hashlib.new(algorithm, data).digest())
        found = picture_of(data)
        assert found is not None and found[1] >= QUALITY, f"{name} has no PDQ that says anything"
        self.picture(name, found[0])

    def picture(self, name: str, pdq: bytes) -> None:
        self.pictures.append((np.frombuffer(pdq, np.uint8), f"{name}, picture"))


def traces(folders: Sequence[Path], needles: Needles) -> list[Trace]:
    """All needles in all files below the folders, names of files included; each needle once a place."""
    found = dict[Trace, None]()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            for where, data in [(f"{path}, name", str(path.relative_to(folder)).encode()), *_views_of_file(path)]:
                found.update({Trace(where, what): None for what in _matches(data, needles)})
    return list(found)


def _views_of_file(path: Path) -> Iterator[tuple[str, bytes]]:
    return views(path.read_bytes(), str(path)) if path.is_file() else iter(())


def _matches(data: bytes, needles: Needles) -> Iterator[str]:
    yield from (name for pattern, name in needles.patterns.items() if pattern in data)
    hashes = [bytes.fromhex(text.decode()) for text in _HEX64.findall(data)]
    hashes += [data] if len(data) == 32 else []
    picture = picture_of(data)
    hashes += [picture[0]] if picture is not None and picture[1] >= QUALITY else []
    for hash_ in hashes:
        for pdq, name in needles.pictures:
            if np.bitwise_count(np.frombuffer(hash_, np.uint8) ^ pdq).sum() <= DISTANCE:
                yield name
