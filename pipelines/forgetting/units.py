"""The pool without the rows of a plan: their bytes, texts and scores are taken out of their units; all other rows stay as they are."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.fetch.sink import key_of
from pipelines.fetch.store import EXTENSIONS
from pipelines.sources.listing import TARS
from pipelines.sources.places import place_of
from pipelines.tar import BLOCK, MAX_NAME, TarWriter
from quality.block_lists import BlockLists, blanked
from schemas.captions import versions
from schemas.columns import REQUESTS
from schemas.follow_ups import follow_ups_of, put_statuses
from schemas.pool import Pool
from schemas.removals import Entries
from schemas.scratch import Scratch
from schemas.units import Commit, base_of, split_unit

_READ_BYTES: Final = 64_000_000  # of images, read together


@dataclass(frozen=True)
class Units:
    """units: how many were rewritten, or had been. user_tars: the user's, which still hold what was removed. caption_files: names of those
    that versions of the captions were read from, which may."""

    units: int
    user_tars: tuple[str, ...]
    caption_files: tuple[str, ...]


def rewrite_units(pool: Pool, plan: Mapping[str, Sequence[int]], entries: Entries) -> Units:
    """Takes the planned rows (by unit) out of the pool, and what was read of hosts whose name is on the entries. Only while no job writes to it.

    What is done already is not done again. Raises StoreError.
    """
    for unit, rows in plan.items():
        _rewrite(pool, unit, rows)
    for base in sorted({base_of(unit) for unit in plan}):
        _restate_follow_ups(pool, base)
    _forget_hosts(pool, entries)
    pool.sweep()  # the tars that stood, and what killed writers left
    return Units(len(plan), tuple(_user_tars(pool, plan)), tuple(_caption_files(pool)))


def _rewrite(pool: Pool, unit: str, rows: Sequence[int]) -> None:
    commit = pool.raw_commit(unit)
    assert commit is not None
    gone = np.zeros(commit.rows, bool)
    gone[list(rows)] = True
    raw = pool.read_raw(unit)
    if not _is_blank(raw, rows):
        commit = _replace(pool, commit, raw, gone)
    requests = pool.read_requests(unit)
    if requests is not None and any(requests[name].filter(pa.array(gone)).null_count < len(rows) for name in REQUESTS.names[1:]):
        pool.put_requests(unit, blanked(requests, gone))
    for pass_ in pool.passes():
        scores = pool.score_commit(pass_.name, unit)
        if scores is not None and scores.input_digest != commit.content_digest:  # else they were rewritten already
            table = blanked(pool.read_scores(pass_.name, unit), gone)
            pool.replace_scores(pass_.name, unit, table, input_digest=commit.content_digest)
    for version in versions(pool):
        captions = version.commit_of(unit)
        if captions is not None and captions.input_digest != commit.content_digest:
            version.replace(commit, blanked(version.read(unit), gone))


def _is_blank(raw: pa.Table, rows: Sequence[int]) -> bool:
    left = raw.take(pa.array(rows)).drop_columns(["row", "status", "error_message"])
    return all(column.null_count == len(rows) for column in left.columns)


def _replace(pool: Pool, commit: Commit, raw: pa.Table, gone: np.ndarray) -> Commit:
    """Commits the unit without the rows. Its images are in a tar of ours from now on, where they lay in one of the user's."""
    table = blanked(raw, gone)
    places = table.select(["row", "offset", "size", "format"]).filter(pc.is_valid(table["offset"])).sort_by("offset").to_pylist()
    if not places:
        return pool.replace_commit(commit.unit, table, tar=None)
    offsets = table["offset"].to_pylist()
    keys = table["key"].to_pylist()
    with Scratch("forget") as folder:
        path = Path(folder, "unit.tar")
        with TarWriter(path) as tar:
            for place, name, data in _images(pool, commit, places):
                offsets[place["row"]] = tar.add(name, data)
                keys[place["row"]] = name.rpartition(".")[0] if commit.user_tar is not None else keys[place["row"]]
        for name, values in (("offset", offsets), ("key", keys)):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(name), pa.array(values, table.schema.field(name).type))
        return pool.replace_commit(commit.unit, table, tar=path, tar_sha256=tar.close())


def _images(pool: Pool, commit: Commit, places: Sequence[dict]) -> Iterator[tuple[dict, str, bytes]]:
    """Places in the order of the tar, each with its member's name in a tar of ours, and its bytes."""
    tar = pool.images_of(commit)
    assert tar is not None
    for some in _windows(places):
        images = pool.store.read_ranges(tar, [(place["offset"], place["size"]) for place in some])
        if commit.user_tar is not None:
            names = [f"{key_of(place['row'])}.{EXTENSIONS[place['format']]}" for place in some]
        else:
            headers = pool.store.read_ranges(tar, [(place["offset"] - BLOCK, MAX_NAME) for place in some])
            names = [header.rstrip(b"\0").decode() for header in headers]
        yield from zip(some, names, images, strict=True)


def _windows(places: Sequence[dict]) -> Iterator[list[dict]]:
    some, size = list[dict](), 0
    for place in places:
        some.append(place)
        size += place["size"]
        if size >= _READ_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _restate_follow_ups(pool: Pool, base: str) -> None:
    """The plans of follow-ups say how their rows had ended before: rows that are gone are blocked ones now, there too."""
    chain = follow_ups_of(pool, base)
    ended = dict(enumerate(pool.read_raw(base, ["status"])["status"].to_pylist())) if chain else {}
    for plan in chain:
        statuses = dict(sorted(Counter(ended[row] for row in plan.rows).items()))
        if statuses != plan.statuses:
            put_statuses(pool, replace(plan, statuses=statuses))
        if pool.raw_commit(plan.unit) is not None:
            ended.update(zip(plan.rows, pool.read_raw(plan.unit, ["status"])["status"].to_pylist(), strict=True))


def _forget_hosts(pool: Pool, entries: Entries) -> None:
    """A reading names its host. Where a whole domain goes, or a host's first page, nothing is asked of it any more."""
    lists = BlockLists(entries)
    for path, _ in list(pool.store.list("pool/hosts")):
        bucket = Path(path).stem.rpartition("-")[0]
        with pool.store.open(path) as file:
            readings = pq.ParquetFile(file).read(use_threads=False)
        listed = np.array([lists.kind_of_url(origin) is not None for origin in readings["origin"].to_pylist()], bool)
        if listed.any():
            if not listed.all():
                pool.put_hosts(bucket, readings.filter(pa.array(~listed)).combine_chunks())
            pool.store.delete(path)


def _user_tars(pool: Pool, units: Mapping[str, Sequence[int]]) -> list[str]:
    files = {file: pool.file(file) for file in {split_unit(unit)[0] for unit in units}}
    return sorted({str(place_of(file.source) / file.path) for file in files.values() if file is not None and file.kind in TARS})


def _caption_files(pool: Pool) -> list[str]:
    return sorted({file["name"] for version in versions(pool) for file in (version.origin() or {}).get("files", ())})
