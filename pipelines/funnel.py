"""The books of a release: how many pairs came in, what became of them, and whether it adds up. From files, never from Beam counters."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.follow_ups import statuses_of
from schemas.pool import Pool
from schemas.reasons import REASONS, reason_text
from schemas.release import Release


@dataclass(frozen=True)
class Funnel:
    """Rows by state, a row that was asked for again by its newest. rows = keep + review + drop + deferred. reasons: rows by reason (a row may
    have several)."""

    rows: int
    fetched: int
    keep: int
    review: int
    drop: int
    deferred: int
    statuses: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        return self.rows == self.keep + self.review + self.drop + self.deferred

    def commonest(self, n: int = 3) -> list[tuple[str, int, str]]:
        """(reason, rows, what it means) of the n commonest reasons."""
        ordered = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        return [(reason, count, reason_text(reason)) for reason, count in ordered[:n]]


def funnel_of(pool: Pool, release: Release) -> Funnel:
    """The funnel of a release, from the footers of pool and decisions."""
    planned = pool.planned_units()
    decided = release.decided()
    statuses, reasons = statuses_of(pool, pool.committed()), Counter[str]()
    for unit in decided:
        reasons.update(unit.reasons)
    known = {unit.unit for unit in decided}
    return Funnel(
        rows=sum(planned.values()),
        fetched=statuses["success"],
        keep=sum(unit.keep for unit in decided),
        review=sum(unit.review for unit in decided),
        drop=sum(unit.drop for unit in decided),
        deferred=sum(rows for unit, rows in planned.items() if unit not in known),
        statuses=dict(sorted(statuses.items())),
        reasons=dict(sorted(reasons.items())),
    )


def funnel_lines(funnel: Funnel, beside: Funnel | None = None) -> list[str]:
    """The funnel as aligned text; with `beside`, the current release's figures in a second column."""

    def row(label: str, value: int, other: int | None) -> str:
        share = f"{value / funnel.rows:7.1%}" if funnel.rows else ""
        now = "" if other is None else f"   now {other:>9,}  ({value - other:+,})"
        return f"  {label:<28}{value:>9,} {share}{now}"

    lines = [
        row("rows in", funnel.rows, None if beside is None else beside.rows),
        row("fetched", funnel.fetched, None if beside is None else beside.fetched),
    ]
    for family in REASONS:
        for reason in sorted(
            reason for reason in {*funnel.reasons, *(beside.reasons if beside else ())} if reason.startswith(family + ":")
        ):
            lines.append(row("  " + reason, funnel.reasons.get(reason, 0), None if beside is None else beside.reasons.get(reason, 0)))
    for label in ("keep", "review", "drop", "deferred"):
        value = getattr(funnel, label)
        if label != "deferred" or value:
            lines.append(row(label, value, None if beside is None else getattr(beside, label)))
    return lines
