"""From source files to units of rows: indexing, reading, and the checks that every row goes through."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.folder import images_in, listing_digest, read_folder
from pipelines.sources.formats import Chunk, ChunkReader, SourceError, array_of, index
from pipelines.sources.listing import Entry
from schemas.columns import KNOWN_SOURCE_COLUMNS, SOURCE, carried_name
from schemas.digest import digest_of_json
from schemas.follow_ups import follow_up
from schemas.pool import Pool, SourceFile, base_of, number_of, split_unit
from schemas.store import Store

_POOL_NAMES = {"sha256": "expected_sha256"}  # a source's digest is a claim; the pool's `sha256` is measured


def index_file(pool: Pool, entry: Entry, *, unit_size: int) -> SourceFile:
    """Cuts a source file into units and puts pool/files/<file>.json; the one that stands is adopted.

    The name is 16 hex digits of SHA-256 over path, size and digest of the content, and what limits it: a changed file is a new file.
    """
    root, limit, sample = Path(entry.root), entry.limit, entry.sample
    if entry.kind == "folder":
        size, digest = len(images_in(root / entry.path)), listing_digest(root / entry.path)
    else:
        size, digest = (root / entry.path).stat().st_size, _digest(root / entry.path)
    name = digest_of_json([entry.path, size, digest, *([] if limit is None else [limit]), *([] if sample is None else [sample])])[:16]
    standing = pool.file(name)
    if standing is not None:
        return standing
    if entry.kind == "folder":
        rows, offsets = size, list(range(0, size, unit_size))
        lines = [offset + 1 for offset in offsets]
    else:
        rows, offsets, lines = index(Store(root), entry.path, unit_size)
    rows = rows if limit is None else min(rows, limit)
    chunks = math.ceil(rows / unit_size)
    file = SourceFile(
        name,
        entry.root,
        entry.path,
        entry.kind,
        size,
        digest,
        rows,
        unit_size,
        tuple(offsets[:chunks]),
        tuple(lines[:chunks]),
        dict(entry.columns),
        sample,
    )
    pool.put_file(file)
    return file


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class RowReader:
    """Reads units' rows. Picklable: every worker opens its own files. identity: what fetch was told that changes stored bytes."""

    pool: Pool
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._files: dict[str, SourceFile] = {}
        self._readers: dict[str, ChunkReader] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"pool": self.pool, "identity": self.identity, "_files": {}, "_readers": {}}

    def _file(self, unit: str) -> SourceFile:
        name, _ = split_unit(unit)
        if name not in self._files:
            file = self.pool.file(name)
            if file is None:
                raise SourceError(f"unit {unit}: pool/files/{name}.json is missing; run the job again from the start")
            self._files[name] = file
        return self._files[name]

    def input_digest(self, unit: str) -> str:
        """What the unit was made from: file, chunk, and everything that fetch was told that changes bytes; of a follow-up its rows too."""
        if number_of(unit):
            return digest_of_json([self.input_digest(base_of(unit)), list(follow_up(self.pool, unit).rows)])
        file, chunk = self._file(unit), split_unit(unit)[1]
        return digest_of_json([file.file, file.digest, chunk, file.unit_size, dict(file.columns), dict(self.identity)])

    def read(self, unit: str) -> pa.Table:
        """SOURCE's columns, then carried ones; one row per source row, in order. Bad rows have status `invalid` and an error."""
        if number_of(unit):
            return self.read(base_of(unit)).take(pa.array(follow_up(self.pool, unit).rows))
        file, chunk = self._file(unit), split_unit(unit)[1]
        start, rows = chunk * file.unit_size, min(file.unit_size, file.rows - chunk * file.unit_size)
        if file.kind == "folder":
            found = read_folder(Path(file.source), file.path, start, rows)
        else:
            if file.file not in self._readers:
                self._readers[file.file] = ChunkReader(Store(file.source), file.path, file.offsets, file.lines, file.unit_size)
            found = self._readers[file.file].read(chunk, rows)
        if len(found.lines) != rows:
            raise SourceError(
                f"{Path(file.source, file.path)} changed while it was read: {len(found.lines)} rows in unit {unit}, {rows} expected"
            )
        table = source_table(found, file.columns)
        return table if file.sample is None else table.take(pa.array(file.sampled(chunk)))

    def read_image(self, unit: str, file_name: str) -> bytes:
        """The bytes of an image of a folder source. Raises FileNotFoundError."""
        file = self._file(unit)
        return Path(file.source, Path(file.path).parent if file.kind == "rows" else "", file_name).read_bytes()


def source_table(chunk: Chunk, mapping: Mapping[str, str]) -> pa.Table:
    """A chunk as SOURCE's columns and carried ones, every row checked."""
    n = len(chunk.lines)
    theirs = {name: mapping.get(name, name) for name in KNOWN_SOURCE_COLUMNS}
    wrong = np.zeros(n, bool)
    columns: dict[str, pa.Array] = {}
    for name in KNOWN_SOURCE_COLUMNS:
        array = chunk.columns.get(theirs[name])
        text, not_text = _text(array, n)
        wrong |= not_text
        columns[_POOL_NAMES.get(name, name)] = text
    for name, array in chunk.columns.items():
        if name not in theirs.values():
            columns[carried_name(name)] = array_of(array) if isinstance(array, list) else array
    errors = chunk.errors
    if any(error is None for error in errors):
        urls, names, captions = (columns[name].to_pylist() for name in ("url", "file_name", "caption"))
        errors = [
            error or ("wrong_type: a known column holds something else than text" if bad else _check(url, name, caption))
            for error, bad, url, name, caption in zip(errors, wrong, urls, names, captions, strict=True)
        ]
    columns["source_line"] = pa.array(chunk.lines, pa.int64())
    columns["status"] = pa.array([None if error is None else "invalid" for error in errors], pa.string())
    columns["error_message"] = pa.array(errors, pa.string())
    known = pa.table({name: columns.pop(name) for name in SOURCE.names}, schema=SOURCE)
    for name, array in columns.items():
        known = known.append_column(name, array)
    return known


def _text(array: Any, n: int) -> tuple[pa.Array, np.ndarray]:
    """(the values as text, which rows hold something else than text), of an array, a list or nothing. What is no text is null here."""
    if isinstance(array, list):
        wrong = np.array([value is not None and not isinstance(value, str) for value in array], bool)
        return pa.array([None if bad else value for value, bad in zip(array, wrong, strict=True)], pa.string()), wrong
    if array is None or pa.types.is_null(array.type):
        return pa.nulls(n, pa.string()), np.zeros(n, bool)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return array.cast(pa.string()), np.zeros(n, bool)
    return pa.nulls(n, pa.string()), np.asarray(pc.is_valid(array))


_DRIVE = re.compile(r"^[A-Za-z]:")


def _check(url: str | None, file_name: str | None, caption: str | None) -> str | None:
    """The error of a parsed row, or None for a pair that can be asked for."""
    where = (url or "").strip() or (file_name or "").strip()
    if not where:
        return "no_url"
    if (url or "").strip():
        try:
            parts = urlsplit(where)
            good = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.username is None and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good:
            return "bad_url: no http or https url"
    elif where.startswith(("/", "\\")) or _DRIVE.match(where) or ".." in re.split(r"[/\\]", where):
        return "bad_url: a file name that leaves the folder"
    if not (caption or "").strip():
        return "no_caption"
    return None
