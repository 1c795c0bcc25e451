"""The members of a tar and where their bytes lie, from its headers: ustar, pax and GNU long names, damaged ones too.

Python's `tarfile` ends in silence at a damaged header, as if the archive ended there; here the damage is told.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from pipelines.sources.formats import SourceError
from pipelines.sources.places import Place, RemotePath, open_bytes, size_of

BLOCK: Final = 512
_COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_REGULAR: Final = b"0\x007"  # type flags of files; 7 is one that asks to be stored in one piece
_TEXTS: Final = (".txt", ".json", ".caption")
MOST_TEXT: Final = 1 << 20  # bytes of a text member; what is longer is no caption, and is not read
_MOST_EXTENDED: Final = 1 << 20  # bytes of a pax or long-name header; further ones are damage


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file: `size` bytes at `offset` of the tar; cut: whether the tar ends before them."""

    name: str
    offset: int
    size: int
    cut: bool = False


@dataclass(frozen=True)
class Members:
    """Regular files in the order of the tar. damage: what is wrong with the tar, or None; what stood behind the damage is not known.

    digest: SHA-256 over the tar's length, every header as it stands (name, length, time of each member) and the bytes of its text members
    (.txt, .json, .caption): all that rows are made of, without reading an image. Two tars that differ in an image alone, with equal
    lengths and times, have the same digest: what pins the images is the SHA-256 of each in the unit's commit, and UserTar.state.
    """

    found: list[Member]
    digest: str
    damage: str | None


def members_of(path: Place) -> Members:
    """Reads the headers and text members of a tar; about 5 us a member. Raises SourceError for a compressed or an empty file, and OSError."""
    with open_bytes(str(path)) as file:
        start = file.read(6)
        for magic, name in _COMPRESSED.items():
            if start.startswith(magic):
                raise SourceError(
                    f"{path} is compressed ({name}); images are read from a tar where they lie: unpack it to a plain .tar first"
                )
        if not start:
            raise SourceError(f"{path} is empty; take it out of --source, or make it again")
        far = isinstance(path, RemotePath)
        if not far:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # else the images between the headers are read ahead
        reader = _Reader(file.read_at if far else partial(os.pread, file.fileno()), size_of(path))
        found = list(reader)
        if reader.damage is not None and not reader.headers:
            raise SourceError(f"{path} is no tar: {reader.damage}")
        return Members(found, reader.digest(), reader.damage)


class _Reader:
    """Iterates once over the regular files of a tar; `damage` and `digest` are known afterwards."""

    def __init__(self, pread: Callable[[int, int], bytes], length: int):
        """pread: (size, offset) to bytes."""
        self._pread, self._length = pread, length
        self._hash = hashlib.sha256(str(self._length).encode())
        self._global: dict[str, str] = {}  # what a pax global header says of all members behind it
        self.headers = 0
        self.damage: str | None = None

    def digest(self) -> str:
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[Member]:
        at, ended = 0, False
        said: dict[str, str] = {}  # what extended headers say of the next member
        while at < self._length:
            header = self._pread(BLOCK, at)
            if len(header) == BLOCK and not header.strip(b"\0"):
                at, ended = at + BLOCK, True
                continue
            if len(header) < BLOCK or not _is_header(header):
                if not ended:  # behind the end mark anything may stand; another tar that was appended goes on
                    self.damage = f"there is no whole tar header at byte {at:,}"
                return
            ended = False
            self.headers += 1
            self._hash.update(header)
            kind, size = header[156:157], _number(header[124:136])
            if size < 0:
                self.damage = f"the header at byte {at:,} has no length"
                return
            if kind in b"xgLK":
                text = self._pread(min(size, _MOST_EXTENDED), at + BLOCK)
                self._hash.update(text)
                if len(text) < size:
                    self.damage = f"the extended header at byte {at:,} is cut off or too long"
                    return
                if kind == b"g":
                    self._global.update(_pax(text))
                elif kind == b"x":
                    said.update(_pax(text))
                elif kind == b"L":
                    said["path"] = _text(text.rstrip(b"\0"))
            else:
                told, said = {**self._global, **said}, {}
                size = int(said_size) if (said_size := told.get("size", "")).isascii() and said_size.isdigit() else size
                if kind in _REGULAR:
                    member = Member(told.get("path") or _name(header), at + BLOCK, size, cut=at + BLOCK + size > self._length)
                    if member.name.lower().endswith(_TEXTS):
                        self._hash.update(self._pread(min(size, MOST_TEXT), member.offset))
                    yield member
                elif kind not in b"S":  # links and folders have no bytes, whatever their header says; GNU's sparse files do
                    size = 0
                if at + BLOCK + size > self._length:
                    self.damage = f"it ends at byte {self._length:,}, within {told.get('path') or _name(header)}"
                    return
            at += BLOCK + -(-size // BLOCK) * BLOCK
        if not ended:
            self.damage = f"it ends at byte {self._length:,} without an end mark"


def _is_header(header: bytes) -> bool:
    """Whether the checksum is right: the sum of all bytes, the checksum's own eight counted as blanks."""
    return sum(header) - sum(header[148:156]) + 8 * ord(" ") == _number(header[148:156])


def _number(field: bytes) -> int:
    """Octal digits, or GNU's binary form for large numbers; -1 for neither."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    try:
        return int(field.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        return -1


def _name(header: bytes) -> str:
    name = _text(header[:100].split(b"\0", 1)[0])
    if header[257:263] == b"ustar\0" and header[345]:
        return _text(header[345:500].split(b"\0", 1)[0]) + "/" + name
    return name


def _pax(data: bytes) -> dict[str, str]:
    """The records `<length> <key>=<value>\\n` of a pax header, up to the first senseless one."""
    found, at = {}, 0
    while at < len(data):
        digits, _, _ = data[at : at + 20].partition(b" ")
        if not digits.isdigit() or int(digits) <= len(digits) + 1:
            break
        key, equals, value = data[at + len(digits) + 1 : at + int(digits)].rstrip(b"\n").partition(b"=")
        if equals:
            found[_text(key)] = _text(value)
        at += int(digits)
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
