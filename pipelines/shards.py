"""One shard: a deterministic tar of image, caption and JSON of each pair, in the order of uids, and its index."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, time
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tar import TarWriter
from quality.columns.personal_data import without_personal_data
from quality.images import Converted, ImageError, Target, convert
from schemas.captions import with_version
from schemas.columns import field, table_of
from schemas.digest import digest_of_json, digest_of_table
from schemas.pool import Pool
from schemas.release import INDEX, Release
from schemas.scratch import Scratch

MEMBERS: Final = pa.schema([("uid", pa.string()), ("unit", pa.string()), ("row", pa.int32())])  # what of a pair is shuffled
SUFFIXES: Final = {"jpeg": "jpg", "png": "png", "webp": "webp"}
_FORMATS: Final = {suffix: format_ for format_, suffix in SUFFIXES.items()}
_WINDOW_BYTES: Final = 8_000_000  # of stored images, read together: of three windows one is read, one converted, one written
_TASK_PAIRS: Final = 16  # converted by one task of a thread pool
# Columns about the unit's tar, not about the pair; and what the scorer `evidence` tells in columns of its own.
_UNTOLD: Final = frozenset({"key", "status", "error_message", "offset", "size", "evidence"})

# What a sample's JSON tells beside `caption`, where that is of a version: the source's own, and which version it is.
OF_THE_SOURCE: Final = "caption.source"
VERSION: Final = "caption.version"
CAPTION: Final = field("caption", pa.string(), meaning="of the version that the policy takes, or redacted by it")  # of such an index

_PLACES: Final = ["#tar", "#offset", "#size"]  # of a pair's stored bytes
_REVISION: Final = 1  # of how a shard is written from equal inputs

T = TypeVar("T")


class Made(NamedTuple):
    """An image as a shard of the parent has it, whose index says the rest. tar, offset, size: where the stored bytes are that it was made from."""

    width: int
    height: int
    format: str
    sha256: str
    tar: str
    offset: int
    size: int


class Pair(NamedTuple):
    """A kept pair. known: all that is told of it, in the order of names. tar, offset, size: where its bytes are: the stored ones, or, where the
    parent has converted them already, those that it made of them."""

    known: dict[str, Any]
    tar: str
    offset: int
    size: int
    made: Made | None = None


class ShardError(Exception):
    """A kept pair cannot be put into its shard; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pair as its shard holds it. known: all that is told of it. sha256: of the image's bytes."""

    known: dict[str, Any]
    image: Converted
    sha256: str
    json: bytes


