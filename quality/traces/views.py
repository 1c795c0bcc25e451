"""All that can be decoded from the files of a dataset, one form within another, to a depth.

Decoded are: Parquet (values, dictionary pages, statistics, metadata), Arrow IPC, tar and zip members and their names, gzip, zstd, SQLite rows,
JSON and JSON lines, HTML entities, percent escapes, base64 anywhere in text, texts of image files.
"""

import base64
import binascii
import gzip
import html
import io
import json
import re
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from quality.images.header import read_header
from quality.scorers.batch import PairBatch
from quality.scorers.image import pdq_of

_DEEP: Final = 6  # forms within one another
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


def picture_of(data: bytes) -> tuple[bytes, int] | None:
    """(PDQ, quality) of an image file; None for anything else."""
    if read_header(data) is None:
        return None
    [pixels] = PairBatch([None], [data]).pixels()
    return None if pixels is None else pdq_of(pixels)


def views(data: bytes, where: str, deep: int = 0) -> Iterator[tuple[str, bytes]]:
    """(where, bytes) of the data itself and of all that can be decoded from it."""
    yield where, data
    if deep < _DEEP:
        for how, inner in _decoded(data):
            if inner and inner != data:
                yield from views(inner, f"{where} > {how}", deep + 1)


def _decoded(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.startswith(b"PAR1"):
        yield from _parquet(data)
    elif data.startswith(b"ARROW1"):
        with pa.ipc.open_file(data) as reader:
            yield from _table(reader.read_all())
    elif data.startswith(b"\x1f\x8b"):
        with suppress(OSError, EOFError, zlib.error):
            yield "gzip", gzip.decompress(data)
    elif data.startswith(_ZSTD):
        with suppress(OSError):
            yield "zstd", pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    elif data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            for name in opened.namelist():
                yield f"zip {name}", opened.read(name)
                yield "zip, name", name.encode()
    elif data.startswith(b"SQLite format 3\0"):
        yield from _sqlite(data)
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as opened:
            for member in opened:
                yield "tar, name", member.name.encode()
                if member.isfile():
                    yield f"tar {member.name}", opened.extractfile(member).read()  # type: ignore[union-attr]
    elif read_header(data) is not None:
        yield from _image(data)
    else:
        yield from _text(data)


def _text(data: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    yield "entities", html.unescape(text).encode()
    yield "escapes", unquote(text).encode()
    for number, line in enumerate([text, *(text.splitlines() if "\n" in text else [])]):
        if line.lstrip()[:1] in ("{", "[", '"'):
            with suppress(ValueError):
                yield from ((f"JSON {number}", value) for value in _leaves(json.loads(line)))
    for run in _BASE64.findall(data):
        plain = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        with suppress(binascii.Error):
            yield "base64", base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)


def _leaves(value: Any) -> Iterator[bytes]:
    """All texts and bytes in a value, keys included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(key)
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield value.encode("utf-8", "surrogatepass")


def _parquet(data: bytes) -> Iterator[tuple[str, bytes]]:
    metadata = pq.read_metadata(io.BytesIO(data))
    for key, value in (metadata.metadata or {}).items():
        yield f"metadata {key.decode()}", value
    leaves = [metadata.row_group(group).column(place) for group in range(metadata.num_row_groups) for place in range(metadata.num_columns)]
    for leaf in leaves:
        if leaf.statistics is not None and leaf.statistics.has_min_max:
            yield from ((f"statistics {leaf.path_in_schema}", value) for value in _leaves([leaf.statistics.min, leaf.statistics.max]))
    strings = {leaf.path_in_schema for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"}
    # As dictionaries: then pages of dictionaries come whole, with values that no row has.
    yield from _table(pq.ParquetFile(io.BytesIO(data), read_dictionary=sorted(strings)).read(use_threads=False))


def _table(table: pa.Table) -> Iterator[tuple[str, bytes]]:
    for field in table.schema:
        for key, value in (field.metadata or {}).items():
            yield f"field {field.name} {key.decode()}", value
        for chunk in table[field.name].chunks:
            if pa.types.is_dictionary(chunk.type):
                yield from ((f"dictionary of {field.name}", value) for value in _leaves(chunk.dictionary.to_pylist()))
            elif "float" not in str(chunk.type):
                yield from ((f"column {field.name}", value) for value in _leaves(chunk.to_pylist()))


def _sqlite(data: bytes) -> Iterator[tuple[str, bytes]]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(
            data[:18] + b"\1\1" + data[20:]
        )  # of a file that has a write-ahead log beside it: none can be opened in memory
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{name}"'):
                yield from ((f"table {name}", value) for value in _leaves(row))


def _image(data: bytes) -> Iterator[tuple[str, bytes]]:
    with suppress(OSError, SyntaxError, ValueError), Image.open(io.BytesIO(data)) as image:
        image.load()
        yield from ((f"image {key}", value) for key, inner in image.info.items() for value in _leaves([str(key), inner]))
