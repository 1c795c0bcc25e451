"""Row files: CSV, TSV, JSONL (plain, gzip, zstd) and Parquet, read a chunk at a time.

`index` counts a file's rows once and says where each chunk starts; a ChunkReader then opens only what it needs. A row that cannot be
parsed is a row with an error, never a lost one.
"""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources.forward import ForwardReader
from schemas.store import Store

TEXT_FORMATS: Final = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


class SourceError(Exception):
    """The source cannot be used; the message says what, where and what to do."""


@dataclass(frozen=True)
class Row:
    """One parsed line. values: None when it could not be parsed, with the reason in `error`. line: from 1.

    status: of a row with an error; a source that was fetched before says it of rows that are well-formed.
    """

    line: int
    values: dict[str, Any] | None
    error: str | None = None
    status: str = "invalid"


@dataclass(frozen=True)
class Chunk:
    """Rows of one chunk as columns: an Arrow array where the file is typed, a list of values where each row says its own type.

    lines: where each row stands in the file, from 1. errors: a reason per row, or None. statuses: of the rows with an error; None for
    "invalid" in all of them.
    """

    columns: dict[str, pa.Array | list[Any]]
    lines: list[int]
    errors: list[str | None]
    statuses: list[str] | None = None


def format_of(path: str) -> tuple[str, str | None]:
    """(format, compression) by suffix. Raises SourceError, naming the suffixes that are known."""
    stem, compression = path, None
    for suffix, name in COMPRESSIONS.items():
        if path.lower().endswith(suffix):
            stem, compression = path[: -len(suffix)], name
    lowered = stem.lower()
    if lowered.endswith(".parquet") and compression is None:
        return "parquet", None
    for suffix, name in TEXT_FORMATS.items():
        if lowered.endswith(suffix):
            return name, compression
    known = ", ".join([*TEXT_FORMATS, ".parquet"])
    raise SourceError(f"{path}: unknown kind of file; a source is {known} (text also with .gz or .zst), .tar or a folder")


def column_names(store: Store, path: str, header: tuple[str, ...] | None = None) -> list[str]:
    """The columns of a row file, from its header, its Parquet schema, or its first JSONL rows. Raises SourceError.

    header: here and below, the columns of a CSV or TSV file without a header line, whose fields are not quoted: a row is a line.
    """
    kind, _ = format_of(path)
    if header is not None and kind in _SEPARATED:
        return list(header)
    try:
        if kind == "parquet":
            with store.open(path) as file:
                return list(pq.read_schema(file).names)
        if kind == "jsonl":
            names = dict.fromkeys(name for row in islice(_rows(store, path, 0, 1), 100) for name in row.values or ())
            return list(names)
        with _text(store, path, 0) as text:
            return next(_reader(text, kind, None), [])
    except (OSError, pa.ArrowException, csv.Error, UnicodeError, EOFError) as error:
        raise SourceError(f"{store.path_of(path)}: cannot be read as {kind}: {error}") from error


def index(store: Store, path: str, unit_size: int, header: tuple[str, ...] | None = None) -> tuple[int, list[int], list[int]]:
    """(rows, offsets, lines) of a row file: for each chunk of `unit_size` rows, where it starts and that place's line, from 1.

    Offsets are bytes for plain text, rows otherwise. Raises SourceError.
    """
    kind, compression = format_of(path)
    try:
        if kind == "parquet":
            rows = parquet_rows(store, path)
            starts = list(range(0, rows, unit_size))
            return rows, starts, [start + 1 for start in starts]
        rows, offsets, lines = 0, [], []
        with _text(store, path, 0, encoding="latin-1") as text:
            for start, line in _starts(text, kind, header):
                if rows % unit_size == 0:
                    offsets.append(rows if compression else start)
                    lines.append(line)
                rows += 1
        return rows, offsets, lines
    except (OSError, pa.ArrowException, EOFError) as error:
        raise SourceError(f"{store.path_of(path)}: cannot be read as {kind}: {error}") from error


