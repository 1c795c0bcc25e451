"""What a person is shown of a pair: TASKS of questions, from the pool and the release. What is on a block list is left out."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from quality.block_lists import listed_pairs, read_lists
from quality.columns.personal_data import without_personal_data
from quality.review.sampling import Asked
from quality.rules import judge
from schemas.captions import with_version
from schemas.columns import table_of
from schemas.policy import Policy, Rule
from schemas.pool import Pool
from schemas.release import Release
from schemas.reviews import TASKS

_FROM_RAW: Final = ("caption", "offset", "size", "license", "license_url", "creator", "title", "source_page")
_TWICE: Final = 2  # people that answer a task of the overlap


def tasks_of(pool: Pool, release: Release, policy: Policy, asked: Iterable[Asked], *, overlap: float) -> pa.Table:
    """TASKS of the questions, ordered by hash within each queue. overlap: the share (0..1) of tasks that two people answer."""
    by_unit = dict[str, list[Asked]]()
    for each in asked:
        by_unit.setdefault(each.unit, []).append(each)
    rows = [row for unit in sorted(by_unit) for row in _of_unit(pool, release, policy, unit, by_unit[unit])]
    for row in rows:
        row["overlap"] = _TWICE if _hash("overlap", row["task"]) < overlap else 1
    rows.sort(key=lambda row: (row["queue"], _hash("order", row["task"])))
    places: dict[str, int] = {}
    for row in rows:
        row["order"] = places.setdefault(row["queue"], 0)
        places[row["queue"]] += 1
    return table_of(rows, TASKS)


def _of_unit(pool: Pool, release: Release, policy: Policy, unit: str, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    commit = pool.raw_commit(unit)
    assert commit is not None
    rows = pa.array([each.row for each in asked])
    raw = with_version(pool.read_raw(unit, _FROM_RAW), pool, unit, policy.caption_version).take(rows)
    if policy.captions.personal_data == "redact":
        raw = without_personal_data(raw)
    decided = release.read_decisions(unit).take(rows)
    looks = _Looks(release, policy, unit, decided)
    return [
        {
            "task": each.task, "uid": each.uid, "question": each.question, "queue": each.queue, "release": release.name,
            "verdict": pair["verdict"], "reasons": pair["reasons"], **known, "unit": unit, "row": each.row, "tar": pool.images_of(commit),
            **looks.at(place, each.question), "sampling_probability": each.probability, "gold": each.gold,
        }
        for place, (each, known, pair) in enumerate(zip(asked, raw.to_pylist(), decided.to_pylist(), strict=True))
    ]  # fmt: skip


class _Looks:
    """What rules looked at in some pairs of a unit: rows of decisions."""

    def __init__(self, release: Release, policy: Policy, unit: str, decided: pa.Table):
        tops = any(rule.top_fraction for rule in policy.rules)
        self.cuts: Mapping[str, float] = next(each.cuts for each in release.decided() if each.unit == unit) if tops else {}
        self.policy, self.decided = policy, decided
        self.violates = dict[int, np.ndarray]()
        for index, rule in enumerate(policy.rules):
            if not rule.lists and rule.column in decided.column_names:
                self.violates[index] = judge(rule, decided, self.cuts.get(str(index)), policy.duplicates.pdq_quality)[1]

    def at(self, place: int, question: str) -> dict[str, str | None]:
        """column, value and bound of the rule that the question is about: of several the first that the pair violates, else the first."""
        rules = [index for index, rule in enumerate(self.policy.rules) if rule.reason == question]
        if not rules:
            return {"column": None, "value": None, "bound": None}
        index = next((index for index in rules if index in self.violates and self.violates[index][place]), rules[0])
        rule = self.policy.rules[index]
        value = self.decided[rule.column][place].as_py() if rule.column in self.decided.column_names else None
        return {"column": rule.column, "value": _text(value), "bound": bound_signs(rule, self.cuts.get(str(index)))}


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return (
        None if value is None else f"{value:.4g}" if isinstance(value, float) else value.hex() if isinstance(value, bytes) else str(value)
    )


def bound_signs(rule: Rule, cut: float | None = None) -> str:
    """The bound in signs, as every language reads it: `>= 0.11`. cut: the lowest value that a top_fraction left."""
    low, high = cut if rule.min is None else rule.min, rule.max
    parts = [f"{sign} {bound:.4g}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
    parts += [
        f"{sign} {', '.join(_text(value) or '' for value in values)}" for sign, values in (("=", rule.in_), ("≠", rule.not_in)) if values
    ]
    return "; ".join(parts) or rule.bound_text()


def _hash(word: str, task: str) -> float:
    return int.from_bytes(hashlib.sha256(f"{word}:{task}".encode()).digest()[:8]) / 2**64


def without_listed(pool: Pool, tasks: pa.Table) -> pa.Table:
    """TASKS without those of pairs on a block list of this process's environment, and of units that the pool has no more.

    MD5 and SHA-1 lists are held against the stored bytes, all others against stored columns. Raises BlockListError.
    """
    lists, committed = read_lists(pool.store), pool.committed()
    good = np.array([unit in committed for unit in tasks["unit"].to_pylist()], bool)
    places = dict[str, list[int]]()
    for place in np.flatnonzero(good).tolist() if lists else ():
        places.setdefault(tasks["unit"][place].as_py(), []).append(place)
    for unit, here in places.items():
        removed = [lists.kind_of_uid(uid or "") is not None for uid in tasks["uid"].take(pa.array(here)).to_pylist()]
        good[here] = ~(listed_pairs(pool, unit, lists, tasks["row"].take(pa.array(here)).to_pylist()) | np.array(removed, bool))
    return tasks.filter(pa.array(good))
