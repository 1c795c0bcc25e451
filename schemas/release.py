"""A release: what one policy selected from the pool. Immutable once its manifest exists.

releases/<name>/run.json                    the inputs' digest, clock times, heartbeat; in nothing that is hashed
releases/<name>/settled.parquet             what people decided before it was made (schemas.reviews.SETTLED); not there when nobody did
releases/<name>/decisions/<unit>.parquet    one row per pair: DECISIONS, then the values that the policy looked at
releases/<name>/shards/000007.tar .parquet  what is trained on, and its index (INDEX), which is the shard's commit
releases/<name>/gates.json                  what the gates found, whether or not they let it pass; may be replaced
releases/<name>/manifest.json               written last, one put
releases/<name>/report/ …                   may be remade at any time (put_derived)
releases/<name>/derived.json                the SHA-256 of each such file, by its path below the release
releases/latest                             the name of the newest
"""

import hashlib
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import field as column
from schemas.digest import digest_of_table
from schemas.pool import footer_of, write_parquet
from schemas.scratch import Scratch
from schemas.store import Store, open_store

DECISIONS: Final = pa.schema(
    [
        column("row", pa.int32(), meaning="row in the unit, from 0"),
        column("uid", pa.string(), meaning="identity of the pair; null for a pair on a block list"),
        column(
            "verdict", pa.string(), meaning="keep, review or drop; null for a row that a follow-up of the unit decides (schemas.follow_ups)"
        ),
        column(
            "reasons", pa.list_(pa.string()), meaning="why not keep; of a kept pair review:accepted where people decided for it, else none"
        ),
        column("duplicate_of", pa.string(), meaning="uid of the better pair, where a reason is a duplicate"),
        column("error", pa.string(), meaning="the first word of error_message, for a pair that was not fetched"),
    ]
)

# A shard's index: one row per sample in the tar's order. offset and size are of the image's bytes in the tar.
INDEX: Final = pa.schema(
    [
        column("uid", pa.string(), meaning="identity of the pair, and the sample's key in the tar"),
        column("member", pa.string(), meaning="name of the image member in the tar"),
        column("offset", pa.int64(), meaning="of the image's bytes in the tar"),
        column("size", pa.int64(), meaning="of the image's bytes"),
        column("width", pa.int32(), meaning="pixels, of the image in the shard"),
        column("height", pa.int32(), meaning="pixels, of the image in the shard"),
        column("sha256", pa.string(), meaning="of the image's bytes in the shard"),
        column("caption", pa.string(), meaning="as in the source, or redacted by the policy"),
        column("license", pa.string(), meaning="as the source says it, or redacted by the policy"),
        column("license_url", pa.string(), meaning="as the source says it"),
        column("creator", pa.string(), meaning="as the source says it, or redacted by the policy"),
        column("title", pa.string(), meaning="as the source says it, or redacted by the policy"),
        column("source_page", pa.string(), meaning="as the source says it"),
        column("url", pa.string(), meaning="where the image came from"),
        column(
            "optout",
            pa.string(),
            meaning="may the pair be mined, as site and file said: allowed, disallowed; null where neither said anything",
        ),
        column("unit", pa.string(), meaning="the pool's unit"),
        column("row", pa.int32(), meaning="the row in the unit"),
    ]
)  # then every scalar column of the scores (no embeddings, no thumbnails)


@dataclass(frozen=True)
class Decided:
    """What the footer of a decisions file says. keep + review + drop + retried == rows.

    retried: rows that a follow-up of the unit decides (schemas.follow_ups), with no verdict here. reasons: rows by reason.
    cuts: by the number of a rule with top_fraction (from 0), the lowest value that stayed.
    """

    unit: str
    content_digest: str
    rows: int
    keep: int
    review: int
    drop: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    cuts: Mapping[str, float] = field(default_factory=dict)
    retried: int = 0


@dataclass(frozen=True)
class Shard:
    """What the footer of a shard's index says. sha256 and bytes are of the tar."""

    shard: int
    count: int
    bytes: int
    sha256: str
    content_digest: str
    failed: int = 0


class ReleaseError(Exception):
    """The release does not fit what was asked; the message says what, where and what to do."""


