"""A release: what one policy selected from the pool. Immutable once its manifest exists.

releases/<name>/run.json                    the inputs' digest, clock times, heartbeat; in nothing that is hashed
releases/<name>/settled.parquet             what people decided before it was made (schemas.reviews.SETTLED); not there when nobody did
releases/<name>/decisions/<unit>.parquet    one row per pair: DECISIONS, then the values that the policy looked at
releases/<name>/shards/000007.tar .parquet  what is trained on, and its index (INDEX), which is the shard's commit; one that an earlier
                                            release of the line has, byte for byte, lies there alone (schemas.line)
releases/<name>/gates.json                  what the gates found, whether or not they let it pass; may be replaced
releases/<name>/manifest.json               written last, one put; where pairs were removed since, a notice that names the release without them
releases/<name>/report/ …                   may be remade at any time (put_derived)
releases/<name>/derived.json                the SHA-256 of each such file, by its path below the release
releases/latest                             the name of the newest
"""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import field as column
from schemas.digest import digest_of_table
from schemas.line import references_of, shard_entry_path
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
    """What the footer of a shard's index says. sha256 and bytes are of the tar.

    input_digest: of all that the shard was made from; None where it was written before anybody asked.
    """

    shard: int
    count: int
    bytes: int
    sha256: str
    content_digest: str
    failed: int = 0
    input_digest: str | None = None


class ReleaseError(Exception):
    """The release does not fit what was asked; the message says what, where and what to do."""


