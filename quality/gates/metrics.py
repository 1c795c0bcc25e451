"""Tables of figures about a release, measured in its files (never counted by a runner): per unit, per shard, per sample, and in all."""

import hashlib
import tarfile
from collections import Counter
from contextlib import ExitStack
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from quality.block_lists import LISTED
from quality.gates.indexes import Indexes, missing_columns, read_indexes, repeated
from quality.gates.shares import SHARES, add_shares, share
from quality.images.decode import ImageError, decode
from schemas.columns import RAW_ALWAYS
from schemas.digest import digest_of_table
from schemas.follow_ups import planned_follow_ups, retried_rows
from schemas.pool import Pool
from schemas.reasons import ACCEPTED, FETCH_STATUSES, REASONS, VERDICTS
from schemas.release import DECISIONS, Decided, Release
from schemas.units import Commit, PoolError

UNIT_COLUMNS: Final = (
    "unit", "state", "rows_source", "rows_committed", "rows_by_status", "rows_decided", *VERDICTS, "retried", "accounted", "unreadable",
    "missing_columns", "null_uids", "null_verdicts", "other_verdicts", "reason_errors", "footer_errors", "kept_not_sharded",
    "sharded_not_kept", *(f"status.{status}" for status in FETCH_STATUSES), *(f"reasons.{family}" for family in REASONS), *SHARES,
)  # fmt: skip
RELEASE_COLUMNS: Final = (
    "rows_source", *VERDICTS, "asked", "failed", "deferred", "accounted", "sharded", "repeated_uids", "foreign_samples", "undecided_units",
    "unplanned_units", "kept_share", "failed_share", "deferred_share",
)  # fmt: skip
SAMPLE_COLUMNS: Final = ("uid", "shard", "image", "same_bytes", "same_sides", "same_caption")


def unit_metrics(pool: Pool, release: Release, indexes: Indexes | None = None) -> pd.DataFrame:
    """UNIT_COLUMNS, one row per unit that is planned, committed or decided; what cannot be measured is null.

    state: decided; deferred (planned, never committed); undecided (committed, not decided); unplanned (in no source file).
    A follow-up that is committed is a unit of the source as its base is; one that is not counts for nothing. retried: rows that a follow-up
    decides; accounted: keep + review + drop + retried, counted in the file, and null_verdicts are verdicts that are null elsewhere, or not
    there. status.*: of the other rows. footer_errors: figures of the footer that are not those of the file.
    reasons.<family>: reasons of that family in the file; a pair may have several. The shares are those of quality.gates.shares.
    """
    indexes = read_indexes(release) if indexes is None else indexes
    planned = pool.planned_units()
    committed = pool.committed()
    decided = {unit.unit: unit for unit in release.decided()}
    planned |= {unit: plan.rows for unit, plan in planned_follow_ups(pool).items() if unit in committed}
    rows = []
    for unit in sorted({*planned, *committed, *decided}):
        commit, unreadable = _commit_of(pool, unit) if unit in committed else (None, 0)
        state = "unplanned" if unit not in planned else "decided" if unit in decided else "undecided" if unit in committed else "deferred"
        retried = retried_rows(pool, unit, decided)
        row: dict[str, Any] = dict.fromkeys(UNIT_COLUMNS)
        row.update(unit=unit, state=state, rows_source=planned.get(unit), unreadable=unreadable)
        if commit is not None:
            row.update(_of_commit(pool, commit, retried))
        if unit in decided:
            row.update(_of_decisions(release, decided[unit], indexes, retried))
            row["unreadable"] = max(row["unreadable"], unreadable)
            row["missing_columns"] += 0 if commit is None else missing_columns(pool.raw_schema(unit), RAW_ALWAYS)
        rows.append(row)
    return add_shares(pd.DataFrame(rows, columns=UNIT_COLUMNS))


def _commit_of(pool: Pool, unit: str) -> tuple[Commit | None, int]:
    """What the footer of a fetched unit says, and whether it cannot be read."""
    try:
        return pool.raw_commit(unit), 0
    except (pa.ArrowException, OSError, PoolError):
        return None, 1


def _of_commit(pool: Pool, commit: Commit, retried: np.ndarray) -> dict[str, Any]:
    statuses = Counter({status: commit.statuses.get(status, 0) for status in FETCH_STATUSES})
    by_status = statuses.total()
    if len(retried):
        try:
            statuses.subtract(pool.read_raw(commit.unit, ["status"])["status"].take(pa.array(retried)).to_pylist())
        except (pa.ArrowException, OSError):
            return {"rows_committed": commit.rows, "rows_by_status": by_status, "unreadable": 1}
    return {"rows_committed": commit.rows, "rows_by_status": by_status, **{f"status.{name}": count for name, count in statuses.items()}}


