"""The pairs that a published release keeps, a shard at a time, without those that are on a block list now."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.block_lists import BlockLists, listed_pairs
from quality.command import UsageError
from schemas.pool import Pool
from schemas.release import Release, latest, releases

_AT_A_TIME: Final = 256  # pairs whose stored bytes are in memory, where lists of MD5 or SHA-1 want them read


def published(pool: Pool, name: str | None) -> Release:
    """The release `name`, or the newest. Raises UsageError for one that is not published."""
    found = name or latest(pool.store)
    release = None if found is None else Release(pool.store, found)
    if release is None or release.manifest() is None:
        there = [each.name for each in releases(pool.store) if each.notice() is None and each.manifest() is not None]
        named = f" {found}" if found else ""
        told = f"; there is {', '.join(there)}" if there else "; run python -m pipelines.ingest first"
        raise UsageError(f"{pool.store.root} has no published release{named}{told}")
    return release


class Kept:
    """What the indexes of a published release hold. manifest: as it stands.

    lists: pairs that are on one are never handed out; all lists count, those that are held against stored bytes too.
    """

    def __init__(self, pool: Pool, release: Release, *, lists: BlockLists):
        manifest = release.manifest()
        assert manifest is not None, "a published release"
        self.pool, self.release, self.manifest = pool, release, manifest
        self._listed = _listed(pool, release, lists) if lists else {}

    @property
    def shards(self) -> list[Mapping[str, Any]]:
        """The manifest's entries, in order."""
        return list(self.manifest["shards"])

    @property
    def listed(self) -> int:
        """How many kept pairs are on a list now."""
        return sum(len(rows) for rows in self._listed.values())

    def path_of(self, shard: Mapping[str, Any], suffix: str = "tar") -> str:
        """Where a shard's tar lies, or its index ("parquet"), below the dataset."""
        return posixpath.normpath(f"{self.release.path}/{shard['path']}").removesuffix("tar") + suffix

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of all indexes, with each field's metadata; without shards, none."""
        found = [self.release.index_schema(shard["shard"]).remove_metadata() for shard in self.shards]
        return pa.unify_schemas(found) if found else pa.schema([])

    def read(self, shard: Mapping[str, Any], columns: Sequence[str] | None = None) -> tuple[pa.Table, np.ndarray]:
        """Columns of a shard's index (all if None), all rows in order; and which of them may be handed out, booleans.

        A column that an older index lacks is null.
        """
        asked = self.schema.names if columns is None else list(columns)
        there = self.release.index_schema(shard["shard"]).names
        wanted = dict.fromkeys([*asked, *(("unit", "row") if self._listed else ())])
        table = self.release.read_index(shard["shard"], [name for name in wanted if name in there])
        for name in wanted.keys() - there:
            kind = self.schema.field(name).type if name in self.schema.names else pa.string()
            table = table.append_column(name, pa.nulls(table.num_rows, kind))
        free = np.ones(table.num_rows, bool)
        for unit, rows in self._listed.items():
            here = pc.and_(pc.equal(table["unit"], unit), pc.is_in(table["row"], value_set=pa.array(rows, pa.int32())))
            free &= ~np.asarray(here)
        return table.select(asked), free

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[tuple[Mapping[str, Any], pa.Table]]:
        """(entry of the manifest, columns of its index), shard by shard; pairs in the order of the tar."""
        for shard in self.shards:
            table, free = self.read(shard, columns)
            yield shard, table if free.all() else table.filter(pa.array(free))


def _listed(pool: Pool, release: Release, lists: BlockLists) -> dict[str, list[int]]:
    """Rows of each unit that the release keeps and that are on a list."""
    found = {}
    for decided in release.decided():
        verdicts = release.read_decisions(decided.unit, ["verdict"])["verdict"]
        kept = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(verdicts, "keep"), False))).tolist()
        step = _AT_A_TIME if lists.fetches_only else max(1, len(kept))
        rows = [
            row
            for start in range(0, len(kept), step)
            for row, listed in zip(
                kept[start : start + step], listed_pairs(pool, decided.unit, lists, kept[start : start + step]), strict=True
            )
            if listed
        ]
        if rows:
            found[decided.unit] = rows
    return found
