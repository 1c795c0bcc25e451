"""A rule's bound as something that can be moved: what it calls, what another one would change, and a policy file with another number in it."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from quality.command import UsageError
from quality.named_scorers import named_as
from quality.rules import PACKAGED, judge
from schemas.policy import Policy, Rule, parse_policy, read_policy
from schemas.reasons import VERDICTS
from schemas.release import Release


@dataclass(frozen=True)
class Bound:
    """A rule (its number from 1) and which of its numbers: `min` calls what is below it, `max` what is above."""

    policy: Policy
    number: int
    field: Literal["min", "max"]

    @property
    def rule(self) -> Rule:
        return self.policy.rules[self.number - 1]

    @property
    def value(self) -> float:
        return getattr(self.rule, self.field)

    def calls(self, values: np.ndarray, at: float) -> np.ndarray:
        """Which values the rule would call with the bound `at`: a bound is inclusive."""
        return values < at if self.field == "min" else values > at

    def moved(self, at: float) -> Policy:
        """The policy with another number there."""
        rules = list(self.policy.rules)
        rules[self.number - 1] = replace(self.rule, min=at) if self.field == "min" else replace(self.rule, max=at)
        return replace(self.policy, rules=tuple(rules))


def find_bound(policy: Policy, column: str, question: str | None, number: int | None) -> Bound:
    """The one bound on the column that is meant. Raises UsageError, naming those there are."""
    fitting = [
        Bound(policy, place, field)
        for place, rule in enumerate(policy.rules, 1)
        for field in ("min", "max")
        if rule.column == column and getattr(rule, field) is not None and question in (None, rule.reason) and number in (None, place)
    ]
    if len(fitting) == 1:
        return fitting[0]
    told = ", ".join(f"rule {bound.number}: {bound.rule.reason}, {bound.rule.do}, {bound.field} = {bound.value:g}" for bound in fitting)
    if fitting:
        raise UsageError(f"policy {policy.name} has several bounds on {column} ({told}); choose one with --rule NUMBER")
    columns = dict.fromkeys(rule.column for rule in policy.rules if rule.min is not None or rule.max is not None)
    raise UsageError(
        f"policy {policy.name} has no min or max on {column}"
        + (f" that gives {question}" if question else "")
        + (f" in rule {number}" if number else "")
        + f"; it has them on {', '.join(columns)}"
    )


def moves(release: Release, bound: Bound, at: float) -> dict[tuple[str, str], int]:
    """How many pairs would change sides: (verdict now, verdict then) -> pairs. Of those that no other reason holds back, before duplicates are
    judged again; pairs that people decided about stay where they are."""
    reason, then = bound.rule.reason, bound.moved(at)
    found = Counter[tuple[str, str]]()
    for decided in release.decided():
        table = release.read_decisions(decided.unit)
        pairs_of = zip(table["verdict"].to_pylist(), table["reasons"].to_pylist(), strict=True)
        free = [verdict is not None and set(reasons) <= {reason} for verdict, reasons in pairs_of]  # None: a follow-up decides about it
        table = table.filter(pa.array(free, pa.bool_()))
        now = np.array([VERDICTS.index(verdict) for verdict in table["verdict"].to_pylist()], np.int64)
        codes = np.zeros(table.num_rows, np.int64)
        for index, rule in enumerate(then.rules):
            if rule.reason == reason and not rule.lists:
                violates = judge(rule, table, decided.cuts.get(str(index)), then.duplicates.pdq_quality)[1]
                codes = np.maximum(codes, np.where(violates, VERDICTS.index(rule.do), 0))
        pairs = np.bincount(len(VERDICTS) * now + codes, minlength=len(VERDICTS) ** 2).reshape(len(VERDICTS), -1)
        found.update({(one, other): int(pairs[i, j]) for i, one in enumerate(VERDICTS) for j, other in enumerate(VERDICTS) if i != j})
    return {move: count for move, count in found.items() if count}


def policy_file(policy: Policy, given: str | None) -> Path:
    """The file of the policy that a release was made by: the one given, else a packaged one. Scorers that the release's names beyond the file, for
    --read_scorer named them, make no difference. Raises UsageError, PolicyError."""
    packaged = {path.stem: path for path in sorted(PACKAGED.glob("*.toml"))}
    paths = list(packaged.values()) if given is None else [packaged.get(given, Path(given))]
    found = next((path for path in paths if named_as(read_policy(path), policy).digest == policy.digest), None)
    if found is None:
        if given is None:
            raise UsageError("the release was made by no packaged policy; give its file with --policy")
        raise UsageError(f"--policy {given} is not what the release was made by; give that file, or select with this one first")
    return found


_HEADER: Final = re.compile(r"\s*\[")
_RULE: Final = re.compile(r"\s*\[\[\s*rule\s*\]\]")


def with_number(text: str, bound: Bound, at: float, *, where: str, folder: Path) -> str:
    """The TOML text of a policy with another number at the bound, and every other character as it was. Raises UsageError, PolicyError."""
    lines, number, done = text.splitlines(keepends=True), 0, False
    assignment = re.compile(rf"(\s*{bound.field}\s*=\s*)([^\s#]+)(.*)", re.DOTALL)
    inside = False
    for place, line in enumerate(lines):
        if _HEADER.match(line):
            inside = bool(_RULE.match(line))
            number += inside
        elif inside and number == bound.number and (found := assignment.fullmatch(line)):
            whole = at.is_integer() and "." not in found[2]
            lines[place] = f"{found[1]}{int(at) if whole else repr(at)}{found[3]}"
            done = True
    changed = "".join(lines)
    if not done or parse_policy(changed, where=where, folder=folder).as_dict() != bound.moved(at).as_dict():
        raise UsageError(
            f"{where}: rule {bound.number} is not written as [[rule]] with {bound.field} = on a line; change it by hand to {at!r}"
        )
    return changed


def column_values(release: Release, column: str) -> Mapping[str, float]:
    """The column of every pair that has a value, by uid, as the release's decisions hold it; the first row of a uid counts. Raises UsageError.

    A 32-bit number comes as the shortest decimal that means it: 0.3, not 0.30000001192092896. So it reads in a policy.
    """
    found = dict[str, float]()
    for decided in release.decided():
        table = release.read_decisions(decided.unit, ["uid", column])
        kind = table[column].type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise UsageError(f"{column} is {kind}; a bound is moved on numbers")
        values = table[column].cast(pa.string()).cast(pa.float64()).to_pylist()
        for uid, value in zip(table["uid"].to_pylist(), values, strict=True):
            if uid is not None and value is not None and value == value:
                found.setdefault(uid, value)
    return found