def _of_decisions(release: Release, footer: Decided, indexes: Indexes, retried: np.ndarray) -> dict[str, Any]:
    try:
        table = release.read_decisions(footer.unit)
    except (pa.ArrowException, OSError):
        return {"unreadable": 1, "missing_columns": 0}
    missing = missing_columns(table.schema, DECISIONS)
    if missing:
        return {"rows_decided": table.num_rows, "missing_columns": missing}
    verdicts = {row["values"]: row["counts"] for row in table["verdict"].value_counts().to_pylist()}
    counts = {verdict: verdicts.get(verdict, 0) for verdict in VERDICTS}
    keep = pc.fill_null(pc.equal(table["verdict"], "keep"), False)
    given = {row["values"]: row["counts"] for row in pc.list_flatten(table["reasons"]).value_counts().to_pylist()}
    families = Counter[str]()
    for reason, count in given.items():
        families[reason.partition(":")[0]] += count
    told: dict[str, Any] = {"rows": footer.rows, "content_digest": footer.content_digest, "reasons": footer.reasons}
    told |= {verdict: getattr(footer, verdict) for verdict in (*VERDICTS, "retried")}
    nulls, elsewhere = np.asarray(pc.is_null(table["verdict"])), np.zeros(table.num_rows, bool)
    elsewhere[retried] = True
    decided_elsewhere = nulls & elsewhere
    true = {"rows": table.num_rows, "content_digest": digest_of_table(table), "reasons": given, **counts, "retried": int(nulls.sum())}
    return {
        "rows_decided": table.num_rows,
        **counts,
        "retried": int(decided_elsewhere.sum()),
        "accounted": sum(counts.values()) + int(decided_elsewhere.sum()),
        "missing_columns": 0,
        "null_uids": int((np.asarray(pc.is_null(table["uid"])) & ~_listed(table["reasons"].combine_chunks()) & ~decided_elsewhere).sum()),
        "null_verdicts": int((nulls != elsewhere).sum()),
        "other_verdicts": table.num_rows - sum(counts.values()) - int(nulls.sum()),
        "reason_errors": int((np.asarray(keep) == _has_reason(table["reasons"].combine_chunks()))[~decided_elsewhere].sum()),
        "footer_errors": sum(told[name] != true[name] for name in told),
        **{f"reasons.{family}": families[family] for family in REASONS},
        **_against_shards(footer.unit, table.filter(keep), indexes),
    }


def _listed(reasons: pa.ListArray) -> np.ndarray:
    """Which rows are on a block list; they alone have no uid."""
    return _rows_with(reasons, pc.equal(pc.list_flatten(reasons), LISTED))


def _has_reason(reasons: pa.ListArray) -> np.ndarray:
    """Which rows have a reason not to be kept: review:accepted is none."""
    return _rows_with(reasons, pc.not_equal(pc.list_flatten(reasons), ACCEPTED))


def _rows_with(lists: pa.ListArray, which: pa.BooleanArray) -> np.ndarray:
    """Rows that have an item of `which`, a boolean for each item of all lists."""
    found = np.zeros(len(lists), bool)
    found[np.asarray(pc.list_parent_indices(lists))[np.asarray(pc.fill_null(which, True))]] = True
    return found


def _against_shards(unit: str, kept: pa.Table, indexes: Indexes) -> dict[str, int]:
    """Kept pairs that no shard has, and samples that are no kept pair, by row and uid."""
    rows, uids = indexes.of_unit(unit)
    if (
        kept["uid"].null_count == 0
        and kept["row"].to_pylist() == rows.tolist()
        and "".join(kept["uid"].to_pylist()) == uids.tobytes().hex()
    ):
        return {"kept_not_sharded": 0, "sharded_not_kept": 0}
    ours = set(zip(kept["row"].to_pylist(), kept["uid"].to_pylist(), strict=True))
    theirs = {(row, uid.ljust(16, b"\0").hex()) for row, uid in zip(rows.tolist(), uids.tolist(), strict=True)}
    return {"kept_not_sharded": len(ours - theirs), "sharded_not_kept": len(theirs - ours)}