class Release:
    """The release `name` of the dataset at `root`."""

    def __init__(self, root: str | Path | Store, name: str):
        self.store = root if isinstance(root, Store) else open_store(root)
        self.name = name
        self.path = f"releases/{name}"

    # ---- people's decisions

    def put_settled(self, settled: pa.Table) -> str:
        """Keeps a copy of what people decided (schemas.reviews.SETTLED); returns its digest. An equal one that stands is adopted."""
        digest = digest_of_table(settled)
        self._put(self._settled_path, settled, {"content_digest": digest})
        return digest

    def read_settled(self, digest: str | None = None) -> pa.Table | None:
        """What people had decided; None when nobody had. Raises ReleaseError when it has another digest than the one asked for."""
        try:
            table = self._read(self._settled_path, None, None)
        except FileNotFoundError:
            table = None
        if digest is not None and (table is None or self._footer(self._settled_path)["content_digest"] != digest):
            raise ReleaseError(f"{self.store.path_of(self._settled_path)} is not what the job was started with; start it again")
        return table

    @property
    def _settled_path(self) -> str:
        return f"{self.path}/settled.parquet"

    # ---- decisions

    def put_decisions(self, unit: str, table: pa.Table, *, cuts: Mapping[int, float] | None = None) -> Decided:
        """Puts a unit's decisions (columns begin with DECISIONS). An equal file that stands is adopted; another raises ReleaseError."""
        assert table.schema.names[: len(DECISIONS)] == DECISIONS.names
        verdicts = {row["values"]: row["counts"] for row in table.column("verdict").value_counts().to_pylist()}
        reasons = {row["values"]: row["counts"] for row in table.column("reasons").combine_chunks().flatten().value_counts().to_pylist()}
        counts = {verdict: verdicts.get(verdict, 0) for verdict in ("keep", "review", "drop")}
        decided = Decided(
            unit,
            digest_of_table(table),
            table.num_rows,
            **counts,
            reasons=dict(sorted(reasons.items())),
            cuts={str(rule): cut for rule, cut in sorted((cuts or {}).items())},
            retried=table.column("verdict").null_count,
        )
        self._put(f"{self.path}/decisions/{unit}.parquet", table, asdict(decided))
        return decided

    def decided(self) -> list[Decided]:
        """Footers of all decisions, by unit."""
        return [Decided(**self._footer(path)) for path, _ in self.store.list(f"{self.path}/decisions") if path.endswith(".parquet")]

    def read_decisions(self, unit: str, columns: Sequence[str] | None = None, *, filters: Any = None) -> pa.Table:
        return self._read(f"{self.path}/decisions/{unit}.parquet", columns, filters)

    # ---- shards

    def shard_path(self, shard: int, suffix: str) -> str:
        return f"{self.path}/shards/{shard:06d}.{suffix}"

    def put_shard(self, shard: int, tar: Path, index: pa.Table, *, sha256: str, failed: int = 0) -> Shard:
        """Puts the tar, then its index, which is the shard's commit. Equal ones that stand are adopted."""
        info = Shard(shard, index.num_rows, tar.stat().st_size, sha256, digest_of_table(index), failed)
        path = self.shard_path(shard, "tar")
        if not self.store.put_new(path, tar) and self.shard(shard) is None:
            with self.store.open(path) as standing:
                same = hashlib.file_digest(standing, "sha256").hexdigest() == sha256
            if not same:  # left by a run with other libraries; no index has named it
                self.store.put(path, tar)
        self._put(self.shard_path(shard, "parquet"), index, asdict(info))
        return info

    def shard(self, shard: int) -> Shard | None:
        """The commit of a shard, or None."""
        try:
            return Shard(**self._footer(self.shard_path(shard, "parquet")))
        except FileNotFoundError:
            return None

    def shards(self) -> list[Shard]:
        return [Shard(**self._footer(path)) for path, _ in self.store.list(f"{self.path}/shards") if path.endswith(".parquet")]

    def read_index(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        return self._read(self.shard_path(shard, "parquet"), columns, None)

    def index_schema(self, shard: int) -> pa.Schema:
        """The columns of a shard's index, with each field's metadata."""
        with self.store.open(self.shard_path(shard, "parquet"), kept=True) as file:
            return pq.read_schema(file)

    # ---- gates, manifest, run, latest

    def gates(self) -> dict[str, Any] | None:
        """gates.json, {"passed": bool, "outcomes": [quality.gates.Outcome as a dict, ...]}; None before the gates have run."""
        return self._json(f"{self.path}/gates.json")

    def put_gates(self, found: Mapping[str, Any]) -> None:
        """Puts gates.json, in place of what an earlier attempt to publish found."""
        self.store.put(f"{self.path}/gates.json", json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False).encode())

    def manifest(self) -> dict[str, Any] | None:
        return self._json(f"{self.path}/manifest.json")

    def put_manifest(self, manifest: Mapping[str, Any]) -> None:
        """The last put of a release. Raises ReleaseError when another manifest stands; an equal one is adopted."""
        data = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False).encode()
        path = f"{self.path}/manifest.json"
        if not self.store.put_new(path, data) and self.store.read(path) != data:
            raise ReleaseError(f"{self.store.path_of(path)} exists and differs; releases never change: give another --release")
        self.store.put("releases/latest", self.name.encode())

    def put_derived(self, path: str, data: bytes) -> None:
        """Puts releases/<name>/<path>, made from the release and remade at any time, and its SHA-256 into derived.json."""
        self.store.put(f"{self.path}/{path}", data)
        derived = {**(self._json(f"{self.path}/derived.json") or {}), path: hashlib.sha256(data).hexdigest()}
        self.store.put(f"{self.path}/derived.json", json.dumps(derived, indent=1, sort_keys=True).encode())

    def run(self) -> dict[str, Any] | None:
        return self._json(f"{self.path}/run.json")

    def put_run(self, run: Mapping[str, Any]) -> None:
        self.store.put(f"{self.path}/run.json", json.dumps(run, indent=1, sort_keys=True).encode())

    def clear(self) -> None:
        """Removes an unfinished release. Raises ReleaseError once there is a manifest."""
        if self.manifest() is not None:
            raise ReleaseError(f"release {self.name} is published; releases never change")
        # run.json last: whoever is killed half-way leaves a release that says from what it was begun, and is cleared again.
        for path in sorted((path for path, _ in self.store.list(self.path)), key=lambda path: path == f"{self.path}/run.json"):
            self.store.delete(path)

    # ---- helpers

    def _put(self, path: str, table: pa.Table, meta: Mapping[str, Any]) -> None:
        with Scratch() as folder:
            local = Path(folder, "table.parquet")
            write_parquet(table, meta, local)
            if not self.store.put_new(path, local) and self._footer(path)["content_digest"] != meta["content_digest"]:
                raise ReleaseError(f"{self.store.path_of(path)} stands and differs; another run wrote it: give another --release")

    def _read(self, path: str, columns: Sequence[str] | None, filters: Any) -> pa.Table:
        with self.store.open(path, kept=True) as file:
            table = pq.ParquetFile(file).read(columns=None if columns is None else list(columns), use_threads=False)
            return table if filters is None else table.filter(filters)

    def _footer(self, path: str) -> dict[str, Any]:
        with self.store.open(path, kept=True) as file:
            return footer_of(pq.read_schema(file).metadata, path)

    def _json(self, path: str) -> dict[str, Any] | None:
        try:
            return json.loads(self.store.read(path))
        except FileNotFoundError:
            return None


def latest(store: Store) -> str | None:
    """Name of the newest published release, or None."""
    try:
        return store.read("releases/latest").decode().strip()
    except FileNotFoundError:
        return None


def heartbeat() -> dict[str, Any]:
    """Who writes, and that it was alive just now."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "alive": time.time()}


def is_alive(beat: Mapping[str, Any], *, stale_s: float = 120) -> bool:
    """Whether the writer of a heartbeat may still run: its process on this host, or a beat younger than `stale_s` from another."""
    if beat.get("host") == socket.gethostname():
        try:
            os.kill(int(beat["pid"]), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    return time.time() - float(beat["alive"]) < stale_s