class ChunkReader:
    """Reads chunks of one row file. Compressed text and Parquet are read forwards: the next chunk goes on where the last one ended."""

    def __init__(
        self,
        store: Store,
        path: str,
        offsets: tuple[int, ...],
        lines: tuple[int, ...],
        unit_size: int,
        header: tuple[str, ...] | None = None,
    ):
        self.header = header
        self.store, self.path, self.offsets, self.lines, self.unit_size = store, path, offsets, lines, unit_size
        self.kind, self.compression = format_of(path)
        self._forward: tuple[int, Iterator[Row]] | None = None
        self._parquet = ForwardReader(store, path, batch=unit_size) if self.kind == "parquet" else None

    def read(self, chunk: int, rows: int) -> Chunk:
        """The `rows` rows of a chunk."""
        if self._parquet is not None:
            return chunk_of(self._parquet.read(chunk * self.unit_size, rows), chunk * self.unit_size)
        if self.compression is None:
            return columns_of(list(islice(self._rows(self.offsets[chunk], self.lines[chunk]), rows)))
        if self._forward is None or self._forward[0] > chunk:
            self._forward = (0, self._rows(0, 1))
        at, iterator = self._forward
        for _ in islice(iterator, (chunk - at) * self.unit_size):
            pass
        found = list(islice(iterator, rows))
        for _ in islice(iterator, self.unit_size - rows):
            pass
        self._forward = (chunk + 1, iterator)
        return columns_of(found)

    def _rows(self, offset: int, line: int) -> Iterator[Row]:
        return _rows(self.store, self.path, offset, line, self.header)


def parquet_rows(store: Store, path: str) -> int:
    """How many rows a Parquet file has."""
    with store.open(path) as file:
        return pq.read_metadata(file).num_rows


def read_parquet(store: Store, path: str, start: int, rows: int) -> Chunk:
    """Rows start .. start + rows of a Parquet file; reads the row groups that hold them."""
    with store.open(path) as source:
        file = pq.ParquetFile(source)
        groups, first, seen = [], None, 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if seen < start + rows and seen + size > start:
                first = seen if first is None else first
                groups.append(group)
            seen += size
        return chunk_of(file.read_row_groups(groups).slice(start - (first or 0), rows), start)


def chunk_of(table: pa.Table, start: int) -> Chunk:
    """A chunk of the rows of a Parquet file from `start`."""
    columns = {name: _one(table[name]) for name in table.column_names}
    return Chunk(columns, list(range(start + 1, start + 1 + table.num_rows)), [None] * table.num_rows)


def _one(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)


def columns_of(rows: list[Row]) -> Chunk:
    names = dict.fromkeys(name for row in rows for name in row.values or ())
    columns: dict[str, Any] = {name: [None if row.values is None else row.values.get(name) for row in rows] for name in names}
    return Chunk(columns, [row.line for row in rows], [row.error for row in rows], [row.status for row in rows])


def array_of(values: list[Any]) -> pa.Array:
    """Text as text; other JSON values in their Arrow type, or as JSON text where a column mixes types."""
    if all(value is None or isinstance(value, str) for value in values):
        return pa.array(values, pa.string())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # of the last: a whole number of more than 64 bits
        return pa.array([value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values])


# ---- text


_SEPARATED: Final = {"csv": ",", "tsv": "\t"}


def _reader(lines: Iterable[str], kind: str, header: tuple[str, ...] | None) -> Any:
    return csv.reader(iter(lines), delimiter=_SEPARATED[kind], quoting=csv.QUOTE_MINIMAL if header is None else csv.QUOTE_NONE)


def _is_header(fields: list[str], header: tuple[str, ...]) -> bool:
    """Whether somebody has put the header line into a file that comes without."""
    marks = ("\ufeff", "\xef\xbb\xbf")  # a byte order mark as UTF-8 or Latin-1 reads it
    return [fields[0].removeprefix(marks[0]).removeprefix(marks[1]), *fields[1:]] == list(header) if fields else False


