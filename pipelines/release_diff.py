"""What two releases of one dataset differ in: sides that pairs changed and why, units, shards, policies. From decisions alone, a unit at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.reasons import reason_text
from schemas.release import Release

_ABSENT: Final = "absent"  # the side of a pair whose unit a release does not decide about
_COLUMNS: Final = ("uid", "verdict", "reasons")
_SHOWN: Final = 8  # reasons of a change on the screen


@dataclass
class Diff:
    """before, after: names. moved: pairs by "<side> -> <side>"; sides are keep, review, drop, absent. reasons: of those, the reasons of the later
    side, or of the earlier one where the pair is kept now. shards: how many both have, by number and bytes. policy: what is not the same.
    pairs: (uid, from, to, reasons) of each, where asked for. A row that a follow-up decides is counted there."""

    before: str
    after: str
    pairs_same: int = 0
    moved: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    shards: dict[str, int] = field(default_factory=dict)
    policy: dict[str, list[Any]] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    pairs: list[tuple[str | None, str, str, list[str]]] | None = None

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def diff_of(before: Release, after: Release, *, uids: bool = False) -> Diff:
    """Both are published."""
    old, new = before.manifest() or {}, after.manifest() or {}
    diff = Diff(before.name, after.name, pairs=[] if uids else None)
    for unit in sorted(old["units"].keys() | new["units"].keys()):
        told = [side["units"].get(unit, {}).get("decisions") for side in (old, new)]
        if told[0] == told[1]:
            diff.pairs_same += old["units"][unit]["rows"] - old["units"][unit]["retried"]
            continue
        _compare(diff, _rows(before, unit, old), _rows(after, unit, new))
    entries = [{entry["shard"]: entry for entry in side["shards"]} for side in (old, new)]
    both = [number for number in entries[0].keys() & entries[1].keys() if entries[0][number]["sha256"] == entries[1][number]["sha256"]]
    diff.shards = {
        "same": len(both),
        "same_bytes": sum(entries[1][number]["bytes"] for number in both),
        "before": len(entries[0]),
        "after": len(entries[1]),
    }
    diff.units = {"added": len(new["units"].keys() - old["units"].keys()), "gone": len(old["units"].keys() - new["units"].keys())}
    diff.policy = dict(_differences(old["policy"], new["policy"], ""))
    for name in ("target", "reviews", "column_functions", "scorers"):
        if old.get(name) != new.get(name):
            diff.policy[name] = [old.get(name), new.get(name)]
    return diff


def _rows(release: Release, unit: str, manifest: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    return release.read_decisions(unit, _COLUMNS).to_pylist() if unit in manifest["units"] else None


def _compare(diff: Diff, before: list[dict[str, Any]] | None, after: list[dict[str, Any]] | None) -> None:
    absent: dict[str, Any] = {"uid": None, "verdict": _ABSENT, "reasons": []}
    count = len(before if before is not None else after or [])
    for old, new in zip(before or [absent] * count, after or [absent] * count, strict=True):
        was, now = old["verdict"] or _ABSENT, new["verdict"] or _ABSENT
        if was == now and old["reasons"] == new["reasons"]:
            diff.pairs_same += was != _ABSENT
            continue
        move, why = f"{was} -> {now}", new["reasons"] or old["reasons"] or []
        diff.moved[move] += 1
        diff.reasons.setdefault(move, Counter()).update(why)
        if diff.pairs is not None:
            diff.pairs.append((new["uid"] or old["uid"], was, now, why))


def _differences(old: Any, new: Any, place: str) -> Iterator[tuple[str, list[Any]]]:
    """(field, [before, after]) of what is not the same; rules are told by their place."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(name), new.get(name), f"{place}.{name}" if place else name)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f"{place} {number + 1}")
    elif old != new:
        yield place, [old, new]


def lines_of_diff(diff: Diff) -> list[str]:
    """For the screen."""
    lines = [f"from {diff.before} to {diff.after}", "", f"  {'the same':<20}{diff.pairs_same:>10,} pairs"]
    for move, count in sorted(diff.moved.items(), key=lambda item: (-item[1], item[0])):
        lines.append(f"  {move:<20}{count:>10,} pairs")
        lines += [f"      {reason:<26}{n:>10,}  {reason_text(reason)}" for reason, n in diff.reasons[move].most_common(_SHOWN)]
    shards, units = diff.shards, diff.units
    lines += ["", f"shards: {shards['same']} of {shards['after']} are the same bytes in both ({shards['same_bytes'] / 1e6:,.1f} MB)"]
    lines += [f"units: {units['added']} added, {units['gone']} gone"]
    lines += ["", "made in the same way" if not diff.policy else "made in another way"]
    lines += [f"  {name}: {_short(old)} -> {_short(new)}" for name, (old, new) in diff.policy.items()]
    lines += [f"{uid}  {was} -> {now}  {' '.join(why)}" for uid, was, now, why in diff.pairs or ()]
    return lines


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 70 else f"{text[:67]}..."
