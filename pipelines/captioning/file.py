"""Captions of a file, looked up by the digest of a key: what memory holds of a row is 29 bytes, whatever its caption's length."""

import hashlib
import mmap
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from pipelines.sources.formats import Chunk, ChunkReader, SourceError, column_names, index
from pipelines.sources.places import matching
from pipelines.sources.rows import numbers_as_text, text_of
from schemas.digest import digest_of_bytes
from schemas.scratch import Scratch
from schemas.store import open_store

KEYS: Final = ("uid", "url", "source_id", "sha256")  # columns of the pool, the first that a file has is taken
MOST_CHARACTERS: Final = 10_000  # our judgement: models' long descriptions have 2,000; a whole page in a cell is no caption
_ROWS: Final = 10_000  # read at a time

# Why a row of a file gives no caption.
REFUSALS: Final = {
    "bad_row": "could not be parsed",
    "wrong_type": "hold something else than text",
    "no_key": "name no pair",
    "no_caption": "have no caption",
    "too_long": f"have a caption of more than {MOST_CHARACTERS:,} characters",
    "repeated": "name a pair that an earlier row names: that one counts",
}


@dataclass(frozen=True)
class Refused:
    """How many rows a reason stands for, and where the first of them is: file and line, from 1."""

    rows: int
    first: str


