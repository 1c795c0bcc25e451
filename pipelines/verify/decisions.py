"""Decisions of a unit and shards of a release, each against its own footer, the manifest and one another."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.verify.findings import RESTORE, Damaged, Finding, differing, reading, size_and_digest
from pipelines.verify.tars import samples_of_shard, shortened
from schemas.digest import digest_of_table
from schemas.pool import Pool
from schemas.reasons import VERDICTS
from schemas.release import DECISIONS, INDEX, Decided, Release, Shard

_ODD: Final = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # of SplitMix64 and xxHash
_SAMPLE: Final = ("unit", "row", "uid")


@dataclass(frozen=True)
class Read:
    """What a file said. kept: (samples, sum of their fingerprints) by unit; None where the file is not to be relied on."""

    findings: list[Finding]
    kept: Mapping[str, tuple[int, int]] | None = None
    decided: Decided | None = None


def check_decisions(pool: Pool, release: Release, unit: str, told: Mapping[str, Any]) -> Read:
    """told: the unit's entry in the manifest."""
    path = f"{release.path}/decisions/{unit}.parquet"
    try:
        decided = reading(path, lambda: Decided(**release._footer(path)))
        table = reading(path, lambda: release.read_decisions(unit))
    except Damaged as damaged:
        return Read([damaged.finding])
    missing = [name for name in DECISIONS.names if name not in table.column_names]
    if missing:
        return Read([Finding(path, "", "columns are missing", ", ".join(missing), "", RESTORE)])
    wrong = differing(path, "", "digest of the content", decided.content_digest, digest_of_table(table))
    if wrong:
        return Read(wrong)
    if told["decisions"] != decided.content_digest:
        return Read(differing(path, "", "digest of the content, as the manifest has it", told["decisions"], decided.content_digest))
    verdicts = {row["values"]: row["counts"] for row in table["verdict"].value_counts().to_pylist()}
    counts = {"rows": table.num_rows, **{name: verdicts.get(name, 0) for name in VERDICTS}, "retried": table["verdict"].null_count}
    for name, count in counts.items():
        wrong += differing(path, f"footer, {name}", "pairs", count, getattr(decided, name))
        wrong += differing(f"{release.path}/manifest.json", f"units, {unit}, {name}", "pairs, as the decisions have it", count, told[name])
    if wrong:
        return Read(wrong)
    kept = table.filter(pc.fill_null(pc.equal(table["verdict"], "keep"), False))
    wrong += _uids_of_pool(pool, path, unit, table)
    return Read(wrong, {unit: _fingerprint(kept["row"], kept["uid"])}, decided)


def _uids_of_pool(pool: Pool, path: str, unit: str, table: pa.Table) -> list[Finding]:
    """The first row that is about another pair than the pool's."""
    place = f"pool/raw/{unit}.parquet"
    try:
        uids = reading(place, lambda: pool.read_raw(unit, ["uid"])["uid"])
    except Damaged:
        return []  # told by the unit's own check, or by the release that misses it
    if len(uids) != table.num_rows:
        return differing(path, "", "rows, as the unit has them", len(uids), table.num_rows)
    for row, (ours, theirs) in enumerate(zip(table["uid"].to_pylist(), uids.to_pylist(), strict=True)):
        if ours is not None and ours != theirs:
            return [Finding(path, f"row {row}", "uid, as the unit has it", str(theirs), ours, RESTORE)]
    return []


def check_shard(release: Release, entry: Mapping[str, Any], tell: Callable[[int], None]) -> Read:
    """A shard's index and tar, wherever they lie. entry: the manifest's."""
    number = entry["shard"]
    path, tar = release.shard_path(number, "parquet"), release.shard_path(number, "tar")
    try:
        shard = reading(path, lambda: Shard(**release._footer(path)))
        index = reading(path, lambda: release._read(path, None, None))
    except Damaged as damaged:
        return Read([damaged.finding])
    missing = [name for name in INDEX.names if name not in index.column_names]
    if missing:
        return Read([Finding(path, "", "columns are missing", ", ".join(missing), "", RESTORE)])
    try:
        size, digest = size_and_digest(release.store, tar, tell)
    except Damaged as damaged:
        return Read([damaged.finding])
    wrong = _index(release, path, shard, index, entry)
    wrong += _tar(release, tar, path, shard, index, entry, size=size, digest=digest, doubted=bool(wrong))
    return Read(wrong, None if wrong else _by_unit(index))


