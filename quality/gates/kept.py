"""What is in the shards, judged again by the policy's legal rules: licences, reservations, and what its scores look like."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from quality.columns import COLUMN_FUNCTIONS
from quality.gates.drift import edges_of, histogram
from quality.gates.shares import share
from quality.rules import judge
from schemas.policy import Policy, Rule
from schemas.release import Release

LICENSE_COLUMNS: Final = ("class", "count", "share", "parent_share", "share_change")
LEGAL_COLUMNS: Final = ("rule", "column", "samples", "broken", "shard", "uid")
_LICENSE: Final = COLUMN_FUNCTIONS["license"]


@dataclass
class Kept:
    """Of all indexes of a release: licence classes with their samples, histograms by (column, "kept"), and the indexes' schemas.

    legal: for each legal rule, by its number in the policy, (samples that break it, the first one's shard and uid), or None where the
    indexes do not have what it looks at.
    """

    licenses: Counter[str] = field(default_factory=Counter)
    histograms: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    schemas: list[pa.Schema] = field(default_factory=list)
    legal: dict[int, tuple[int, int | None, str | None] | None] = field(default_factory=dict)


def read_kept(release: Release, fields: Mapping[str, pa.Field], policy: Policy | None = None) -> Kept:
    """Reads what is needed of the indexes, a shard at a time. fields: the columns of numbers that may drift. An index that cannot be read is
    left out; shards have a rule for it."""
    kept = Kept()
    rules = {} if policy is None else dict(_legal_rules(policy))
    kept.legal = dict.fromkeys(rules, (0, None, None))
    edges = {name: edges_of(field) for name, field in fields.items()}
    for shard in release.shards():
        try:
            schema = release.index_schema(shard.shard)
            numbers = [name for name in edges if name in schema.names and schema.field(name).type == fields[name].type]
            looked_at = [rule.column for rule in rules.values() if rule.column in schema.names]
            needs = [name for name in _LICENSE.needs if name in schema.names]
            table = release.read_index(shard.shard, list(dict.fromkeys(["uid", *needs, *numbers, *looked_at])))
        except (pa.ArrowException, OSError):
            continue
        kept.schemas.append(schema)
        licenses = _LICENSE.compute(table)
        kept.licenses.update({row["values"]: row["counts"] for row in licenses["license.class"].value_counts().to_pylist()})
        for name in numbers:
            values = table[name].drop_null().to_numpy()
            counts = histogram(values[np.isfinite(values)], edges[name])
            kept.histograms[name, "kept"] = kept.histograms.get((name, "kept"), np.int64(0)) + counts
        judged = pa.table({**{name: table[name] for name in looked_at}, **{name: licenses[name] for name in licenses.column_names}})
        for number, rule in rules.items():
            kept.legal[number] = _with_broken(kept.legal[number], rule, judged, table["uid"], shard.shard)
    return kept


def _legal_rules(policy: Policy) -> Iterator[tuple[int, Rule]]:
    """Rules that nobody may overrule, and that columns alone decide: lists are not at hand any more."""
    return ((number, rule) for number, rule in enumerate(policy.rules) if not rule.overrule and not rule.lists)


def _with_broken(
    before: tuple[int, int | None, str | None] | None, rule: Rule, table: pa.Table, uids: pa.ChunkedArray, shard: int
) -> tuple[int, int | None, str | None] | None:
    if before is None or rule.column not in table.column_names:
        return None
    missing, violates = judge(rule, table, None, 0)
    broken = np.flatnonzero(violates if rule.missing == "keep" else violates | missing)
    if not len(broken):
        return before
    count, where, uid = before
    return (count + len(broken), shard, uids[int(broken[0])].as_py()) if count == 0 else (count + len(broken), where, uid)


def license_metrics(kept: Kept, parent: Kept | None) -> pd.DataFrame:
    """LICENSE_COLUMNS, one row per licence class of the samples or of the parent's. share_change: since the parent, up or down."""
    total = kept.licenses.total()
    rows = []
    for name in sorted(kept.licenses | (Counter() if parent is None else parent.licenses)):
        row: dict[str, Any] = {"class": name, "count": kept.licenses[name], "share": share(kept.licenses[name], total)}
        if parent is not None:
            row["parent_share"] = share(parent.licenses[name], parent.licenses.total())
            if row["share"] is not None and row["parent_share"] is not None:
                row["share_change"] = round(abs(row["share"] - row["parent_share"]), 4)
        rows.append(row)
    return pd.DataFrame(rows, columns=LICENSE_COLUMNS)


def legal_metrics(kept: Kept, policy: Policy) -> pd.DataFrame:
    """LEGAL_COLUMNS, one row per rule of the policy that nobody may overrule. broken: samples that break it; shard, uid: the first of them."""
    rows = []
    for number, rule in _legal_rules(policy):
        told = kept.legal[number]
        row = {"rule": rule.reason, "column": rule.column, "samples": kept.licenses.total()}
        rows.append(row if told is None else row | dict(zip(("broken", "shard", "uid"), told, strict=True)))
    return pd.DataFrame(rows, columns=LEGAL_COLUMNS)