def shard_metrics(pool: Pool, release: Release, indexes: Indexes | None = None) -> pd.DataFrame:
    """indexes.SHARD_COLUMNS, one row per shard that is there or ought to be: what its index says, and what its tar is.

    state: there, missing or unexpected. outside: samples whose offset and size do not lie in the tar.
    """
    return (read_indexes(release) if indexes is None else indexes).shards


def release_metrics(units: pd.DataFrame, indexes: Indexes) -> pd.DataFrame:
    """RELEASE_COLUMNS, one row: the sums of the release, and shares of them. rows = keep + review + drop + deferred if the books balance.

    kept_share: of the pairs decided about. failed_share: of those that were asked for. deferred_share: of the source's rows.
    """
    known = set(units["unit"])
    deferred = int(units.loc[units["state"] == "deferred", "rows_source"].sum())
    sums = {name: int(units[name].sum()) for name in ("rows_source", *VERDICTS, "asked", "failed")}
    decided = sum(sums[verdict] for verdict in VERDICTS)
    row = {
        **sums,
        "rows_source": sums["rows_source"] - int(units["retried"].sum()),  # a row that a follow-up holds too is one row of the source
        "deferred": deferred,
        "accounted": decided + deferred,
        "sharded": int(indexes.shards["count"].sum()),
        "repeated_uids": repeated(indexes.uid),
        "foreign_samples": int(np.isin(indexes.unit, [code for code, unit in enumerate(indexes.units) if unit not in known]).sum()),
        "undecided_units": int((units["state"] == "undecided").sum()),
        "unplanned_units": int((units["state"] == "unplanned").sum()),
        "kept_share": share(sums["keep"], decided),
        "failed_share": share(sums["failed"], sums["asked"]),
        "deferred_share": share(deferred, sums["rows_source"]),
    }
    return pd.DataFrame([row], columns=RELEASE_COLUMNS)


def sample_metrics(release: Release, indexes: Indexes) -> pd.DataFrame:
    """SAMPLE_COLUMNS: the chosen samples, read again from their tars and compared with the index. image: "decodes", or what is wrong."""
    rows: list[dict[str, Any]] = []
    for shard, samples in groupby(indexes.samples.to_dict("records"), key=lambda sample: int(sample["shard"])):
        with ExitStack() as opened:
            try:
                tar = opened.enter_context(release.store.open(release.shard_path(shard, "tar")))
            except FileNotFoundError:
                tar = None
            chosen: list[dict[str, Any]] = [dict(sample) for sample in samples]  # type: ignore[arg-type]  # keys are names of columns
            forwards = sorted(range(len(chosen)), key=lambda place: int(chosen[place]["offset"]))  # behind a URL neighbours are one request
            found = {place: _read_sample(tar, chosen[place]) for place in forwards}
            rows += [found[place] for place in range(len(chosen))]
    return pd.DataFrame(rows, columns=SAMPLE_COLUMNS)


def _read_sample(tar: pa.NativeFile | None, sample: dict[Any, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "uid": sample["uid"],
        "shard": sample["shard"],
        "image": "no tar",
        "same_bytes": 0,
        "same_sides": 0,
        "same_caption": 0,
    }
    if tar is None:
        return row
    members = _members_at(tar, int(sample["offset"]), str(sample["uid"]))
    data = members.get(str(sample["member"]))
    if data is None:
        return {**row, "image": "not where the index says"}
    row["same_bytes"] = int(hashlib.sha256(data).hexdigest() == sample["sha256"] and len(data) == sample["size"])
    caption = members.get(f"{sample['uid']}.txt")
    row["same_caption"] = int(caption is not None and caption == (sample["caption"] or "").encode())
    try:
        height, width, _ = decode(data).shape
    except ImageError as error:
        return {**row, "image": f"{error}"}
    return {**row, "image": "decodes", "same_sides": int((width, height) == (sample["width"], sample["height"]))}


def _members_at(file: pa.NativeFile, offset: int, uid: str) -> dict[str, bytes]:
    """The members of a sample whose first member's data begins at `offset`."""
    members = dict[str, bytes]()
    at = offset - tarfile.BLOCKSIZE
    while 0 <= at <= file.size() - tarfile.BLOCKSIZE:
        file.seek(at)
        try:
            header = tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "strict")
        except tarfile.HeaderError:
            break
        if not header.name.startswith(f"{uid}."):
            break
        members[header.name] = file.read(header.size)
        at += tarfile.BLOCKSIZE * (1 + -(-header.size // tarfile.BLOCKSIZE))
    return members