class ShardWriter:
    """Writes shards of a release from the pool. Cheap to pickle. For the arguments see pipelines.steps.write_shards.WriteShards."""

    def __init__(
        self,
        pool: Pool,
        release: Release,
        target: Target,
        *,
        score_columns: Sequence[tuple[str, Sequence[str]]] = (),
        redact: bool = False,
        captions: str | None = None,
        parent: Release | None = None,
        reads: int = 32,
        threads: int = 1,
    ):
        self.redact, self.captions, self.parent = redact, captions, parent
        self.same_target = parent is not None and (parent.run() or {}).get("target_digest") == target.digest()
        self.pool, self.release, self.target = pool, release, target
        self.score_columns = [(name, list(columns)) for name, columns in score_columns]
        self.reads, self.threads = reads, threads
        # Then the pool has the digest of the stored bytes already; hashing them again takes as long as all the rest (measured).
        self.stored_as_came = ((pool.settings("source") or {}).get("fetch") or {}).get("store") == "original"

    def write(self, shards: Sequence[tuple[int, pa.Table]]) -> Iterator[int]:
        """Writes (number, its members as MEMBERS in any order), and yields each number once its shard is committed.

        One that `parent` has, made from the same inputs, is not written: it is there. A unit is opened once for all of them: what is known
        of their pairs is in memory, their images are not. Raises ShardError.
        """
        missing = {number: members for number, members in shards if self.release.shard(number) is None}
        yield from (number for number, _ in shards if number not in missing)
        if not missing:
            return
        known = _Known(self.pool, self.score_columns, missing, redact=self.redact, captions=self.captions)
        with ThreadPoolExecutor(self.reads) as readers, ThreadPoolExecutor(self.threads) as converters:
            for number in sorted(missing):
                digest = known.input_digest(number, self.target)
                before = None if self.parent is None else self.parent.shard(number)
                if before is None or before.input_digest != digest:
                    self._write_one(number, known, digest, readers, converters)
                yield number

    def _write_one(
        self, number: int, known: "_Known", input_digest: str, readers: ThreadPoolExecutor, converters: ThreadPoolExecutor
    ) -> None:
        pairs = known.pairs(number)
        if self.parent is not None and self.same_target and self.parent.shard(number) is not None:
            pairs = list(_with_made(pairs, self.parent, number))
        reading = one_ahead((window, self._start_reading(window, readers)) for window in _windows(pairs))
        converting = one_ahead(self._start_converting(window, _read(reads), converters) for window, reads in reading)
        rows: list[dict[str, Any]] = []
        with Scratch() as folder:
            path = Path(folder, "shard.tar")
            with TarWriter(path, cached=False) as tar:
                for tasks in converting:
                    rows += [_add(tar, sample, known.index.names) for task in tasks for sample in task.result()]
            self.release.put_shard(number, path, table_of(rows, known.index), sha256=tar.close(), input_digest=input_digest)

    def _start_reading(self, window: Sequence[Pair], readers: ThreadPoolExecutor) -> list[tuple[list[int], Future]]:
        """Reads of a window, one a tar, sorted by offset: (positions in the window, future bytes)."""
        by_tar: dict[str, list[int]] = defaultdict(list)
        for position, pair in enumerate(window):
            by_tar[pair.tar].append(position)
        reads = []
        for tar, positions in sorted(by_tar.items()):
            positions.sort(key=lambda position: window[position].offset)
            ranges = [(window[position].offset, window[position].size) for position in positions]
            reads.append((positions, readers.submit(self.pool.store.read_ranges, tar, ranges)))
        return reads

    def _start_converting(self, window: Sequence[Pair], images: Sequence[bytes], converters: ThreadPoolExecutor) -> list[Future]:
        return [
            converters.submit(self._samples, window[start : start + _TASK_PAIRS], images[start : start + _TASK_PAIRS])
            for start in range(0, len(window), _TASK_PAIRS)
        ]

    def _samples(self, pairs: Sequence[Pair], images: Sequence[bytes]) -> list[Sample]:
        return [self._sample(pair, image) for pair, image in zip(pairs, images, strict=True)]

    def _sample(self, pair: Pair, data: bytes) -> Sample:
        made = pair.made
        if made is None:
            return _sample(pair, data, self.target, self.stored_as_came)
        if hashlib.sha256(data).hexdigest() != made.sha256:  # the parent's shard is damaged: the pool has what it was made from
            (data,) = self.pool.store.read_ranges(made.tar, [(made.offset, made.size)])
            return _sample(pair, data, self.target, self.stored_as_came)
        pair.known["width"], pair.known["height"] = made.width, made.height
        return Sample(pair.known, Converted(data, made.width, made.height, made.format), made.sha256, _encode_json(pair.known).encode())


def _with_made(pairs: Sequence[Pair], parent: Release, number: int) -> Iterator[Pair]:
    """The same pairs; the bytes of one that the parent's shard has, of the same unit and row, come from there and need no conversion."""
    index = parent.read_index(number, ["uid", "unit", "row", "member", "offset", "size", "width", "height", "sha256"])
    rows, tar = {row["uid"]: row for row in index.to_pylist()}, parent.shard_path(number, "tar")
    for pair in pairs:
        row = rows.get(pair.known["uid"])
        if row is None or (row["unit"], row["row"]) != (pair.known["unit"], pair.known["row"]):
            yield pair
            continue
        format_ = _FORMATS[row["member"].rpartition(".")[2]]
        made = Made(row["width"], row["height"], format_, row["sha256"], pair.tar, pair.offset, pair.size)
        yield Pair(pair.known, tar, row["offset"], row["size"], made)