def _index(release: Release, path: str, shard: Shard, index: pa.Table, entry: Mapping[str, Any]) -> list[Finding]:
    """An index against its footer, and its footer against the manifest: the one that stands alone is wrong."""
    if wrong := differing(path, "", "digest of the content", shard.content_digest, digest_of_table(index)):
        return wrong
    if wrong := differing(path, "", "digest of the content, as the manifest has it", entry["content_digest"], shard.content_digest):
        return wrong
    if wrong := differing(path, "footer, count", "rows of the table", index.num_rows, shard.count):
        return wrong
    place, told = f"{release.path}/manifest.json", asdict(shard)
    names = sorted(told.keys() & entry.keys() - {"bytes", "sha256"})
    return [
        one for name in names for one in differing(place, f"shards, {shard.shard}, {name}", "as its index has it", told[name], entry[name])
    ]


def _tar(
    release: Release, tar: str, path: str, shard: Shard, index: pa.Table, entry: Mapping[str, Any], *, size: int, digest: str, doubted: bool
) -> list[Finding]:
    """A tar against the two that tell its digest, then member by member against its index. doubted: whether the index is known to be wrong."""
    if digest in (shard.sha256, entry["sha256"]):  # the tar is what was written
        manifest, wrong = f"{release.path}/manifest.json", list[Finding]()
        for name, value in (("bytes", size), ("sha256", digest)):
            wrong += differing(path, f"footer, {name}", f"{name} of the tar", value, getattr(shard, name))
            wrong += differing(manifest, f"shards, {shard.shard}, {name}", f"{name} of the tar", value, entry[name])
        if wrong or doubted:
            return wrong
    with release.store.open(tar) as file:
        members = shortened(samples_of_shard(tar, file, index))
    if digest == shard.sha256:
        return [Finding(path, one.place, f"{one.what}, against the tar", one.found, one.expected, RESTORE) for one in members]
    return members or differing(tar, "", f"sha256 of its {size:,} bytes", shard.sha256, digest)


def _by_unit(index: pa.Table) -> dict[str, tuple[int, int]]:
    units = index["unit"].to_numpy().astype(str)
    return {
        str(unit): _fingerprint(index["row"].filter(pa.array(units == unit)), index["uid"].filter(pa.array(units == unit)))
        for unit in np.unique(units)
    }


def _fingerprint(rows: pa.ChunkedArray, uids: pa.ChunkedArray) -> tuple[int, int]:
    """How many, and the sum of 64 bits of each (row, uid) modulo 2^64: of any order the same."""
    digits = bytes.fromhex("".join(uids.to_pylist()))
    halves = np.frombuffer(digits, ">u8").astype(np.uint64).reshape(-1, 2)
    with np.errstate(over="ignore"):
        each = (halves[:, 0] ^ (rows.to_numpy().astype(np.uint64) * _ODD[0])) * _ODD[1] ^ halves[:, 1]
        return len(each), int(each.sum(dtype=np.uint64))


def unlike(release: Release, manifest: Mapping[str, Any], unit: str) -> list[Finding]:
    """Which pairs of a unit are kept and in no shard, or the other way round. Reads all indexes; only where something is known to be wrong."""
    decisions = release.read_decisions(unit, ["row", "uid", "verdict"])
    kept = {(row["row"], row["uid"]) for row in decisions.to_pylist() if row["verdict"] == "keep"}
    sharded = dict[tuple[int, str], str]()
    for entry in manifest["shards"]:
        index = release.read_index(entry["shard"], list(_SAMPLE))
        for row in index.filter(pc.equal(index["unit"], unit)).to_pylist():
            sharded[row["row"], row["uid"]] = release.shard_path(entry["shard"], "parquet")
    path = f"{release.path}/decisions/{unit}.parquet"
    found = [
        Finding(path, f"row {row} (uid {uid})", "is kept", "a sample in a shard", "none", RESTORE)
        for row, uid in sorted(kept - sharded.keys())
    ]
    return found + [
        Finding(sharded[key], f"uid {key[1]}", f"is a sample, of unit {unit}, row {key[0]}", "the verdict keep", "another", RESTORE)
        for key in sorted(sharded.keys() - kept)
    ]
