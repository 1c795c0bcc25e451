"""From source files to units of rows: indexing, reading, and the checks that every row goes through."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.folder import images_in, listing_digest, read_folder
from pipelines.sources.formats import Chunk, ChunkReader, SourceError, array_of, index
from pipelines.sources.listing import TARS, Entry
from pipelines.sources.places import Place as FilePlace
from pipelines.sources.places import place_of, size_of
from pipelines.sources.tars import Place, TarReader, beside_of
from schemas.columns import KNOWN_SOURCE_COLUMNS, SOURCE, carried_name
from schemas.digest import digest_of_bytes, digest_of_json
from schemas.follow_ups import follow_up
from schemas.pool import Pool
from schemas.store import open_store
from schemas.units import SourceFile, base_of, number_of, split_unit
from schemas.user_tar import UserTar

_POOL_NAMES = {"sha256": "expected_sha256"}  # a source's digest is a claim; the pool's `sha256` is measured
_OPEN = 4  # row files that one process reads forwards at a time: each holds its place and a batch


def index_file(pool: Pool, entry: Entry, *, unit_size: int) -> SourceFile:
    """Cuts a source file into units and puts pool/files/<file>.json; the one that stands is adopted.

    The name is 16 hex digits of SHA-256 over path, size and digest of the content, and what limits it: a changed file is a new file.
    """
    root, limit, sample = place_of(entry.root), entry.limit, entry.sample
    tar = _open_tar(root, entry.path, entry.kind) if entry.kind in TARS else None
    if entry.kind == "folder":
        size, digest = len(images_in(root / entry.path)), listing_digest(root / entry.path)
    elif tar is not None:
        size, digest = size_of(root / entry.path), tar.digest
    else:
        with (root / entry.path).open("rb") as content:
            size, digest = size_of(root / entry.path), digest_of_bytes(content)
    name = digest_of_json(
        [
            entry.path,
            size,
            digest,
            *([] if limit is None else [limit]),
            *([] if sample is None else [sample]),
            *([] if entry.header is None else [list(entry.header)]),
        ]
    )[:16]
    standing = pool.file(name)
    if standing is not None:
        if dict(standing.columns) != dict(entry.columns):
            raise SourceError(
                f"{root / entry.path} is in this dataset already, read with --columns {dict(standing.columns) or '(not given)'}, "
                f"not {dict(entry.columns) or '(not given)'}; a file is read in one way: give another --dataset, or a copy of it with other content"
            )
        return standing
    if entry.kind == "folder" or tar is not None:
        rows = size if tar is None else tar.rows
        offsets = list(range(0, rows, unit_size))
        lines = [offset + 1 for offset in offsets]
    else:
        rows, offsets, lines = index(open_store(entry.root), entry.path, unit_size, entry.header)
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
        entry.header,
    )
    pool.put_file(file)
    return file


def _open_tar(root: FilePlace, path: str, kind: str) -> TarReader:
    try:
        return TarReader(root, path, beside=beside_of(root, path) if kind == "img2dataset" else None)
    except OSError as error:
        raise SourceError(f"{root / path}: cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class InPlace:
    """A unit whose images stay in a tar of the user's. source: its rows, as RowReader.read gives them; places[i]: where row i's image lies."""

    source: pa.Table
    tar: UserTar
    places: list[Place | None]


@dataclass
class RowReader:
    """Reads units' rows. Picklable: every worker opens its own files. identity: what fetch was told that changes stored bytes."""

    pool: Pool
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._files: dict[str, SourceFile] = {}
        self._readers: dict[str, ChunkReader] = {}
        self._places: dict[str, FilePlace] = {}  # by source: one behind a URL is listed once
        self._tar: tuple[str, TarReader] | None = None  # the last one: of a million members it takes some 200 MB

    def __getstate__(self) -> dict[str, Any]:
        return {"pool": self.pool, "identity": self.identity, "_files": {}, "_readers": {}, "_places": {}, "_tar": None}

    def _file(self, unit: str) -> SourceFile:
        name, _ = split_unit(unit)
        if name not in self._files:
            file = self.pool.file(name)
            if file is None:
                raise SourceError(f"unit {unit}: pool/files/{name}.json is missing; run the job again from the start")
            self._files[name] = file
        return self._files[name]

    def _place(self, file: SourceFile) -> FilePlace:
        """The root of a file's source."""
        return self._places.setdefault(file.source, place_of(file.source))

    def input_digest(self, unit: str) -> str:
        """What the unit was made from: file, chunk, and everything that fetch was told that changes bytes; of a follow-up its rows too."""
        if number_of(unit):
            return digest_of_json([self.input_digest(base_of(unit)), list(follow_up(self.pool, unit).rows)])
        file, chunk = self._file(unit), split_unit(unit)[1]
        return digest_of_json([file.file, file.digest, chunk, file.unit_size, dict(file.columns), dict(self.identity)])

    def read(self, unit: str) -> pa.Table:
        """SOURCE's columns, then carried ones; one row per source row, in order. Bad rows have status `invalid` and an error."""
        if number_of(unit):
            return self._asked_again(unit)
        in_place = self.in_place(unit)
        if in_place is not None:
            return in_place.source
        file, chunk = self._file(unit), split_unit(unit)[1]
        start, rows = chunk * file.unit_size, min(file.unit_size, file.rows - chunk * file.unit_size)
        if file.kind == "folder":
            found = read_folder(self._place(file), file.path, start, rows)
        else:
            if file.file not in self._readers:
                self._readers[file.file] = ChunkReader(
                    open_store(file.source), file.path, file.offsets, file.lines, file.unit_size, file.header
                )
                while len(self._readers) > _OPEN:
                    del self._readers[next(iter(self._readers))]
            found = self._readers[file.file].read(chunk, rows)
        if len(found.lines) != rows:
            raise SourceError(
                f"{self._place(file) / file.path} changed while it was read: {len(found.lines)} rows in unit {unit}, {rows} expected"
            )
        table = source_table(found, file.columns)
        return table if file.sample is None else table.take(pa.array(file.sampled(chunk), pa.int64()))

    def _asked_again(self, unit: str) -> pa.Table:
        """The rows of a follow-up. What a tar of the user's does not hold is asked for at its url, whatever kept its maker from getting it."""
        base, rows = base_of(unit), pa.array(follow_up(self.pool, unit).rows, pa.int64())
        in_place = self._in_place(base, again=True)
        return (self.read(base) if in_place is None else in_place.source).take(rows)

    def is_in_place(self, unit: str) -> bool:
        """Whether the unit's images stay in a tar of the user's; those of a follow-up come from the web."""
        return not number_of(unit) and self._file(unit).kind in TARS

    def in_place(self, unit: str) -> InPlace | None:
        """The unit's rows and where their images lie, for a unit of a tar of the user's; None for others, and for a follow-up.

        Raises SourceError.
        """
        return self._in_place(unit)

    def _in_place(self, unit: str, *, again: bool = False) -> InPlace | None:
        """As in_place; again: of rows that are to be asked for at their url."""
        if not self.is_in_place(unit):
            return None
        file, chunk = self._file(unit), split_unit(unit)[1]
        if self._tar is None or self._tar[0] != file.file:
            self._tar = (file.file, _open_tar(self._place(file), file.path, file.kind))
        tar, start = self._tar[1], chunk * file.unit_size
        if tar.digest != file.digest:
            raise SourceError(
                f"{tar.tar.path} is not the file that unit {unit} was cut from; put it back as it was, or use a new --dataset"
            )
        found = tar.read(start, min(file.unit_size, file.rows - start))
        if again:
            found = replace(found, rows=_at_their_urls(found.rows, file.columns))
        taken = file.sampled(chunk)
        return InPlace(
            source_table(found.rows, file.columns).take(pa.array(taken, pa.int64())), tar.tar, [found.places[row] for row in taken]
        )

    def read_image(self, unit: str, file_name: str) -> bytes:
        """The bytes of an image of a folder source. Raises FileNotFoundError."""
        file = self._file(unit)
        base = (self._place(file) / file.path).parent if file.kind == "rows" else self._place(file)
        return (base / file_name).read_bytes()


