"""Versions of the pool's captions: other captions for its pairs, beside those that the sources have, which stay as they came.

    pool/captions/<name>/captions.json   where they come from: fixed by the first run
    pool/captions/<name>/<unit>.parquet  CAPTIONS; row i belongs to row i of the unit's raw commit

A policy names a version, `caption = "caption@<name>"`, and its releases have those captions. A pair's uid does not hang on them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from schemas.caption_names import SOURCES, check_name, is_name
from schemas.columns import field
from schemas.digest import digest_of_table
from schemas.pool import Pool
from schemas.units import Commit, PoolError

FOLDER: Final = "pool/captions"

CAPTIONS: Final = pa.schema(
    [
        field("uid", pa.string(), meaning="identity of the pair; null for a blocked one"),
        field(SOURCES, pa.string(), meaning="the version's caption, NFC; null where it has none for the pair"),
    ]
)


class CaptionVersion:
    """A version of the captions of a pool. Cheap to make and to pickle."""

    def __init__(self, pool: Pool, name: str):
        self.pool, self.name = pool, check_name(name)
        self.path = f"{FOLDER}/{name}"

    def origin(self) -> dict[str, Any] | None:
        """Where the captions come from; None for a version that there is not."""
        try:
            return json.loads(self.pool.store.read(f"{self.path}/captions.json"))["origin"]
        except FileNotFoundError:
            return None

    def adopt(self, origin: Mapping[str, Any]) -> None:
        """Fixes where the captions come from. Raises PoolError where the version has another origin: it never changes."""
        data = json.dumps({"name": self.name, "origin": origin}, indent=1, sort_keys=True, ensure_ascii=False).encode()
        self.pool.store.put_new(f"{self.path}/captions.json", data)
        standing = self.origin()
        if standing != origin:
            raise PoolError(
                f"{self.pool.store.path_of(self.path)} is a version of captions already, made from {told_of(standing or {})}, not from "
                f"{told_of(origin)}; a version never changes: give these captions another --name"
            )

    def units(self) -> set[str]:
        """Names of the units that have captions of this version."""
        return {Path(path).stem for path, _ in self.pool.store.list(self.path) if path.endswith(".parquet")}

    def commit(self, raw: Commit, table: pa.Table) -> Commit:
        """Commits a unit's captions (CAPTIONS) in one create-only put. raw: the commit of the unit that they are of.

        A rival's commit is adopted. Raises PoolError when it was made from another raw commit.
        """
        commit = self._prepared(raw, table)
        if self.pool.put_parquet(self._path(raw.unit), table, asdict(commit)):
            return commit
        standing = self.commit_of(raw.unit)
        assert standing is not None
        if standing.input_digest != raw.content_digest:
            raise PoolError(
                f"{self.pool.store.path_of(self._path(raw.unit))} belongs to another commit of the unit; delete it and run the command again"
            )
        return standing

    def replace(self, raw: Commit, table: pa.Table) -> Commit:
        """Puts captions in place of those that stand, after Pool.replace_commit (pipelines.forget)."""
        commit = self._prepared(raw, table)
        self.pool.put_parquet(self._path(raw.unit), table, asdict(commit), put=self.pool.store.put)
        return commit

    def _prepared(self, raw: Commit, table: pa.Table) -> Commit:
        assert table.schema.names == CAPTIONS.names and table.num_rows == raw.rows, "captions are CAPTIONS, one row a row of the unit"
        given = table.num_rows - table[SOURCES].null_count
        counts = {"captioned": given, "without": table.num_rows - given}
        return Commit(raw.unit, raw.content_digest, digest_of_table(table), table.num_rows, statuses=counts)

    def commit_of(self, unit: str) -> Commit | None:
        return self.pool.commit_at(self._path(unit))

    def read(self, unit: str) -> pa.Table:
        """CAPTIONS of a unit. Raises FileNotFoundError."""
        return self.pool.read_parquet(self._path(unit), CAPTIONS.names)

    def _path(self, unit: str) -> str:
        return f"{self.path}/{unit}.parquet"


def versions(pool: Pool) -> list[CaptionVersion]:
    """All versions of the pool's captions, by name."""
    parts = [path.removeprefix(f"{FOLDER}/").split("/") for path, _ in pool.store.list(FOLDER)]
    return [CaptionVersion(pool, name) for name in sorted({each[0] for each in parts if len(each) == 2 and is_name(each[0])})]


def told_of(origin: Mapping[str, Any]) -> str:
    """An origin in a few words: the file or the model, and the digest."""
    if "model" in origin:
        return f"model {origin['model']} ({origin['weights'][:12]})"
    return ", ".join(f"{file['name']} ({file['sha256'][:12]})" for file in origin.get("files", ())) or "something else"


def with_version(table: pa.Table, pool: Pool, unit: str, version: str | None) -> pa.Table:
    """Rows of the unit's raw commit, all of them, their column `caption` of a version; as they are for None, or without that column.

    Raises PoolError where the version does not have the unit, or is of another commit of it.
    """
    if version is None or SOURCES not in table.column_names:
        return table
    path = pool.store.path_of(f"{FOLDER}/{version}/{unit}.parquet")
    try:
        captions = CaptionVersion(pool, version).read(unit)
    except FileNotFoundError as error:
        raise PoolError(f"{path} is not there; run the command that made the version {version} again") from error
    aligned = captions.num_rows == table.num_rows and ("uid" not in table.column_names or captions["uid"].equals(table["uid"]))
    if not aligned:
        raise PoolError(f"{path} does not fit the unit's commit; delete it and run the command that made the version {version} again")
    at = table.column_names.index(SOURCES)
    return table.set_column(at, table.schema.field(SOURCES), captions[SOURCES])
