"""Tars against the tables that say what is in them, member by member."""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa

from pipelines.tar import BLOCK, RECORD
from pipelines.verify.findings import RESTORE, Finding, differing

_UNTOLD: Final = frozenset(
    {"member", "offset", "size", "sha256"}
)  # of an index: what a sample's JSON does not say, or says of the pool's bytes
_SHOWN: Final = 20  # findings of one tar; then they are counted


def images_of_unit(path: str, file: pa.NativeFile, rows: pa.Table, *, hashed: bool) -> Iterator[Finding]:
    """The images of a unit's rows in its tar. rows: row, uid, sha256, offset, size, where offset is not null. hashed: whether sha256 is of the
    stored bytes."""
    end = file.size()
    for row in rows.sort_by("offset").to_pylist():
        place, offset, size = f"row {row['row']} (uid {row['uid']})", row["offset"], row["size"]
        if offset + size > end:
            yield Finding(path, place, "the tar ends before the image does", f"{offset + size:,} bytes or more", f"{end:,}", RESTORE)
            return  # whatever comes behind is cut off too
        if hashed:
            yield from differing(path, place, "sha256 of the image", row["sha256"], hashlib.sha256(file.read_at(size, offset)).hexdigest())
        if offset >= BLOCK:
            told = _header(file, offset - BLOCK)
            yield from differing(path, place, "size in the member's header", size, "no header" if told is None else told.size)


def samples_of_shard(path: str, file: pa.NativeFile, index: pa.Table) -> Iterator[Finding]:
    """Every sample of an index in its tar: image, caption and JSON, in order, with nothing between or behind them."""
    end, position = file.size(), 0
    for row in index.to_pylist():
        uid = row["uid"]
        for member, check in ((row["member"], _image), (f"{uid}.txt", _caption), (f"{uid}.json", _json)):
            told = _header(file, position) if position + BLOCK <= end else None
            stop = position + BLOCK + (told.size if told is not None and told.name == member else 0)
            if stop > end:
                yield Finding(path, member, "the tar ends before the member does", f"{stop:,} bytes or more", f"{end:,}", RESTORE)
                return
            if told is None or told.name != member:
                yield Finding(path, member, f"header at byte {position:,}", member, "no header" if told is None else told.name, RESTORE)
                break  # the next sample is found by the index
            yield from check(path, member, row, position + BLOCK, file.read_at(told.size, position + BLOCK))
            position += BLOCK + told.size + -told.size % BLOCK
        else:
            continue
        position = _next_sample(index, row)
        if position < 0:
            return
    rest = file.read_at(end - position, position)
    wanted = 2 * BLOCK + -(position + 2 * BLOCK) % RECORD
    if rest != bytes(wanted):
        what = f"{len(rest):,} bytes, all zero" if not any(rest) else f"{len(rest):,} bytes, not all zero"
        yield Finding(path, f"byte {position:,}", "the end mark", f"{wanted:,} bytes, all zero", what, RESTORE)


def _next_sample(index: pa.Table, row: Mapping[str, Any]) -> int:
    """Where the sample behind a damaged one begins, as the index says; -1 where it was the last."""
    behind = [offset for offset in index["offset"].to_pylist() if offset > row["offset"]]
    return min(behind) - BLOCK if behind else -1


def _header(file: pa.NativeFile, position: int) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(file.read_at(BLOCK, position), "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None


def _image(path: str, member: str, row: Mapping[str, Any], offset: int, data: bytes) -> Iterator[Finding]:
    yield from differing(path, member, "offset", row["offset"], offset)
    yield from differing(path, member, "size", row["size"], len(data))
    yield from differing(path, member, "sha256 of the image", row["sha256"], hashlib.sha256(data).hexdigest())


def _caption(path: str, member: str, row: Mapping[str, Any], offset: int, data: bytes) -> Iterator[Finding]:
    yield from differing(path, member, "caption", row["caption"] or "", data.decode("utf-8", "replace"))


def _json(path: str, member: str, row: Mapping[str, Any], offset: int, data: bytes) -> Iterator[Finding]:
    try:
        told = json.loads(data)
    except ValueError as error:
        yield Finding(path, member, "is no JSON", "", str(error), RESTORE)
        return
    for name, value in row.items():
        if name not in _UNTOLD and (value is None or isinstance(value, str | int | float)):
            yield from differing(path, f"{member}, {name}", "value", value, told.get(name))


def shortened(findings: Iterator[Finding]) -> list[Finding]:
    """The first of a tar's findings, and how many more there are."""
    found = list(findings)
    if len(found) <= _SHOWN:
        return found
    more = Finding(found[0].path, "", f"{len(found) - _SHOWN:,} more members are wrong", "", "", RESTORE)
    return [*found[:_SHOWN], more]
