"""The pool: everything that was fetched and measured. It only grows.

    pool/source.json                    sources, unit_size, what fetch was told: fixed by the first run
    pool/engines.json                   the inference engine of each scorer: fixed by the first run
    pool/files/<file>.json              how a source file is cut into units
    pool/raw/<unit>-<sha8>.tar          the stored images of a unit, unless they lie in a tar of the user's
    pool/raw/<unit>.parquet             the commit of a unit: names the tar and its digest
    pool/requests/<unit>.parquet        what asking for each of its rows took; beside the commit, in no digest
    pool/retries/<unit>.rN.json         a follow-up of a unit: rows that are asked for again, see schemas.follow_ups
    pool/deferred/<unit>.json           a unit whose network was down: not committed
    pool/hosts/<bucket>-<sha8>.parquet  robots.txt and TDMRep answers of hosts, as they came, with the time; readings are added, never replaced
    pool/incidents/<unit>.json          how many of its pairs a block list stopped, by kind of list; nothing else about them
    pool/scores/<pass>/pass.json        the scorers of a pass
    pool/scores/<pass>/<unit>.parquet   their columns, "<scorer>.<field>"
    pool/captions/<name>/captions.json  where a version of the captions comes from, see schemas.captions
    pool/captions/<name>/<unit>.parquet its captions, row by row; null where it has none

The Parquet is the commit: it is put in one create-only go, after its tar. An attempt that finds a commit adopts it. Only pipelines.forget
replaces one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import HOSTS, RAW, REQUESTS
from schemas.digest import digest_of_file, digest_of_table
from schemas.scratch import Scratch
from schemas.store import Store, open_store
from schemas.units import Commit, Pass, PoolError, ScorerInfo, SourceFile
from schemas.user_tar import UserTar

META: Final = b"pigment"  # key of our JSON in a Parquet file's metadata


def write_parquet(table: pa.Table, meta: Mapping[str, Any], path: Path, *, row_group_size: int = 1 << 20) -> None:
    """The one way we write Parquet: zstd, our JSON in the footer, nothing that depends on time or machine."""
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), META: json.dumps(meta, sort_keys=True).encode()})
    # An array that is a dictionary already would be written with values that no row has: of rows that were filtered or blanked.
    dictionary = [field.name for field in table.schema if field.name in _DICTIONARY_COLUMNS and not pa.types.is_dictionary(field.type)]
    pq.write_table(table, path, compression="zstd", compression_level=1, use_dictionary=dictionary, row_group_size=row_group_size)


# Columns with few distinct values; for all others a dictionary costs time and saves nothing.
_DICTIONARY_COLUMNS: Final = frozenset((
    "status", "error_message", "format", "license", "license_url", "creator", "lang", "verdict", "error", "license.class", "image.error",
    "host",
))  # fmt: skip


def footer_of(file: pq.ParquetFile | Mapping[bytes, bytes] | None, path: str) -> dict[str, Any]:
    """Our JSON from a Parquet footer. Raises PoolError when the file is not ours."""
    metadata = file.schema_arrow.metadata if isinstance(file, pq.ParquetFile) else file
    if not metadata or META not in metadata:
        raise PoolError(f"{path} was not written by pigment; move it away")
    return json.loads(metadata[META])


class Pool:
    """The pool of the dataset at `root` (the dataset's folder). Cheap to make and to pickle; holds no open file."""

    def __init__(self, root: str | Path | Store):
        self.store = root if isinstance(root, Store) else open_store(root)

    # ---- what the first run fixed

    def settings(self, name: str) -> dict[str, Any] | None:
        """pool/<name>.json, or None before the first run."""
        try:
            return json.loads(self.store.read(f"pool/{name}.json"))
        except FileNotFoundError:
            return None

    def adopt_settings(self, name: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Puts pool/<name>.json unless there is one; returns what is there now."""
        self.store.put_new(f"pool/{name}.json", json.dumps(value, indent=1, sort_keys=True).encode())
        settings = self.settings(name)
        assert settings is not None
        return settings

    def replace_settings(self, name: str, value: Mapping[str, Any]) -> None:
        """Puts pool/<name>.json in place of the old one (only `--add_source` may)."""
        self.store.put(f"pool/{name}.json", json.dumps(value, indent=1, sort_keys=True).encode())

    # ---- source files and units

    def put_file(self, file: SourceFile) -> None:
        self.store.put_new(f"pool/files/{file.file}.json", json.dumps(asdict(file), sort_keys=True).encode())

    def file(self, file: str) -> SourceFile | None:
        try:
            data = json.loads(self.store.read(f"pool/files/{file}.json"))
        except FileNotFoundError:
            return None
        header = None if data.get("header") is None else tuple(data["header"])
        return SourceFile(**{**data, "offsets": tuple(data["offsets"]), "lines": tuple(data["lines"]), "header": header})

    def files(self) -> list[SourceFile]:
        found = (self.file(Path(path).stem) for path, _ in self.store.list("pool/files"))
        return [file for file in found if file is not None]

    def planned_units(self) -> dict[str, int]:
        """All units of all indexed files, in order, with their number of rows."""
        return {unit: file.rows_of(chunk) for file in self.files() for chunk, unit in enumerate(file.units)}

    # ---- raw commits

    def committed(self) -> set[str]:
        """Names of units whose fetch is committed."""
        return {Path(path).stem for path, _ in self.store.list("pool/raw") if path.endswith(".parquet")}

    def commit(self, unit: str, table: pa.Table, *, tar: Path | UserTar | None, input_digest: str, tar_sha256: str | None = None) -> Commit:
        """Commits a fetched unit: the tar under a name of its digest, then the Parquet in one create-only put.

        table: RAW's columns, then carried ones; one row per source row, sorted by `row`. tar: a local file, or a tar of the user's that
        stays where it is, or None when no row has bytes. tar_sha256: its digest, when the writer has it at hand. Returns the commit that
        stands: this one, or a rival's with the same input, whose work is then adopted and ours discarded. Raises PoolError when the
        standing commit was made from another input.
        """
        assert table.schema.names[: len(RAW)] == RAW.names, "columns of a raw commit begin with RAW"
        commit = self._prepared(unit, table, tar, input_digest, tar_sha256)
        if self.put_parquet(f"pool/raw/{unit}.parquet", table, asdict(commit)):
            return commit
        standing = self.raw_commit(unit)
        assert standing is not None
        if standing.input_digest != input_digest:
            raise PoolError(
                f"{self.store.path_of(f'pool/raw/{unit}.parquet')} was made from another input "
                f"({standing.input_digest[:12]}, now {input_digest[:12]}); use a new --dataset, or put the source back as it was"
            )
        if commit.tar_sha256 is not None and commit.tar is not None and commit.tar != standing.tar:
            self.store.delete(commit.tar)
        return standing

    def replace_commit(self, unit: str, table: pa.Table, *, tar: Path | None, tar_sha256: str | None = None) -> Commit:
        """Puts another commit in place of the one that stands, made from the same input: the one place where the pool replaces (pipelines.forget).

        tar: a local file with all images that `table` has offsets of; None where it has none. The tar that stood is left to the caller.
        """
        standing = self.raw_commit(unit)
        assert standing is not None and standing.rows == table.num_rows, "a commit is replaced row by row"
        commit = self._prepared(unit, table, tar, standing.input_digest, tar_sha256)
        self.put_parquet(f"pool/raw/{unit}.parquet", table, asdict(commit), put=self.store.put)
        return commit

    def _prepared(self, unit: str, table: pa.Table, tar: Path | UserTar | None, input_digest: str, tar_sha256: str | None) -> Commit:
        """The commit that is to be put; a tar of ours is put already."""
        statuses = {row["values"]: row["counts"] for row in table.column("status").value_counts().to_pylist()}
        commit = Commit(unit, input_digest, digest_of_table(table), table.num_rows, statuses=dict(sorted(statuses.items())))
        if isinstance(tar, UserTar):
            return replace(commit, tar=tar.path, tar_state=tar.state)
        if tar is None:
            return commit
        digest = tar_sha256 or digest_of_file(tar)
        name = f"pool/raw/{unit}-{digest[:8]}.tar"
        self.store.put_new(name, tar)
        return replace(commit, tar=name, tar_sha256=digest)

    def raw_commit(self, unit: str) -> Commit | None:
        return self.commit_at(f"pool/raw/{unit}.parquet")

    def read_raw(self, unit: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns of a unit's raw commit, rows in order. Raises FileNotFoundError."""
        return self.read_parquet(f"pool/raw/{unit}.parquet", columns)

    def raw_schema(self, unit: str) -> pa.Schema:
        """The columns of a unit's raw commit, carried ones included."""
        return self._schema(f"pool/raw/{unit}.parquet")

    def images_of(self, commit: Commit) -> str | None:
        """The tar of a unit's images, for reading: below the dataset, or the user's, after a look that it is still the one that was measured.

        None for a unit without images. Raises StoreError.
        """
        if (user_tar := commit.user_tar) is not None:
            user_tar.check()
        return commit.tar

    def read_bytes(self, unit: str, offsets: Sequence[int], sizes: Sequence[int], *, tar: str | None = None) -> Sequence[bytes]:
        """Stored image bytes of a unit at (offset, size), in the order asked. tar: what images_of said, when the caller has it at hand."""
        if tar is None:
            commit = self.raw_commit(unit)
            if commit is None or commit.tar is None:
                raise PoolError(f"unit {unit} has no stored images")
            tar = self.images_of(commit)
            assert tar is not None
        return self.store.read_ranges(tar, list(zip(offsets, sizes, strict=True)))

    # ---- what asking for the rows took

    def put_requests(self, unit: str, table: pa.Table) -> None:
        """Puts the unit's times and sizes of requests, in place of an earlier attempt's: columns REQUESTS, one row a raw row, in order."""
        assert table.schema.names == REQUESTS.names, "columns of requests are REQUESTS"
        self.put_parquet(f"pool/requests/{unit}.parquet", table, {"unit": unit}, put=self.store.put)

    def read_requests(self, unit: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Columns of what :meth:`put_requests` put; None for a unit that has none: an older pool's, or one that is not fetched."""
        try:
            return self.read_parquet(f"pool/requests/{unit}.parquet", columns, kept=False)
        except FileNotFoundError:
            return None

    # ---- units whose network was down

    def defer(self, unit: str, rows: int, why: str) -> None:
        """Notes that a unit of `rows` rows was not committed, for the reason `why`; a later run commits it."""
        data = json.dumps({"unit": unit, "rows": rows, "why": why}, sort_keys=True).encode()
        self.store.put(f"pool/deferred/{unit}.json", data)

    def undefer(self, unit: str) -> None:
        """Forgets that the unit was deferred; one that was not is no error."""
        self.store.delete(f"pool/deferred/{unit}.json")

    def deferred(self) -> dict[str, dict[str, Any]]:
        """{unit: {unit, rows, why}} of the units that are deferred and not committed since."""
        committed = self.committed()
        paths = {Path(path).stem: path for path, _ in self.store.list("pool/deferred")}
        return {unit: json.loads(self.store.read(path)) for unit, path in paths.items() if unit not in committed}

    # ---- what hosts said

    def put_hosts(self, bucket: str, readings: pa.Table) -> None:
        """Adds readings (schemas.columns.HOSTS) to those of a bucket."""
        self.put_parquet(f"pool/hosts/{bucket}-{digest_of_table(readings)[:8]}.parquet", readings, {"bucket": bucket})

    def read_hosts(self, bucket: str) -> pa.Table:
        """All readings of a bucket, in no order."""
        paths = [path for path, _ in self.store.list("pool/hosts") if Path(path).name.startswith(f"{bucket}-")]
        return pa.concat_tables([HOSTS.empty_table(), *(self.read_parquet(path, HOSTS.names) for path in paths)])

    # ---- pairs on block lists

    def put_incident(self, unit: str, blocked: Mapping[str, int]) -> None:
        """Notes how many pairs of a unit were on a list, by kind of list."""
        data = json.dumps({"unit": unit, "blocked": dict(sorted(blocked.items()))}, sort_keys=True).encode()
        self.store.put(f"pool/incidents/{unit}.json", data)

    def incidents(self) -> dict[str, dict[str, int]]:
        """{unit: {kind of list: pairs}} of the committed units that lists stopped pairs of."""
        committed = self.committed()
        found = (json.loads(self.store.read(path)) for path, _ in self.store.list("pool/incidents"))
        return {incident["unit"]: incident["blocked"] for incident in found if incident["unit"] in committed}

    # ---- upkeep

    def sweep(self) -> list[str]:
        """Removes tars that no commit names and temporary files of killed writers; returns their paths. Only while no run is active."""
        named = {commit.tar for unit in self.committed() if (commit := self.raw_commit(unit)) is not None}
        orphans = [path for path, _ in self.store.list("pool/raw") if path.endswith(".tar") and path not in named]
        for path in orphans:
            self.store.delete(path)
        leftovers = self.store.leftovers()
        for path in leftovers:
            self.store.delete_leftover(path)
        return [*orphans, *leftovers]

    # ---- scores

    def put_pass(self, pass_: Pass) -> None:
        data: dict[str, Any] = {"name": pass_.name, "scorers": [asdict(scorer) for scorer in pass_.scorers]}
        data |= ({"captions": pass_.captions} if pass_.captions else {}) | ({"blind": list(pass_.blind)} if pass_.blind else {})
        self.store.put_new(f"pool/scores/{pass_.name}/pass.json", json.dumps(data, indent=1, sort_keys=True).encode())

    def passes(self) -> list[Pass]:
        """All passes of the pool, sorted by name."""
        found = []
        for path, _ in self.store.list("pool/scores"):
            if path.endswith("/pass.json"):
                data = json.loads(self.store.read(path))
                scorers = tuple(ScorerInfo(info["name"], info["version"], tuple(info["columns"])) for info in data["scorers"])
                found.append(Pass(data["name"], scorers, data.get("captions"), tuple(data.get("blind", ()))))
        return found

    def passes_for(self, captions: str | None) -> list[Pass]:
        """The passes of the pool with the scorers that hold for a version of the captions (None: the sources'); without those that have none.

        Those that read it come first."""
        found = [replace(pass_, scorers=pass_.reading(captions)) for pass_ in self.passes()]
        return sorted((pass_ for pass_ in found if pass_.scorers), key=lambda pass_: pass_.captions != captions)

    def scored(self, pass_name: str) -> set[str]:
        """Names of units whose scores of this pass are committed."""
        return {Path(path).stem for path, _ in self.store.list(f"pool/scores/{pass_name}") if path.endswith(".parquet")}

    def commit_scores(self, pass_name: str, unit: str, table: pa.Table, *, input_digest: str) -> Commit:
        """Commits a unit's scores; row i belongs to row i of the raw commit. input_digest: the raw commit's content digest.

        Adopts a rival's commit like :meth:`commit`. Raises PoolError when the standing scores were made from another raw commit.
        """
        path = f"pool/scores/{pass_name}/{unit}.parquet"
        commit = Commit(unit, input_digest, digest_of_table(table), table.num_rows)
        if self.put_parquet(path, table, asdict(commit)):
            return commit
        standing = self.commit_at(path)
        assert standing is not None
        if standing.input_digest != input_digest:
            raise PoolError(f"{self.store.path_of(path)} belongs to another commit of the unit; delete {pass_name}/ and score again")
        return standing

    def replace_scores(self, pass_name: str, unit: str, table: pa.Table, *, input_digest: str) -> Commit:
        """Puts scores in place of those that stand, after :meth:`replace_commit`. input_digest: the new commit's content digest."""
        commit = Commit(unit, input_digest, digest_of_table(table), table.num_rows)
        self.put_parquet(f"pool/scores/{pass_name}/{unit}.parquet", table, asdict(commit), put=self.store.put)
        return commit

    def score_commit(self, pass_name: str, unit: str) -> Commit | None:
        return self.commit_at(f"pool/scores/{pass_name}/{unit}.parquet")

    def read_scores(self, pass_name: str, unit: str, columns: Sequence[str] | None = None) -> pa.Table:
        return self.read_parquet(f"pool/scores/{pass_name}/{unit}.parquet", columns)

    def score_schema(self, pass_name: str, unit: str) -> pa.Schema:
        """The columns of a unit's scores, with each field's metadata."""
        return self._schema(f"pool/scores/{pass_name}/{unit}.parquet")

    # ---- Parquet

    def put_parquet(self, path: str, table: pa.Table, meta: Mapping[str, Any], *, put: Callable[[str, Path], Any] | None = None) -> Any:
        """Puts a table as a file of ours. put: how, create-only unless told; returns what it returns."""
        with Scratch() as folder:
            local = Path(folder, "table.parquet")
            write_parquet(table, meta, local)
            return (put or self.store.put_new)(path, local)

    def commit_at(self, path: str) -> Commit | None:
        """What the footer of a unit's file says; None where there is no file."""
        try:
            with self.store.open(path, kept=True) as file:
                return Commit(**footer_of(pq.read_schema(file).metadata, path))
        except FileNotFoundError:
            return None

    def _schema(self, path: str) -> pa.Schema:
        with self.store.open(path, kept=True) as file:
            return pq.read_schema(file)

    def read_parquet(self, path: str, columns: Sequence[str] | None, *, kept: bool = True) -> pa.Table:
        """Columns of a file, rows in order; None: all. Raises FileNotFoundError, KeyError for a column that it does not have."""
        with self.store.open(path, kept=kept) as file:
            parquet = pq.ParquetFile(file)
            missing = set(columns or ()) - set(parquet.schema_arrow.names)
            if missing:
                raise KeyError(f"{self.store.path_of(path)} has no column {sorted(missing)}")
            return parquet.read(columns=None if columns is None else list(columns), use_threads=False)