def _text(store: Store, path: str, offset: int, encoding: str | None = None) -> io.TextIOWrapper:
    """The file's text from a byte offset. Bytes that are no UTF-8 come as lone surrogates, so that their row can be told."""
    _, compression = format_of(path)
    raw: Any = store.open(path)
    if compression is not None:
        raw = pa.CompressedInputStream(raw, compression)
    elif offset:
        raw.seek(offset)
    encoding = encoding or ("utf-8" if offset else "utf-8-sig")
    return io.TextIOWrapper(io.BufferedReader(raw, 1 << 20), encoding=encoding, errors="surrogateescape", newline="")


class _Counted:
    """Lines of a text in Latin-1, where a character is a byte, counting the lines and bytes handed out."""

    def __init__(self, text: io.TextIOWrapper):
        self.text, self.bytes, self.lines = text, 0, 0

    def __iter__(self) -> Iterator[str]:
        for line in self.text:
            self.bytes += len(line)
            self.lines += 1
            yield line


def _starts(text: io.TextIOWrapper, kind: str, header: tuple[str, ...] | None) -> Iterator[tuple[int, int]]:
    """(byte offset, line) of each row's start. Blank lines are no rows."""
    counted = _Counted(text)
    if kind == "jsonl":
        start = (0, 1)
        for line in counted:
            if line.strip():
                yield start
            start = (counted.bytes, counted.lines + 1)
        return
    reader = _reader(counted, kind, header)
    if header is None:
        next(reader, None)
    while True:
        start = (counted.bytes, counted.lines + 1)
        try:
            fields = next(reader, None)
        except csv.Error:
            fields = ["unreadable"]
        if fields is None:
            return
        if fields and (header is None or start[0] or not _is_header(fields, header)):
            yield start


def _rows(store: Store, path: str, offset: int, line: int, told: tuple[str, ...] | None = None) -> Iterator[Row]:
    """Rows from a chunk's start. For CSV and TSV the header is read from the file's beginning."""
    kind, _ = format_of(path)
    if kind == "jsonl":
        with _text(store, path, offset) as text:
            yield from _json_rows(text, line)
        return
    header = column_names(store, path, told)
    with _text(store, path, offset) as text:
        reader = _reader(text, kind, told)
        if not offset and told is None:
            next(reader, None)
        base = line if offset else 1
        while True:
            at = base + reader.line_num
            try:
                fields = next(reader, None)
            except csv.Error as error:
                yield Row(at, None, f"bad_row: {error}")
                continue
            if fields is None:
                return
            if fields and (told is None or at > 1 or not _is_header(fields, told)):
                yield _csv_row(header, fields, at)


def _csv_row(header: list[str], fields: list[str], line: int) -> Row:
    if len(fields) != len(header):
        return Row(line, None, f"bad_row: {len(fields)} fields, the header has {len(header)}")
    if any(not _is_text(field) for field in fields):
        return Row(line, None, "bad_row: not UTF-8")
    # An empty field is an absent value: CSV has no other way to say it.
    return Row(line, {name: field if field != "" else None for name, field in zip(header, fields, strict=True)})


def _json_rows(lines: Iterable[str], first: int) -> Iterator[Row]:
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        if not _is_text(line):
            yield Row(number, None, "bad_row: not UTF-8")
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Row(number, None, f"bad_row: {error}")
            continue
        if "\\u" in line and not _is_text(json.dumps(value, ensure_ascii=False)):  # half of a surrogate pair, as an escape
            yield Row(number, None, "bad_row: not UTF-8")
        elif isinstance(value, dict):
            yield Row(number, {str(key): item for key, item in value.items()})
        else:
            yield Row(number, None, f"bad_row: a JSON {type(value).__name__}, not an object")


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
