"""All tables that gates look at, measured in one go: their names, their columns, and what names a row of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from quality.gates.drift import DRIFT_COLUMNS, drift_metrics
from quality.gates.hosts import HOST_COLUMNS, host_metrics
from quality.gates.indexes import FEW, SHARD_COLUMNS, read_indexes
from quality.gates.kept import LEGAL_COLUMNS, LICENSE_COLUMNS, Kept, legal_metrics, license_metrics, read_kept
from quality.gates.metrics import (
    RELEASE_COLUMNS,
    SAMPLE_COLUMNS,
    UNIT_COLUMNS,
    release_metrics,
    sample_metrics,
    shard_metrics,
    unit_metrics,
)
from quality.gates.parent import ANOTHER_POLICY, INDEX_COLUMNS, PARENT_COLUMNS, Parent, index_metrics, parent_metrics, parent_of
from quality.gates.reasons import REASON_COLUMNS, reason_metrics
from quality.gates.scores import SCORE_COLUMNS, UNIT_SCORE_COLUMNS, Scores, score_metrics
from quality.gates.shares import FEW_UNITS
from schemas.policy import Policy, parse_stored_policy
from schemas.pool import Pool
from schemas.release import Release

NEW_UNITS: Final = "fetched, in new units"  # beside those fetched in the parent's units


@dataclass(frozen=True)
class TableInfo:
    """columns: in order. named: those that name a row in a message. row: what a row is. every: a rule holds only when no row is null: each is a
    promise of its own, and what was not looked at is not kept."""

    columns: tuple[str, ...]
    named: tuple[str, ...]
    row: str
    every: bool = False


TABLES: Final[Mapping[str, TableInfo]] = {
    "units": TableInfo(UNIT_COLUMNS, ("unit",), "a unit that is committed or decided about"),
    "scores of units": TableInfo(UNIT_SCORE_COLUMNS, ("unit", "column"), "a unit in a scoring pass that the release reads"),
    "scores": TableInfo(SCORE_COLUMNS, ("column",), "a scored column of numbers that the policy decides by"),
    "shards": TableInfo(SHARD_COLUMNS, ("shard",), "a shard that is there or ought to be"),
    "samples": TableInfo(SAMPLE_COLUMNS, ("uid", "shard"), "one of 200 samples that are read again"),
    "release": TableInfo(RELEASE_COLUMNS, ("rows_source",), "the release: one row"),
    "reasons": TableInfo(REASON_COLUMNS, ("reason",), "a reason that a pair was given"),
    "hosts": TableInfo(HOST_COLUMNS, ("host",), "a host that was asked for images"),
    "licenses": TableInfo(LICENSE_COLUMNS, ("class",), "a licence class of the samples or of the parent's"),
    "legal rules": TableInfo(LEGAL_COLUMNS, ("rule", "shard", "uid"), "a rule of the policy that nobody may overrule", every=True),
    "parent": TableInfo(PARENT_COLUMNS, ("parent",), "the release beside its parent: one row"),
    "columns": TableInfo(INDEX_COLUMNS, ("column",), "a column of the parent's indexes"),
    "drift": TableInfo(DRIFT_COLUMNS, ("column", "pairs"), "a scored column of numbers beside the parent's"),
}


@dataclass(frozen=True)
class Table:
    """rows: None when there is nothing to measure, and `why` says why. why_null: of columns, why they are null in every row."""

    rows: pd.DataFrame | None
    why: str = ""
    why_null: Mapping[str, str] | None = None


def measure(pool: Pool, release: Release, *, shards: int | None = None) -> dict[str, Table]:
    """The tables of a release, all of TABLES. shards: how many there ought to be (None: the highest number says)."""
    run = release.run() or {}
    policy = parse_stored_policy(run["policy"]) if "similarity" in run.get("policy", {}) else None
    passes = run.get("passes", [])
    found = parent_of(release)
    parent = found if isinstance(found, Parent) else None
    indexes = read_indexes(release, shards=shards)
    units = unit_metrics(pool, release, indexes)
    old = () if parent is None else tuple(parent.units)
    units["failed_share_new"] = units["failed_share"].where(~units["unit"].isin(old))
    sums = release_metrics(units, indexes)
    decided = [str(unit) for unit in units.loc[units["state"] == "decided", "unit"]]
    scores = score_metrics(pool, decided, passes, old=frozenset(old))
    fields = _number_fields(pool, decided, passes, scores)
    kept = read_kept(release, fields, policy)
    before = None if parent is None else read_kept(parent.release, fields)
    few = f"fewer than {FEW} pairs"
    return {
        "units": Table(units[units["state"] != "deferred"], why_null=_why_units(parent)),
        "scores of units": Table(scores.units),
        "scores": _deciding(scores, policy),
        "shards": Table(shard_metrics(pool, release, indexes), why_null={"caption_share": f"no shard has {FEW} samples"}),
        "samples": Table(sample_metrics(release, indexes)),
        "release": Table(sums, why_null=dict.fromkeys(("kept_share", "failed_share", "deferred_share"), few)),
        "reasons": Table(reason_metrics(release, sums), why_null={"share": few, "missing_share": "no pair lacks a measure of a scorer"}),
        "hosts": Table(host_metrics(pool, decided), why_null={"share_of_failures": f"no host failed {FEW} times and more often than not"}),
        "licenses": Table(license_metrics(kept, before), why_null={"share_change": few if parent else str(found)}),
        "legal rules": _legal(kept, policy),
        "parent": Table(None, str(found)),
        "columns": Table(None, str(found)),
        "drift": Table(None, str(found)),
        **({} if parent is None or before is None else _beside(parent, units, sums, kept, before, scores)),
    }


def _legal(kept: Kept, policy: Policy | None) -> Table:
    rows = None if policy is None else legal_metrics(kept, policy)
    if rows is None or rows.empty:
        return Table(None, "the policy has no rule that nobody may overrule")
    return Table(rows, why_null={"broken": "the shards do not have what the policy's legal rules look at"})


def _why_units(parent: Parent | None) -> dict[str, str]:
    few = f"no unit has {FEW} pairs"
    return {
        **dict.fromkeys(("failed_share", "drop_share"), few),
        "failed_share_new": f"no new unit has {FEW} pairs" if parent else few,
        **dict.fromkeys(("failed_deviation", "drop_deviation"), f"fewer than {FEW_UNITS} units have {FEW} pairs"),
    }


def _deciding(scores: Scores, policy: Policy | None) -> Table:
    deciding = () if policy is None else {rule.column for rule in policy.rules}
    return Table(scores.columns[scores.columns["column"].isin(deciding)], why_null={"one_value": f"fewer than {FEW} values"})


def _number_fields(pool: Pool, units: list[str], passes: list[str], scores: Scores) -> dict[str, pa.Field]:
    """Columns of numbers of the passes, with what the scorer declared of them; of two passes the first's."""
    fields = dict[str, pa.Field]()
    for pass_name in passes:
        readable = scores.units[(scores.units["pass"] == pass_name) & (scores.units["unreadable"] == 0)]["unit"]
        names = set(scores.columns.loc[scores.columns["pass"] == pass_name, "column"])
        if len(readable):
            schema = pool.score_schema(pass_name, readable.iloc[0])
            fields = {**{name: schema.field(name) for name in schema.names if name in names}, **fields}
    return fields


def _beside(parent: Parent, units: pd.DataFrame, sums: pd.DataFrame, kept: Kept, before: Kept, scores: Scores) -> dict[str, Table]:
    """The tables that need a parent."""
    now, then = kept.histograms, before.histograms
    if scores.new and scores.old:  # else no unit is new, or all are
        now = now | {(column, NEW_UNITS): counts for (column, _), counts in scores.new.items()}
        then = then | {(column, NEW_UNITS): counts for (column, _), counts in scores.old.items()}
    few = f"fewer than {FEW} pairs in one of the two"
    return {
        "parent": Table(
            parent_metrics(parent, units, _row(sums)),
            why_null={
                **dict.fromkeys(("keep_ratio", "kept_share_fall", "failed_share_rise"), few),
                "common_keep_ratio": few if parent.same_policy else ANOTHER_POLICY,
            },
        ),
        "columns": Table(index_metrics(parent, kept.schemas, before.schemas), why_null={"state_same_policy": ANOTHER_POLICY}),
        "drift": Table(drift_metrics(now, then), why_null={"psi_beyond_chance": few}),
    }


def _row(sums: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in sums.iloc[0].items()}