def _at_their_urls(chunk: Chunk, mapping: Mapping[str, str]) -> Chunk:
    """A tar's rows without what kept their images from it, where they have a url: nobody looked at the rest of such a row before.

    What makes a row no pair stays.
    """
    column = chunk.columns.get(mapping.get("url", "url"))
    urls = column if isinstance(column, list) else [None] * len(chunk.lines) if column is None else column.to_pylist()
    told = chunk.statuses or ["invalid"] * len(chunk.lines)
    errors = [
        None if url is not None and status != "invalid" else error for url, status, error in zip(urls, told, chunk.errors, strict=True)
    ]
    return replace(chunk, errors=errors)


def source_table(chunk: Chunk, mapping: Mapping[str, str]) -> pa.Table:
    """A chunk as SOURCE's columns and carried ones, every row checked."""
    n = len(chunk.lines)
    theirs = {name: mapping.get(name, name) for name in KNOWN_SOURCE_COLUMNS}
    wrong = np.zeros(n, bool)
    columns: dict[str, pa.Array] = {}
    for name in KNOWN_SOURCE_COLUMNS:
        array = chunk.columns.get(theirs[name])
        text, not_text = text_of(numbers_as_text(array) if name == "source_id" else array, n)
        wrong |= not_text
        columns[_POOL_NAMES.get(name, name)] = text
    for name, array in chunk.columns.items():
        if name not in theirs.values():
            columns[carried_name(name)] = array_of(array) if isinstance(array, list) else array
    errors = chunk.errors
    if any(error is None for error in errors):
        urls, names, captions, claims = (columns[name].to_pylist() for name in ("url", "file_name", "caption", "expected_sha256"))
        errors = [
            error or ("wrong_type: a known column holds something else than text" if bad else _check(url, name, caption, claim))
            for error, bad, url, name, caption, claim in zip(errors, wrong, urls, names, captions, claims, strict=True)
        ]
    columns["source_line"] = pa.array(chunk.lines, pa.int64())
    # A row that its source could not fetch has a status of its own; what is wrong with a row makes it invalid.
    told = chunk.statuses or ["invalid"] * n
    own = [
        None if error is None else status if given else "invalid" for error, given, status in zip(errors, chunk.errors, told, strict=True)
    ]
    columns["status"] = pa.array(own, pa.string())
    columns["error_message"] = pa.array(errors, pa.string())
    known = pa.table({name: columns.pop(name) for name in SOURCE.names}, schema=SOURCE)
    for name, array in columns.items():
        known = known.append_column(name, array)
    return known


def numbers_as_text(array: Any) -> Any:
    """Whole numbers as text: an id may be either (coyo's `id`, laion's `SAMPLE_ID`)."""
    if isinstance(array, list):
        return [str(value) if isinstance(value, int) and not isinstance(value, bool) else value for value in array]
    return array.cast(pa.string()) if array is not None and pa.types.is_integer(array.type) else array


def text_of(array: Any, n: int) -> tuple[pa.Array, np.ndarray]:
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
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


def _check(url: str | None, file_name: str | None, caption: str | None, claim: str | None) -> str | None:
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
    if (claim or "").strip() and not _SHA256.fullmatch((claim or "").strip()):
        return "sha256: the source's digest is no 64 hex digits"
    return None
