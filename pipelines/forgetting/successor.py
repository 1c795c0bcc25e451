"""A release written again without some pairs: decisions and shards of the one that it follows, all that stays being the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.shards import MEMBERS, input_digest_of
from pipelines.tar import TarWriter, copy_members
from quality.block_lists import LISTED, blanked
from quality.images.convert import Target
from schemas.digest import digest_of_json, digest_of_table
from schemas.line import generations_of
from schemas.policy import parse_stored_policy
from schemas.pool import Pool
from schemas.reasons import error_word
from schemas.release import INDEX, Release, heartbeat
from schemas.removals import Removal
from schemas.scratch import Scratch

Plan = Mapping[str, Sequence[int]]  # rows by unit


def successor_name(release: Release, removal: Removal) -> str:
    """12 hex digits that follow from the release, the request and its plan."""
    return _digest(release, removal)[:12]


def is_outdated(pool: Pool, release: Release, plan: Plan) -> bool:
    """Whether a published release was made from units that were rewritten since: their pairs are in its decisions, and may be in its shards."""
    manifest = release.manifest()
    assert manifest is not None
    for unit in plan.keys() & manifest["units"].keys():
        commit = pool.raw_commit(unit)
        if commit is None or commit.content_digest != manifest["units"][unit]["raw"]:
            return True
    return False


def planned(table: pa.Table, plan: Plan) -> np.ndarray:
    """Which rows of a table with `unit` and `row` the plan names: booleans."""
    rows = {unit: frozenset(there) for unit, there in plan.items()}
    pairs = zip(table["unit"].to_pylist(), table["row"].to_pylist(), strict=True)
    return np.array([row in rows.get(unit, ()) for unit, row in pairs], bool)


def write_successor(
    pool: Pool,
    release: Release,
    successor: Release,
    removal: Removal,
    plan: Plan,
    uids: frozenset[str],
    written: Mapping[tuple[str, int], str],
) -> None:
    """Writes all but the manifest; what stands already is adopted. written: {(release, shard): the successor that has it without the pairs}."""
    manifest, run = release.manifest(), release.run()
    assert manifest is not None and run is not None
    generations = generations_of(manifest)
    changed = [shard.shard for shard in release.shards() if planned(release.read_index(shard.shard, ["unit", "row"]), plan).any()]
    again = [shard for shard in changed if (release.holder(shard), shard) not in written]
    referenced = {shard.shard: release.holder(shard.shard) for shard in release.shards() if shard.shard not in changed}
    referenced |= {shard: written[release.holder(shard), shard] for shard in changed if shard not in again}
    digest = _digest(release, removal)
    more = {
        "digest": digest, "inputs": digest, "parent": release.name, "after": release.name, "removal": removal.id, "inherits": None,
        "heartbeat": heartbeat(),
        "generations": generations.told(), "generation_of": dict(generations.of_unit), "shards": generations.total,
        "referenced": dict(sorted(referenced.items())), "reviews": _settle(release, successor, uids),
    }  # fmt: skip
    successor.put_run({**run, **more})
    for decided in release.decided():
        table = without(release.read_decisions(decided.unit), plan.get(decided.unit, ()), uids)
        successor.put_decisions(decided.unit, table, cuts={int(rule): cut for rule, cut in decided.cuts.items()})
    for shard in again:
        _copy_shard(pool, release, successor, shard, plan)


def _digest(release: Release, removal: Removal) -> str:
    manifest, plan = release.manifest(), removal.plan()
    assert manifest is not None and plan is not None
    return digest_of_json(["forget", manifest["digest"], removal.id, digest_of_table(plan)])


def _settle(release: Release, successor: Release, uids: frozenset[str]) -> dict | None:
    """What people had decided, without the pairs; returns what a run says of it."""
    settled = release.read_settled()
    if settled is None:
        return None
    left = settled.filter(pc.invert(pc.is_in(settled["uid"], value_set=pa.array(sorted(uids), pa.string())))).combine_chunks()
    if not left.num_rows:
        return None
    return {"digest": successor.put_settled(left), "settled": left.num_rows, "pairs": len(pc.unique(left["uid"]))}


def without(table: pa.Table, rows: Sequence[int], uids: frozenset[str]) -> pa.Table:
    """Decisions as select makes them where pairs are on a block list: no identity and no value in `rows`, and nobody loses to one of `uids`."""
    gone = np.zeros(table.num_rows, bool)
    gone[list(rows)] = True
    told = blanked(table, gone)
    elsewhere = np.asarray(pc.is_null(table["verdict"]))  # a follow-up decides
    word = error_word(LISTED)
    new = {
        "verdict": _put(told, "verdict", gone & ~elsewhere, "drop"),
        "reasons": _put(_filled(told, "reasons", gone, []), "reasons", gone & ~elsewhere, [LISTED]),
        "error": _put(told, "error", gone, word),
        "duplicate_of": pa.array([None if uid in uids else uid for uid in told["duplicate_of"].to_pylist()], pa.string()),
    }
    for name, values in new.items():
        told = told.set_column(told.schema.get_field_index(name), told.schema.field(name), values)
    return told


def _put(table: pa.Table, name: str, rows: np.ndarray, value: object) -> pa.Array:
    values = table[name].to_pylist()
    return pa.array([value if here else old for here, old in zip(rows, values, strict=True)], table.schema.field(name).type)


def _filled(table: pa.Table, name: str, rows: np.ndarray, value: object) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), _put(table, name, rows, value))


def _copy_shard(pool: Pool, release: Release, successor: Release, number: int, plan: Plan) -> None:
    """Writes a shard member by member, without those of the planned pairs."""
    standing, index = release.shard(number), release.read_index(number)
    assert standing is not None
    gone = planned(index, plan)
    keys = frozenset(index["uid"].filter(pa.array(gone)).to_pylist())
    with Scratch("forget") as folder:
        path = Path(folder, "shard.tar")
        with TarWriter(path, cached=False) as tar:
            with release.store.open(release.shard_path(number, "tar")) as old:
                offsets = copy_members(old, tar, keys=keys, keep=False)
            digest = tar.close()
        left = index.filter(pa.array(~gone)).combine_chunks()
        at = left.schema.get_field_index("offset")
        places = pa.array([offsets[member] for member in left["member"].to_pylist()], pa.int64())
        left = left.set_column(at, left.schema.field("offset"), places)
        inputs = None if standing.input_digest is None else _input_digest(pool, release, left)
        successor.put_shard(number, path, left, sha256=digest, failed=standing.failed, input_digest=inputs)


def _input_digest(pool: Pool, release: Release, index: pa.Table) -> str | None:
    """By which a later release of the line knows that it need not write the shard again; None where it cannot be told which pass gave a score."""
    run = release.run()
    assert run is not None
    policy = parse_stored_policy(run["policy"])
    used = [pass_ for pass_ in pool.passes_for(policy.caption_version) if pass_.name in run["passes"]]
    passes = {pass_.name: {name for scorer in pass_.scorers for name in scorer.columns} for pass_ in used}
    names = index.column_names[len(INDEX) :]
    if any(sum(name in columns for columns in passes.values()) != 1 for name in names):
        return None
    score_columns = [(name, [column for column in names if column in passes[name]]) for name in run["passes"]]
    return input_digest_of(
        pool, index.select(MEMBERS.names), Target(**run["target"]), score_columns=score_columns,
        redact=policy.captions.personal_data == "redact", captions=policy.caption_version,
    )  # fmt: skip