class CaptionFile:
    """The captions of the files that a path or pattern names. A context: captions lie in a folder of this machine until it ends.

    key: the column that names the pair, of KEYS. rows: of all files; those that give a caption are `taken`, the others are `refused`, by reason.
    Reads the files twice. Measured with 3,000,000 rows, one busy core: 16 s; memory 130 bytes a row at the peak, while it sorts. Raises SourceError.
    """

    def __init__(self, spec: str, columns: Mapping[str, str]):
        root, paths = matching(spec)
        if not paths:
            raise SourceError(f"--captions {spec}: there is no such file")
        self._store, self._paths = open_store(str(root)), list(paths)
        self.key, self._columns = self._key_and_columns(columns)
        self.rows, self.refused = 0, dict[str, Refused]()

    def __enter__(self) -> Self:
        self._scratch = Scratch("captions")
        try:
            self._read(self._scratch.path / "captions.txt")
        except BaseException:
            self._scratch.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._texts.close()
        self._scratch.close()

    def origin(self) -> dict[str, Any]:
        """The files' names and digests, and how they were read: what fixes the captions."""
        files = []
        for path in self._paths:
            with self._store.open(path) as file:
                files.append({"name": Path(path).name, "sha256": digest_of_bytes(file)})
        return {"files": files, "key": self.key, "columns": self._columns}

    @property
    def taken(self) -> int:
        return len(self._places)

    @property
    def unmatched(self) -> int:
        """How many of the taken rows are of no key that was looked for."""
        return self.taken - int(np.count_nonzero(self._met))

    def look_for(self, keys: pa.ChunkedArray) -> None:
        """Notes which rows are of one of the keys: `unmatched` are of none that was looked for."""
        at = self._find(_digests(keys.to_pylist())[0])
        self._met[at[at >= 0]] = True

    def captions_for(self, keys: pa.ChunkedArray) -> pa.Array:
        """The caption of each key; null where the key is, or no row has it."""
        digests, asked = _digests(keys.to_pylist())
        at = self._find(digests)
        found: list[str | None] = [None] * len(keys)
        for row, place in zip(asked, at.tolist(), strict=True):
            if place >= 0:
                start, size = int(self._places[place]), int(self._sizes[place])
                found[row] = self._texts[start : start + size].decode()
        return pa.array(found, pa.string())

    def _find(self, digests: np.ndarray) -> np.ndarray:
        """The place of each digest among the sorted ones; -1 where it is not there."""
        high, low = digests[:, 0], digests[:, 1]
        at = np.searchsorted(self._high, high)
        found = np.full(len(digests), -1, np.int64)
        waiting = np.flatnonzero(at < self.taken)
        while len(waiting):  # a second turn where two rows share the first half of their digests
            begins = self._high[at[waiting]] == high[waiting]
            equal = begins & (self._low[at[waiting]] == low[waiting])
            found[waiting[equal]] = at[waiting[equal]]
            waiting = waiting[begins & ~equal]
            at[waiting] += 1
            waiting = waiting[at[waiting] < self.taken]
        return found

    def _key_and_columns(self, given: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        unknown = sorted(set(given) - {*KEYS, "caption"})
        if unknown:
            raise SourceError(f"--columns {unknown[0]}=…: a file of captions has {', '.join(KEYS)} (one of them) and caption")
        there = column_names(self._store, self._paths[0])
        columns = {name: given.get(name, name) for name in (*KEYS, "caption")}
        key = next((name for name in sorted(KEYS, key=lambda name: (name not in given, KEYS.index(name))) if columns[name] in there), None)
        wrong = key is None or columns["caption"] not in there or any(theirs not in there for theirs in given.values())
        if key is None or wrong:
            raise SourceError(
                f"{self._store.path_of(self._paths[0])} has the columns {', '.join(there)}; say which names the pair ({', '.join(KEYS)}) and "
                "which is the caption, as in --columns uid=ID,caption=TEXT"
            )
        return key, {key: columns[key], "caption": columns["caption"]}

    def _read(self, texts: Path) -> None:
        """Writes all captions to one file, and sorts what is held of their rows."""
        digests, sizes = [np.empty((0, 2), np.uint64)], [np.empty(0, np.uint32)]
        why, firsts = Counter[str](), dict[str, str]()
        with texts.open("wb") as out:
            for path, chunk in self._chunks():
                self.rows += len(chunk.lines)
                keys, captions, reasons = self._checked(chunk)
                for line, reason in zip(chunk.lines, reasons, strict=True):
                    if reason is not None:
                        why[reason] += 1
                        firsts.setdefault(reason, f"{Path(path).name}, line {line}")
                good = [row for row, reason in enumerate(reasons) if reason is None]
                encoded = [(captions[row] or "").encode() for row in good]
                out.write(b"".join(encoded))
                digests.append(_digests([keys[row] for row in good])[0])
                sizes.append(np.array([len(text) for text in encoded], np.uint32))
            out.write(b"\0")  # an empty file cannot be mapped
        self._sort(np.concatenate(digests), np.concatenate(sizes))
        if repeated := sum(map(len, sizes)) - self.taken:
            why["repeated"] = repeated
        self.refused = {reason: Refused(why[reason], firsts.get(reason, "")) for reason in REFUSALS if why[reason]}
        self._met = np.zeros(self.taken, bool)
        with texts.open("rb") as file:
            self._texts = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _chunks(self) -> Iterator[tuple[str, Chunk]]:
        for path in self._paths:
            rows, offsets, lines = index(self._store, path, _ROWS)
            reader = ChunkReader(self._store, path, tuple(offsets), tuple(lines), _ROWS)
            for chunk in range(len(offsets)):
                yield path, reader.read(chunk, min(_ROWS, rows - chunk * _ROWS))

    def _checked(self, chunk: Chunk) -> tuple[list[str | None], list[str | None], list[str | None]]:
        """(keys, captions, why a row is refused) of a chunk."""
        n = len(chunk.lines)
        theirs = chunk.columns.get(self._columns[self.key])
        keys, wrong_keys = text_of(numbers_as_text(theirs) if self.key == "source_id" else theirs, n)
        captions, wrong = text_of(chunk.columns.get(self._columns["caption"]), n)
        tidy_keys = [_tidy_key(self.key, key) for key in keys.to_pylist()]
        tidy = [None if caption is None else unicodedata.normalize("NFC", caption) for caption in captions.to_pylist()]
        bad = (wrong | wrong_keys).tolist()
        reasons = [_refusal(*row) for row in zip(chunk.errors, bad, tidy_keys, tidy, strict=True)]
        return tidy_keys, tidy, reasons

    def _sort(self, digests: np.ndarray, sizes: np.ndarray) -> None:
        """Of rows with the same key the first stays."""
        order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable
        ordered = digests[order]
        first = np.ones(len(order), bool)
        first[1:] = (ordered[1:] != ordered[:-1]).any(1)
        places = np.cumsum(sizes, dtype=np.int64) - sizes
        self._high, self._low = (np.ascontiguousarray(ordered[first, half]) for half in (0, 1))
        self._places, self._sizes = places[order[first]], sizes[order[first]]


def _digests(keys: Sequence[str | None]) -> tuple[np.ndarray, list[int]]:
    """(16 bytes of BLAKE2b of each key that is not null, as two numbers (n, 2), its row)."""
    rows = [row for row, key in enumerate(keys) if key is not None]
    data = b"".join(hashlib.blake2b((keys[row] or "").encode(), digest_size=16).digest() for row in rows)
    return np.frombuffer(data, np.uint64).reshape(-1, 2), rows


def _tidy_key(name: str, key: str | None) -> str | None:
    """The key as the pool has it; null for an empty one."""
    tidy = (key or "").strip()
    return (tidy.lower() if name in ("uid", "sha256") else tidy) or None


def _refusal(error: str | None, wrong: bool, key: str | None, caption: str | None) -> str | None:
    if error is not None:
        return error.partition(":")[0]
    if wrong:
        return "wrong_type"
    if key is None:
        return "no_key"
    if not (caption or "").strip():
        return "no_caption"
    return "too_long" if len(caption or "") > MOST_CHARACTERS else None
