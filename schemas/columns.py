"""The columns of the pool: what a source row may bring, and what a raw commit holds."""

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

# Source columns with a meaning for us, all text. Everything else a source has is carried through untouched.
KNOWN_SOURCE_COLUMNS: Final = (
    "url", "file_name", "caption", "license", "license_url", "creator", "title", "source_page", "lang", "sha256", "source_id",
)  # fmt: skip


def field(
    name: str,
    type_: pa.DataType,
    *,
    meaning: str,
    range: tuple[float | None, float | None] | None = None,
    better: str | None = None,
) -> pa.Field:
    """An Arrow field whose metadata states meaning, inclusive range (None = open) and which direction is better ("higher", "lower")."""
    metadata = {"meaning": meaning}
    if range is not None:
        metadata["range"] = f"{'' if range[0] is None else range[0]}..{'' if range[1] is None else range[1]}"
    if better is not None:
        metadata["better"] = better
    return pa.field(name, type_, metadata=metadata)


def range_of(declared: pa.Field) -> tuple[float | None, float | None]:
    """The inclusive range that :func:`field` declared; (None, None) when it declared none."""
    text = (declared.metadata or {}).get(b"range", b"..").decode()
    low, _, high = text.partition("..")
    return (float(low) if low else None, float(high) if high else None)


RAW: Final = pa.schema(
    [
        field("row", pa.int32(), meaning="row in the unit, from 0; with `status` all that is left of a pair on a block list"),
        field("uid", pa.string(), meaning="identity of the pair: 32 hex digits, see uid_of; null for a blocked pair"),
        field("key", pa.string(), meaning="member name in the unit's tar (img2dataset's name)"),
        field("url", pa.string(), meaning="where the image was asked for; null for a folder"),
        field("file_name", pa.string(), meaning="path below the source's folder; null for a url list"),
        field("caption", pa.string(), meaning="the caption, as the source has it"),
        field("status", pa.string(), meaning="fetch status, schemas.reasons.FETCH_STATUSES"),
        field("error_message", pa.string(), meaning="a word of schemas.reasons.FETCH_ERRORS or http_<code>, then details; null on success"),
        field("width", pa.int32(), meaning="pixels, as stored, before orientation is applied"),
        field("height", pa.int32(), meaning="pixels, as stored, before orientation is applied"),
        field("original_width", pa.int32(), meaning="pixels, as it came"),
        field("original_height", pa.int32(), meaning="pixels, as it came"),
        field("format", pa.string(), meaning="jpeg png gif webp bmp tiff, by magic number, as stored"),
        field("sha256", pa.string(), meaning="of the bytes as they came, 64 hex digits"),
        field("exif", pa.string(), meaning="EXIF as JSON, read when the bytes are not kept (--store resized); else null"),
        field(
            "evidence",
            pa.string(),
            meaning="what the bytes as they came say of their origin, as JSON, read when they are not kept; else null",
        ),
        field(
            "optout",
            pa.string(),
            meaning="may the pair be mined, as site and file say: allowed, disallowed; null where neither says anything",
        ),
        field(
            "optout_signals",
            pa.string(),
            meaning="who says so and how, those that forbid first, joined by |; read when the unit was fetched",
        ),
        field("offset", pa.int64(), meaning="of the stored bytes in the unit's tar"),
        field("size", pa.int64(), meaning="of the stored bytes"),
        field("final_url", pa.string(), meaning="where the bytes came from after redirects"),
        field("license", pa.string(), meaning="licence as the source says it"),
        field("license_url", pa.string(), meaning="licence URL as the source says it"),
        field("creator", pa.string(), meaning="as the source says it"),
        field("title", pa.string(), meaning="as the source says it"),
        field("source_page", pa.string(), meaning="the page that shows the image"),
        field("lang", pa.string(), meaning="language of the caption as the source says it"),
        field("expected_sha256", pa.string(), meaning="the source's own digest of the bytes, if it has one"),
        field("source_id", pa.string(), meaning="the source's own id"),
        field("source_line", pa.int64(), meaning="line (text formats) or row (Parquet, folders) in the file, from 1"),
    ]
)

# What every commit has. The others came later: a commit that was made before them is read as having nulls there.
RAW_ALWAYS: Final = pa.schema([column for column in RAW if column.name not in ("evidence", "optout", "optout_signals")])

# What a host said when it was asked: one row a reading, kept as it came. The newest reading of an origin counts.
HOSTS: Final = pa.schema(
    [
        field("origin", pa.string(), meaning="scheme, host and port, as in http://images.example.org:80"),
        field("read_at", pa.timestamp("ms", "UTC"), meaning="when the host was asked"),
        field("robots_answer", pa.string(), meaning="of /robots.txt: ok, http_<code>, or a word of schemas.reasons.FETCH_ERRORS"),
        field("robots", pa.binary(), meaning="the first 500 KiB of /robots.txt; null where the answer was another"),
        field("tdmrep_answer", pa.string(), meaning="of /.well-known/tdmrep.json, likewise; null where robots.txt could not be reached"),
        field("tdmrep", pa.binary(), meaning="the first 500 KiB of /.well-known/tdmrep.json; null where the answer was another"),
    ]
)

# What a source's reader hands to fetching: RAW's columns that the source knows, then carried columns.
SOURCE_FIELDS: Final = (
    "url", "file_name", "caption", "license", "license_url", "creator", "title", "source_page", "lang", "expected_sha256", "source_id",
    "source_line", "status", "error_message",
)  # fmt: skip
SOURCE: Final = pa.schema([RAW.field(name) for name in SOURCE_FIELDS])

# What asking for each row took, in the order of the raw commit. Beside the commit and part of no digest: it holds times of clocks.
REQUESTS: Final = pa.schema(
    [
        field("row", pa.int32(), meaning="row in the unit, from 0"),
        field("host", pa.string(), meaning="the host that was asked first; null for a file, and where nothing was asked"),
        field("began", pa.timestamp("ms", tz="UTC"), meaning="when the first request began; null if there was none"),
        field("seconds", pa.float32(), meaning="from the first request to the outcome, redirects and retries included", range=(0, None)),
        field("requests", pa.int16(), meaning="how many were made, redirects and retries included", range=(0, None)),
        field("bytes", pa.int64(), meaning="received on the wire, retries included", range=(0, None)),
    ]
)


def carried_name(name: str) -> str:
    """The pool's name of a source column that we give no meaning: its own, or `source.<name>` where we use that name ourselves."""
    return f"source.{name}" if name in RAW.names else name


def uid_of(*, url: str | None, sha256: str | None, caption: str | None) -> str:
    """Identity of a pair: 32 hex digits of SHA-256 over length-prefixed url and caption (UTF-8, NFC).

    Without a url the image's SHA-256 takes its place. Absent parts count as empty.
    """
    hasher = hashlib.sha256()
    for part in (url if url is not None else sha256 or "", caption or ""):
        data = unicodedata.normalize("NFC", part).encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return hasher.hexdigest()[:32]


def table_of(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table from row dicts; keys that a row lacks are null."""
    return pa.table({f.name: pa.array([row.get(f.name) for row in rows], f.type) for f in schema}, schema=schema)
