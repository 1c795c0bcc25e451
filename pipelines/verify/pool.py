"""The pool: each unit's commit, tar, scores, captions and requests; what hosts said; and that nothing lies there that nobody names."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.verify.findings import RESTORE, Damaged, Finding, differing, read_json, reading, size_and_digest
from pipelines.verify.tars import images_of_unit, shortened
from schemas.captions import CaptionVersion, versions
from schemas.columns import HOSTS, RAW_ALWAYS, REQUESTS
from schemas.digest import digest_of_table
from schemas.follow_ups import follow_up
from schemas.pool import Pool
from schemas.store import StoreError
from schemas.units import Commit, number_of, split_unit

_SCORE_AGAIN = "delete it and run python -m pipelines.ingest --start_at score"
_CAPTION_AGAIN = "delete it and run the command again that made the version (python -m pipelines.caption)"
_SWEEP = "run python -m pipelines.sweep while no job writes to the dataset"


@dataclass(frozen=True)
class Layout:
    """What lies in the pool. passes: scored units by pass. captions: units by version of the captions. named: units that some release names;
    raw: the raw digests that releases have of them."""

    units: Collection[str]
    planned: Mapping[str, int]
    passes: Mapping[str, Collection[str]]
    raw: Mapping[str, Collection[str]] = field(default_factory=dict)
    captions: Mapping[str, Collection[str]] = field(default_factory=dict)

    @property
    def named(self) -> Collection[str]:
        return self.raw.keys()


def check_unit(pool: Pool, layout: Layout, unit: str, tell: Callable[[int], None]) -> list[Finding]:
    """The commit of a unit, and all that belongs to it."""
    path = f"pool/raw/{unit}.parquet"
    try:
        commit = reading(path, lambda: pool.raw_commit(unit))
        table = reading(path, lambda: pool.read_raw(unit))
    except Damaged as damaged:
        return [damaged.finding]
    assert commit is not None
    found = list(_commit(layout, path, unit, commit, table))
    if not found:
        try:
            found += _images(pool, path, commit, table, tell)
        except Damaged as damaged:
            found.append(damaged.finding)
    found += _requests(pool, unit, table.num_rows)
    for pass_name, scored in layout.passes.items():
        if unit in scored:
            found += _scores(pool, layout, pass_name, commit)
    for name, units in layout.captions.items():
        if unit in units:
            found += _captions(layout, CaptionVersion(pool, name), commit, table["uid"])
    return found


def _commit(layout: Layout, path: str, unit: str, commit: Commit, table: pa.Table) -> Iterator[Finding]:
    yield from differing(path, "footer, unit", "name", unit, commit.unit)
    missing = [name for name in RAW_ALWAYS.names if name not in table.column_names]
    if missing:
        yield Finding(path, "", "columns are missing", ", ".join(missing), "", RESTORE)
        return
    if (rows := layout.planned.get(unit)) is not None:
        yield from differing(path, "", "rows, of those that the source's plan has", rows, commit.rows)
    wrong = [*differing(path, "footer, rows", "rows of the table", commit.rows, table.num_rows)]
    counts = {row["values"]: row["counts"] for row in table["status"].value_counts().to_pylist()}
    wrong = wrong or differing(path, "", "digest of the content", commit.content_digest, digest_of_table(table))
    yield from wrong
    if not wrong:
        yield from differing(
            path, "footer, statuses", "rows by status", dict(sorted(commit.statuses.items())), dict(sorted(Counter(counts).items()))
        )


def _images(pool: Pool, path: str, commit: Commit, table: pa.Table, tell: Callable[[int], None]) -> Iterator[Finding]:
    rows = table.select(["row", "uid", "sha256", "offset", "size"]).filter(pc.is_valid(table["offset"]))
    if commit.tar is None:
        if rows.num_rows:
            yield Finding(path, "footer, tar", "no tar is named", f"one with {rows.num_rows:,} images", "none", RESTORE)
        return
    hashed = ((pool.settings("source") or {}).get("fetch") or {}).get("store") != "resized"
    if commit.user_tar is not None:
        try:
            commit.user_tar.check()
        except StoreError as error:
            yield Finding(
                commit.tar, "", "your own tar is not as it was measured", "", str(error), "put the old file back with its time (cp -p)"
            )
            return
        with pool.store.open(commit.tar) as file:
            yield from shortened(finding for finding in images_of_unit(commit.tar, file, rows, hashed=hashed))
        return
    size, digest = size_and_digest(pool.store, commit.tar, tell)
    with pool.store.open(commit.tar) as file:
        wrong = shortened(images_of_unit(commit.tar, file, rows, hashed=hashed))
    yield from wrong or differing(commit.tar, "", f"sha256 of its {size:,} bytes", commit.tar_sha256, digest)


def _requests(pool: Pool, unit: str, rows: int) -> list[Finding]:
    path = f"pool/requests/{unit}.parquet"
    if not pool.store.exists(path):
        return []  # units of folders and tars of older pools have none
    todo = "delete it: it is beside the commit, and only fetch_summary reads it"
    try:
        table = reading(path, lambda: pool.read_parquet(path, REQUESTS.names), todo=todo)
    except Damaged as damaged:
        return [damaged.finding]
    return differing(path, "", "rows", rows, table.num_rows, todo)


def _scores(pool: Pool, layout: Layout, pass_name: str, raw: Commit) -> Iterator[Finding]:
    path, unit = f"pool/scores/{pass_name}/{raw.unit}.parquet", raw.unit
    try:
        commit = reading(path, lambda: pool.score_commit(pass_name, unit), todo=_SCORE_AGAIN)
        table = reading(path, lambda: pool.read_scores(pass_name, unit), todo=_SCORE_AGAIN)
    except Damaged as damaged:
        yield damaged.finding
        return
    assert commit is not None
    yield from _of_unit(layout, path, raw, commit, table, "digest of the commit that was scored", _SCORE_AGAIN)


def _captions(layout: Layout, version: CaptionVersion, raw: Commit, uids: pa.ChunkedArray) -> Iterator[Finding]:
    path = f"{version.path}/{raw.unit}.parquet"
    try:
        commit = reading(path, lambda: version.commit_of(raw.unit), todo=_CAPTION_AGAIN)
        table = reading(path, lambda: version.read(raw.unit), todo=_CAPTION_AGAIN)
    except Damaged as damaged:
        yield damaged.finding
        return
    assert commit is not None
    wrong = _of_unit(layout, path, raw, commit, table, "digest of the commit that has the captions", _CAPTION_AGAIN)
    if wrong:
        yield from wrong
        return
    given = table.num_rows - table["caption"].null_count
    counts = {"captioned": given, "without": table.num_rows - given}
    yield from differing(path, "footer, statuses", "rows with a caption and without", counts, dict(commit.statuses), _CAPTION_AGAIN)
    for row, (ours, theirs) in enumerate(zip(uids.to_pylist(), table["uid"].to_pylist(), strict=True)):
        if ours != theirs:
            yield Finding(path, f"row {row}", "uid, as the unit has it", str(ours), str(theirs), _CAPTION_AGAIN)
            return


def _of_unit(layout: Layout, path: str, raw: Commit, commit: Commit, table: pa.Table, made_of: str, again: str) -> list[Finding]:
    """What a file row by row beside a unit's commit `raw`, as its scores are, says of itself. made_of: the words for its input's digest."""
    wrong = [
        *differing(path, "footer, unit", "name", raw.unit, commit.unit, again),
        *differing(path, "", "rows", raw.rows, table.num_rows, again),
    ]
    # Where a release knows the commit by the digest that the file has, it is the commit that was changed: the release tells.
    if commit.input_digest not in layout.raw.get(raw.unit, ()):
        wrong += differing(path, "footer, input_digest", made_of, raw.content_digest, commit.input_digest, again)
    return wrong or differing(path, "", "digest of the content", commit.content_digest, digest_of_table(table), again)


def check_pool(pool: Pool, layout: Layout) -> Iterator[Finding]:
    """What belongs to no unit, and what nobody names."""
    store = pool.store
    for name in ("source", "engines", "retries"):
        if name == "source" or store.exists(f"pool/{name}.json"):
            yield from _json(pool, f"pool/{name}.json")
    for folder in ("files", "deferred", "incidents", "retries", "attempts"):
        for path, _ in store.list(f"pool/{folder}"):
            yield from _json(pool, path)
    for path, _ in store.list("pool/hosts"):
        bucket, _, digest = Path(path).stem.rpartition("-")
        try:
            table = reading(path, lambda path=path: pool.read_parquet(path, HOSTS.names))  # type: ignore[misc]
        except Damaged as damaged:
            yield damaged.finding
            continue
        yield from differing(path, "", f"digest of the readings of {bucket}", digest, digest_of_table(table)[:8])
    yield from _orphans(pool, layout)


def _json(pool: Pool, path: str) -> Iterator[Finding]:
    try:
        read_json(pool.store, path)
        if path.startswith("pool/files/"):
            file = reading(path, lambda: pool.file(Path(path).stem))
            yield from differing(path, "file", "name", Path(path).stem, None if file is None else file.file)
        if path.startswith("pool/retries/"):
            plan = reading(path, lambda: follow_up(pool, Path(path).stem))
            yield from differing(path, "unit", "name", Path(path).stem, plan.unit)
    except Damaged as damaged:
        yield damaged.finding


def _orphans(pool: Pool, layout: Layout) -> Iterator[Finding]:
    """Files that nothing names. Those of a unit whose commit is gone are left to the release that misses it."""
    store, gone = pool.store, set(layout.named) - set(layout.units)
    tars = set[str]()
    for unit in layout.units:
        try:
            commit = reading(f"pool/raw/{unit}.parquet", lambda unit=unit: pool.raw_commit(unit))  # type: ignore[misc]
            tars.add(commit.tar or "" if commit is not None else "")
        except Damaged:  # told by check_unit; its tar is nobody else's
            gone.add(unit)
    for path, _ in store.list("pool/raw"):
        name = Path(path).name
        if not name.endswith(".parquet") and name.removesuffix(".tar").rpartition("-")[0] not in gone and path not in tars:
            yield Finding(path, "", "no commit names it", "", "", _SWEEP)
    plans = {_plan_of(unit): unit for unit in sorted(layout.units, reverse=True) if unit not in layout.planned}
    for plan, unit in sorted(plans.items()):
        if not store.exists(plan):
            yield Finding(plan, "", "is not there", f"the plan of {unit}, which is committed", "nothing", RESTORE)
    for pass_name, units in layout.passes.items():
        yield from _json(pool, f"pool/scores/{pass_name}/pass.json")
        for unit in sorted(set(units) - set(layout.units) - gone):
            yield Finding(
                f"pool/scores/{pass_name}/{unit}.parquet", "", "scores of a unit that the pool does not have", "", "", "delete it"
            )
    for name, units in layout.captions.items():
        yield from _json(pool, f"pool/captions/{name}/captions.json")
        for unit in sorted(set(units) - set(layout.units) - gone):
            yield Finding(f"pool/captions/{name}/{unit}.parquet", "", "captions of a unit that the pool does not have", "", "", "delete it")
    for path in store.leftovers():
        yield Finding(path, "", "a temporary file of a writer that was killed", "", "", _SWEEP)


def _plan_of(unit: str) -> str:
    return f"pool/retries/{unit}.json" if number_of(unit) else f"pool/files/{split_unit(unit)[0]}.json"


def layout_of(pool: Pool, raw: Mapping[str, Collection[str]]) -> Layout:
    """Lists the pool. raw: of each unit that a release names, the digests of its commit that they have."""
    planned = dict[str, int]()
    for path, _ in pool.store.list("pool/files"):
        try:
            file = reading(path, lambda path=path: pool.file(Path(path).stem))  # type: ignore[misc]
        except Damaged:
            continue
        if file is not None:
            planned |= {unit: file.rows_of(chunk) for chunk, unit in enumerate(file.units)}
    passes: dict[str, set[str]] = {}
    for path, _ in pool.store.list("pool/scores"):
        _, _, pass_name, name = path.split("/", 3)
        passes.setdefault(pass_name, set())
        if name.endswith(".parquet"):
            passes[pass_name].add(Path(name).stem)
    captions = {version.name: version.units() for version in versions(pool)}
    return Layout(pool.committed(), planned, passes, raw, captions)