def input_digest_of(
    pool: Pool,
    members: pa.Table,
    target: Target,
    *,
    score_columns: Sequence[tuple[str, Sequence[str]]],
    redact: bool,
    captions: str | None,
) -> str:
    """What :class:`ShardWriter` would note as the digest of a shard's inputs, had it these members (MEMBERS)."""
    named = [(name, list(columns)) for name, columns in score_columns]
    return _Known(pool, named, {0: members}, redact=redact, captions=captions).input_digest(0, target)


class _Known:
    """All that the pool says of the pairs of some shards."""

    def __init__(
        self,
        pool: Pool,
        score_columns: Sequence[tuple[str, Sequence[str]]],
        shards: Mapping[int, pa.Table],
        *,
        redact: bool,
        captions: str | None,
    ):
        self.pool, self.score_columns, self.redact, self.captions = pool, score_columns, redact, captions
        index = INDEX if captions is None else INDEX.set(INDEX.get_field_index(CAPTION.name), CAPTION)
        self.index = pa.schema([*index, *self._score_fields()])
        # Units of one schema are one table; those of different schemas stay apart: a pair's JSON must not depend on its company.
        parts: dict[str, list[pa.Table]] = defaultdict(list)
        members = pa.concat_tables(
            table.append_column("shard", pa.array([number] * table.num_rows, pa.int32())) for number, table in shards.items()
        )
        for unit, of_unit in _by_unit(members):
            part = self._read_unit(unit, of_unit)
            parts[part.schema.to_string(show_field_metadata=False, show_schema_metadata=False)].append(part)
        order = [("#shard", "ascending"), ("uid", "ascending")]
        self._tables = [pa.concat_tables(tables).sort_by(order) for _, tables in sorted(parts.items())]

    def input_digest(self, number: int, target: Target) -> str:
        """Of all that a shard is made from: what is known of its pairs, in the order of uids, its index's columns, and how it is written.

        Where the pool keeps the bytes of images is no part of it; their SHA-256 is.
        """
        parts = (_slice_of(table, number) for table in self._tables)
        contents = [digest_of_table(part.drop_columns(_PLACES)) for part in parts if part.num_rows]
        columns = [[field.name, str(field.type)] for field in self.index]
        return digest_of_json([_REVISION, target.digest(), self.redact, columns, contents])

    def pairs(self, number: int) -> list[Pair]:
        """The pairs of a shard, by uid."""
        found = [pair for table in self._tables for pair in _rows(_slice_of(table, number))]
        found.sort(key=lambda pair: pair.known["uid"])
        for one, other in pairwise(pair.known for pair in found):
            if one["uid"] == other["uid"]:
                raise ShardError(
                    f"uid {one['uid']} is kept twice, as unit {one['unit']}, row {one['row']} and as unit {other['unit']}, "
                    f"row {other['row']}; a tar with both could not be read: select again, duplicates have to be dropped"
                )
        return found

    def _read_unit(self, unit: str, members: pa.Table) -> pa.Table:
        """Everything about the given rows of a unit, columns in the order of names."""
        rows = members["row"]
        commit = self.pool.raw_commit(unit)
        whole = self.pool.read_raw(unit)
        raw = whole.take(rows)
        if commit is None or commit.tar is None or not raw["uid"].equals(members["uid"]) or raw["offset"].null_count:
            raise ShardError(f"unit {unit}: decisions and pool do not fit, a kept pair has no stored image or another uid; select again")
        for name in {"optout", "optout_signals"} - {*raw.column_names}:  # a commit may be older than these columns
            raw = raw.append_column(name, pa.nulls(raw.num_rows, pa.string()))
        columns = {name: raw[name] for name in raw.column_names if name not in _UNTOLD}
        if self.captions is not None:
            columns[OF_THE_SOURCE] = raw["caption"]
            columns[VERSION] = pa.array([self.captions] * raw.num_rows, pa.string())
            columns["caption"] = with_version(whole.select(["uid", "caption"]), self.pool, unit, self.captions)["caption"].take(rows)
        for pass_name, names in self.score_columns:
            columns.update(zip(names, self.pool.read_scores(pass_name, unit, names).take(rows).columns, strict=True))
        columns["unit"] = members["unit"]
        told = pa.table({name: columns[name] for name in sorted(columns)})
        if self.redact:
            told = without_personal_data(told)
        tar = pa.array([self.pool.images_of(commit)] * raw.num_rows, pa.string())
        columns = dict(zip(told.column_names, told.columns, strict=True))
        places = dict(zip(_PLACES, (tar, raw["offset"], raw["size"]), strict=True))
        return pa.table({**columns, "#shard": members["shard"], **places})  # "#": ours

    def _score_fields(self) -> Iterator[pa.Field]:
        """Fields of the score columns as the pool has them, so that a shard without pairs has the index of all others."""
        for pass_name, names in self.score_columns:
            unit = min(self.pool.scored(pass_name), default=None)
            schema = None if unit is None else self.pool.read_scores(pass_name, unit, names).schema
            yield from (pa.field(name, pa.null()) if schema is None else schema.field(name) for name in names)


