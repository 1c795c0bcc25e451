"""A release beside its parent: counts, the units of both, and the columns of their indexes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from quality.gates.shares import FAILED, share
from schemas.release import Release

PARENT_COLUMNS: Final = (
    "parent", "keep", "parent_keep", "keep_ratio", "kept_share", "parent_kept_share", "kept_share_fall", "failed_share",
    "parent_failed_share", "failed_share_rise", "lost_units", "common_keep", "common_parent_keep", "common_keep_ratio",
)  # fmt: skip
INDEX_COLUMNS: Final = ("column", "state", "state_same_policy")
ANOTHER_POLICY: Final = "the parent was selected by another policy"


@dataclass(frozen=True)
class Parent:
    """The parent of a release: its manifest. same_policy: whether the two were selected by equal policies."""

    release: Release
    manifest: Mapping[str, Any]
    same_policy: bool

    @property
    def units(self) -> Mapping[str, Mapping[str, Any]]:
        return self.manifest["units"]


def parent_of(release: Release) -> Parent | str:
    """The parent that run.json names, or why there is none to compare with."""
    run = release.run() or {}
    name = run.get("parent")
    if name is None:
        return "the release has no parent"
    parent = Release(release.store, name)
    if parent.notice() is not None:
        return f"pairs were removed from the parent, {name}, since"
    manifest = parent.manifest()
    if manifest is None:
        return f"the parent, {name}, is not there any more"
    return Parent(parent, manifest, run.get("policy_digest") is not None and run.get("policy_digest") == manifest["policy_digest"])


def parent_metrics(parent: Parent, units: pd.DataFrame, sums: Mapping[str, Any]) -> pd.DataFrame:
    """PARENT_COLUMNS, one row. sums: the row of quality.gates.metrics.release_metrics.

    keep_ratio: pairs kept, over the parent's. *_fall, *_rise: differences of shares. lost_units: units of the parent that this release does
    not decide about; a pool only grows. common_*: of the units of both, null where the policies differ.
    """
    counts, statuses = parent.manifest["counts"], parent.manifest["funnel"]["statuses"]
    failed = sum(statuses.get(status, 0) for status in FAILED)
    kept = {unit: told["keep"] for unit, told in parent.units.items()}
    decided = units[units["state"] == "decided"]
    common = decided[decided["unit"].isin(kept)]
    row = {
        "parent": parent.release.name,
        "keep": sums["keep"],
        "parent_keep": counts["keep"],
        "keep_ratio": share(sums["keep"], counts["keep"]),
        "kept_share": sums["kept_share"],
        "parent_kept_share": share(counts["keep"], counts["keep"] + counts["review"] + counts["drop"]),
        "failed_share": sums["failed_share"],
        "parent_failed_share": share(failed, failed + statuses.get("success", 0)),
        "lost_units": len(set(kept) - set(decided["unit"])),
    }
    row["kept_share_fall"] = _difference(row["parent_kept_share"], row["kept_share"])
    row["failed_share_rise"] = _difference(row["failed_share"], row["parent_failed_share"])
    if parent.same_policy:
        row["common_keep"] = int(common["keep"].sum())
        row["common_parent_keep"] = sum(kept[unit] for unit in common["unit"])
        row["common_keep_ratio"] = share(row["common_keep"], row["common_parent_keep"])
    return pd.DataFrame([row], columns=PARENT_COLUMNS)


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else round(one - other, 4)


def index_metrics(parent: Parent, now: Sequence[pa.Schema], then: Sequence[pa.Schema]) -> pd.DataFrame:
    """INDEX_COLUMNS, one row per column that all indexes of the parent have. now, then: schemas of the indexes of both.

    state: there, missing (in one index at least), or the other type that the column has. state_same_policy: null where the policies differ.
    """
    rows = []
    for field in then[0] if then else ():
        if all(field.name in schema.names for schema in then):
            state = _state(field, now)
            rows.append({"column": field.name, "state": state, "state_same_policy": state if parent.same_policy else None})
    return pd.DataFrame(rows, columns=INDEX_COLUMNS)


def _state(field: pa.Field, schemas: Sequence[pa.Schema]) -> str:
    types = {None if field.name not in schema.names else schema.field(field.name).type for schema in schemas}
    if None in types:
        return "missing"
    # A column that is null throughout a shard has no type of its own there.
    other = sorted(str(type_) for type_ in types if type_ not in (field.type, pa.null()) and field.type != pa.null())
    return other[0] if other else "there"