class Release:
    """The release `name` of the dataset at `root`."""

    def __init__(self, root: str | Path | Store, name: str):
        self.store = root if isinstance(root, Store) else open_store(root)
        self.name = name
        self.path = f"releases/{name}"
        self._references: Mapping[int, str] | None = None

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

    def references(self) -> Mapping[int, str]:
        """{number: release} of the shards that lie in an earlier release of the line: the manifest says so, and before there is one run.json.

        Read once, and again when this object has written either. Raises ReleaseError for a manifest that cannot be understood.
        """
        if self._references is None:
            manifest, run = self.manifest(), None
            if manifest is None and (run := self.run()) is None:
                return {}
            try:
                told = run.get("referenced", {}) if run is not None else references_of(manifest or {})
            except ValueError as error:
                raise ReleaseError(
                    f"{self.store.path_of(f'{self.path}/manifest.json')}: {error}, which no release has; restore it"
                ) from error
            self._references = {int(shard): name for shard, name in told.items()}
        return self._references

    def holder(self, shard: int) -> str:
        """The release whose folder a shard lies in: this one, or an earlier one of the line."""
        return self.references().get(shard, self.name)

    def shard_path(self, shard: int, suffix: str) -> str:
        """Where a shard lies, below the dataset: its tar, or its index (suffix "parquet"). Nobody else builds such a path."""
        return f"releases/{self.holder(shard)}/shards/{shard:06d}.{suffix}"

    def shard_entry(self, shard: Shard) -> dict[str, Any]:
        """A shard as the manifest tells it."""
        return {"path": shard_entry_path(shard.shard, self.references().get(shard.shard)), **asdict(shard)}

    def put_shard(self, shard: int, tar: Path, index: pa.Table, *, sha256: str, failed: int = 0, input_digest: str | None = None) -> Shard:
        """Puts the tar, then its index, which is the shard's commit. Equal ones that stand are adopted."""
        assert shard not in self.references(), "a shard of another release is never written"
        info = Shard(shard, index.num_rows, tar.stat().st_size, sha256, digest_of_table(index), failed, input_digest)
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

    def own_shards(self) -> set[int]:
        """Numbers of the shards that are committed in this release's own folder."""
        return {int(Path(path).stem) for path, _ in self.store.list(f"{self.path}/shards") if path.endswith(".parquet")}

    def shards(self) -> list[Shard]:
        """Footers of all shards, by number, wherever they lie; one that is nowhere is left out."""
        found = (self.shard(shard) for shard in sorted(self.own_shards() | self.references().keys()))
        return [shard for shard in found if shard is not None]

    def read_index(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns of a shard's index. Raises FileNotFoundError; ReleaseError where the release that it lies in is gone."""
        with self._telling_holder(shard):
            return self._read(self.shard_path(shard, "parquet"), columns, None)

    def index_schema(self, shard: int) -> pa.Schema:
        """The columns of a shard's index, with each field's metadata. Raises as :meth:`read_index`."""
        with self._telling_holder(shard), self.store.open(self.shard_path(shard, "parquet"), kept=True) as file:
            return pq.read_schema(file)

    @contextmanager
    def _telling_holder(self, shard: int) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if (holder := self.holder(shard)) == self.name:
                raise
            path = self.store.path_of(self.shard_path(shard, "parquet"))
            raise ReleaseError(
                f"release {self.name} has its shard {shard} in release {holder}, and {path} is not there; restore it"
            ) from error

    # ---- gates, manifest, run, latest

    def gates(self) -> dict[str, Any] | None:
        """gates.json, {"passed": bool, "outcomes": [quality.gates.Outcome as a dict, ...]}; None before the gates have run."""
        return self._json(f"{self.path}/gates.json")

    def put_gates(self, found: Mapping[str, Any]) -> None:
        """Puts gates.json, in place of what an earlier attempt to publish found."""
        self.store.put(f"{self.path}/gates.json", json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False).encode())

    def manifest(self) -> dict[str, Any] | None:
        """What the release is; None before it is published. Raises ReleaseError where a notice stands in its place, and names the successor."""
        found = self._json(f"{self.path}/manifest.json")
        if found is not None and found.get("removed"):
            why, successor = found.get("why"), found.get("superseded_by")
            raise ReleaseError(f"release {self.name} is gone: {why}; use release {successor}, which has all other pairs")
        return found

    def notice(self) -> dict[str, Any] | None:
        """What stands in the manifest's place once pairs were removed (pipelines.forget): `superseded_by` and `why`. None for any other."""
        found = self._json(f"{self.path}/manifest.json")
        return found if found is not None and found.get("removed") else None

    def put_notice(self, *, superseded_by: str, why: str, removal: str) -> None:
        """Puts the notice in the manifest's place: from now on nobody reads the release any more."""
        notice = {"removed": True, "release": self.name, "superseded_by": superseded_by, "why": why, "removal": removal}
        self._references = None
        self.store.put(f"{self.path}/manifest.json", json.dumps(notice, indent=1, sort_keys=True, ensure_ascii=False).encode())

    def put_manifest(self, manifest: Mapping[str, Any], *, newest: bool = True) -> None:
        """The last put of a release. Raises ReleaseError when another manifest stands; an equal one is adopted.

        newest: whether it is to be the one that is taken where no release is named.
        """
        data = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False).encode()
        path = f"{self.path}/manifest.json"
        self._references = None
        if not self.store.put_new(path, data) and self.store.read(path) != data:
            raise ReleaseError(f"{self.store.path_of(path)} exists and differs; releases never change: give another --release")
        if newest:
            self.put_latest()

    def put_latest(self) -> None:
        """Makes this the release that is taken where none is named."""
        self.store.put("releases/latest", self.name.encode())

    def put_derived(self, path: str, data: bytes) -> None:
        """Puts releases/<name>/<path>, made from the release and remade at any time, and its SHA-256 into derived.json."""
        self.store.put(f"{self.path}/{path}", data)
        derived = {**self.derived(), path: hashlib.sha256(data).hexdigest()}
        self.store.put(f"{self.path}/derived.json", json.dumps(derived, indent=1, sort_keys=True).encode())

    def derived(self) -> dict[str, str]:
        """The SHA-256 of each file that was made from the release, by its path below it."""
        return self._json(f"{self.path}/derived.json") or {}

    def put_all_derived(self, files: Iterable[tuple[str, bytes]], *, instead_of: Sequence[str] = ()) -> None:
        """Puts many, as :meth:`put_derived` puts one; derived.json is written once. What stands and begins with one of `instead_of` goes."""
        before = self.derived()
        put = {}
        for path, data in files:
            self.store.put(f"{self.path}/{path}", data)
            put[path] = hashlib.sha256(data).hexdigest()
        gone = [path for path in before if path not in put and path.startswith(tuple(instead_of))]
        for path in gone:  # before derived.json forgets them: who is killed between removes them the next time
            self.store.delete(f"{self.path}/{path}")
        derived = {path: digest for path, digest in {**before, **put}.items() if path not in gone}
        self.store.put(f"{self.path}/derived.json", json.dumps(derived, indent=1, sort_keys=True).encode())

    def run(self) -> dict[str, Any] | None:
        return self._json(f"{self.path}/run.json")

    def put_run(self, run: Mapping[str, Any]) -> None:
        """Puts run.json, in place of the old one. `referenced` in it: {number: release}, see :meth:`references`."""
        self._references = None
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


def releases(store: Store) -> list[Release]:
    """All releases of a dataset, by name: published or not, and those that a notice stands for."""
    return [Release(store, name) for name in sorted({path.split("/")[1] for path, _ in store.list("releases") if path.count("/") > 1})]


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