def _by_unit(members: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    members = members.sort_by([("unit", "ascending"), ("row", "ascending")])
    units, starts = np.unique(members["unit"].to_numpy().astype(str), return_index=True)
    bounds = [*starts.tolist(), members.num_rows]
    for unit, (start, stop) in zip(units.tolist(), pairwise(bounds), strict=True):
        yield unit, members.slice(start, stop - start)


def _slice_of(table: pa.Table, number: int) -> pa.Table:
    start, stop = np.searchsorted(table["#shard"].to_numpy(), [number, number + 1])
    return table.slice(start, stop - start).drop_columns("#shard")


def _rows(table: pa.Table) -> Iterator[Pair]:
    *columns, tars, offsets, sizes = (_finite(column).to_pylist() for column in table.columns)
    names = table.column_names[:-3]
    known = (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
    return (Pair(*pair) for pair in zip(known, tars, offsets, sizes, strict=True))


def _finite(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """JSON has no word for NaN; a score that is none is null."""
    return pc.if_else(pc.is_finite(column), column, None) if pa.types.is_floating(column.type) else column


def _windows(pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    start, size = 0, 0
    for position, pair in enumerate(pairs):
        if size and size + pair.size > _WINDOW_BYTES:
            yield pairs[start:position]
            start, size = position, 0
        size += pair.size
    if start < len(pairs):
        yield pairs[start:]


def one_ahead(started: Iterable[T]) -> Iterator[T]:
    """The same elements; each is taken, and so started, before the one in front of it is handed out."""
    iterator = iter(started)
    for ready in iterator:
        for next_ in iterator:
            yield ready
            ready = next_
        yield ready


def _read(reads: Iterable[tuple[list[int], Future]]) -> list[bytes]:
    images = {position: image for positions, future in reads for position, image in zip(positions, future.result(), strict=True)}
    return [images[position] for position in range(len(images))]


def _sample(pair: Pair, stored: bytes, target: Target, stored_as_came: bool) -> Sample:
    known = pair.known
    try:
        image = convert(stored, target)
    except ImageError as error:
        raise ShardError(
            f"unit {known['unit']}, row {known['row']} (uid {known['uid']}) is kept, but its image cannot be converted: {error}; "
            "let the policy drop what is undecodable, and select again"
        ) from error
    digest = known["sha256"] if stored_as_came and image.data == stored else hashlib.sha256(image.data).hexdigest()
    known["width"], known["height"] = image.width, image.height
    return Sample(known, image, digest, _encode_json(known).encode())


def _plain(value: Any) -> str:
    """Carried values that JSON does not know: times in ISO 8601, bytes in hex, all else as its text."""
    return value.hex() if isinstance(value, bytes) else value.isoformat() if isinstance(value, date | time) else str(value)


_encode_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def _add(tar: TarWriter, sample: Sample, columns: Sequence[str]) -> dict[str, Any]:
    """Adds a sample's members; returns its row of the index."""
    known, image = sample.known, sample.image
    uid = known["uid"]
    member = f"{uid}.{SUFFIXES[image.format]}"
    offset = tar.add(member, image.data)
    tar.add(f"{uid}.txt", (known["caption"] or "").encode())
    tar.add(f"{uid}.json", sample.json)
    of_shard = {
        "member": member,
        "offset": offset,
        "size": len(image.data),
        "width": image.width,
        "height": image.height,
        "sha256": sample.sha256,
    }
    return {name: of_shard[name] if name in of_shard else known[name] for name in columns}
