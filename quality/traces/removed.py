"""What was removed, known again in any bytes by digests alone: identities, addresses, files, pictures, names of creators."""

import hashlib
import re
from collections.abc import Iterator
from typing import Final

import numpy as np

from quality.block_lists import BlockLists
from quality.near.listed import NearList
from quality.near_duplicates import QUALITY
from quality.traces.views import picture_of
from schemas.removals import KINDS, Entries

_HEX: Final = re.compile(rb"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{32})(?![0-9A-Fa-f])")
_URL: Final = re.compile(rb"https?://[^\s\"'<>\\`{}|^\x00-\x1f]+")
_AROUND: Final = b".,;:!?)]*_"  # what a sentence may put behind a url
_NAME: Final = 400  # bytes of the longest name of a creator


class Removed:
    """entries: of removals (schemas.removals.KINDS)."""

    def __init__(self, entries: Entries):
        self._entries, self._lists = entries, BlockLists(entries)
        pictures = sorted(entries.get("pdq", ()))
        self._pictures = NearList(np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, 32)) if pictures else None
        self._creators = bool(entries.get("creator_sha256"))
        assert entries.keys() <= KINDS.keys()

    def __bool__(self) -> bool:
        return any(self._entries.values())

    def matches(self, data: bytes) -> Iterator[str]:
        """What of it is in the data: a file or a text, decoded as far as it can be (quality.traces.views)."""
        if hashlib.sha256(data).digest() in self._of("sha256"):
            yield "the bytes of a file"
        digests = [bytes.fromhex(text.decode()) for text in _HEX.findall(data)]
        for digest in [*digests, *([data] if len(data) in (16, 32) else [])]:
            yield from self._digest(digest)
        for text in _URL.findall(data):
            forms = {text, text.rstrip(_AROUND)}
            if any(self._lists.kind_of_url(form.decode("utf-8", "surrogateescape")) for form in forms):
                yield "an address"
        if self._creators and len(data) <= _NAME and self._lists.kind_of_creator(data.decode("utf-8", "surrogateescape")):
            yield "a creator's name"
        picture = picture_of(data) if self._pictures is not None else None
        if picture is not None and picture[1] >= QUALITY and self._near(picture[0]):
            yield "a picture"

    def _digest(self, digest: bytes) -> Iterator[str]:
        if digest in self._of("uid"):
            yield "an identity"
        if digest in self._of("sha256"):
            yield "a file's SHA-256"
        if len(digest) == 32 and self._near(digest):
            yield "a picture's PDQ"

    def _near(self, pdq: bytes) -> bool:
        return self._pictures is not None and bool(self._pictures.near(np.frombuffer(pdq, np.uint8).reshape(1, 32))[0])

    def _of(self, kind: str) -> frozenset[bytes]:
        return self._entries.get(kind, frozenset())
