"""What people's answers say of every threshold of a bound, the one that reaches a target, and how that reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from quality.evaluation.measures import at_threshold
from quality.review.bounds import Bound
from quality.review.labels import ReasonLabels

_ROWS: Final = 12  # of the table


@dataclass(frozen=True)
class Point:
    """What people's answers say of one threshold: intervals {value, low, high, n}, value None where nothing is called or nothing holds."""

    at: float
    precision: dict[str, Any]
    recall: dict[str, Any]
    called: int


def points_of(bound: Bound, values: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> list[Point]:
    """A point at every labelled value and at the standing bound, thresholds rising."""
    points = []
    for at in sorted({*values.tolist(), bound.value}):
        called = bound.calls(values, at)
        found = at_threshold(truth, called, weights)
        points.append(Point(at, found["precision"], found["recall"], int(called.sum())))
    return points


def propose(points: Sequence[Point], *, now: float, precision: float | None, recall: float | None) -> Point | None:
    """The point that reaches the target (its estimate, not its interval) and has most of the other; of equals the one that calls fewest, and
    the bound as it is now rather than another."""
    aim, other = ("precision", "recall") if precision is not None else ("recall", "precision")
    target = precision if precision is not None else recall
    assert target is not None

    def value(point: Point, name: str) -> float:
        found = getattr(point, name)["value"]
        return -1.0 if found is None else found

    reached = [point for point in points if value(point, aim) >= target]
    return max(reached, key=lambda point: (value(point, other), value(point, aim), -point.called, point.at == now), default=None)


@dataclass(frozen=True)
class Calibration:
    """values and truth: of the labelled pairs that have a value. target: in words. best: None where no threshold reaches it. cost: pairs that it
    moves, (verdict now, verdict then) -> pairs."""

    bound: Bound
    labels: ReasonLabels
    values: np.ndarray
    truth: np.ndarray
    points: Sequence[Point]
    target: str
    best: Point | None
    cost: Mapping[tuple[str, str], int]

    def lines(self) -> list[str]:
        """For the screen."""
        bound, rule, labels = self.bound, self.bound.rule, self.labels
        yes = int(self.truth.sum())
        lines = [
            f"rule {bound.number}    {rule.column} {bound.field} = {bound.value:g}: {rule.do}, {rule.reason}",
            f"labels    {len(self.truth):,} pairs: {yes:,} yes, {len(self.truth) - yes:,} no; {labels.direct:,} from the question itself, "
            f"{labels.implied:,} from keep; {labels.asked:,} pairs were asked about, {labels.other:,} are left out for other reasons",
            *self._silent(),
            "",
            *self._table(),
            "",
        ]
        if self.best is None:
            return [*lines, f"no threshold reaches a {self.target}: ask more people, or lower the target"]
        lines.append(f"proposed for a {self.target}: {bound.field} = {self.best.at!r}, now {bound.value!r}")
        lines += [f"  {now} -> {then:<8}{pairs:>9,} pairs" for (now, then), pairs in self.cost.items()] or ["  no pair changes sides"]
        return [*lines, "  of the pairs that no other reason holds back, before duplicates are judged again"]

    def _table(self) -> list[str]:
        places = np.linspace(0, len(self.points) - 1, min(_ROWS, len(self.points))).astype(int).tolist()
        shown = {self.bound.value, *(self.points[place].at for place in places), *([] if self.best is None else [self.best.at])}
        marks = {self.bound.value: "   now"}
        if self.best is not None:
            marks[self.best.at] = marks.get(self.best.at, "") + "   proposed"
        return [
            f"{'below' if self.bound.field == 'min' else 'above':<12}precision            recall               labels called",
            *(
                f"{point.at:<12.6g}{_shown(point.precision):<21}{_shown(point.recall):<21}{point.called:,}{marks.get(point.at, '')}"
                for point in self.points
                if point.at in shown
            ),
        ]

    def _silent(self) -> list[str]:
        """What the figures cannot know."""
        lines = [
            f"note      {pairs:,} pairs of the queue {queue!r} were asked about and nothing is settled there: nothing speaks for them"
            for queue, pairs in self.labels.unheard.items()
        ]
        if self.bound.calls(self.values, self.bound.value).all():
            lines.append(
                "note      nothing is known of pairs that the bound lets pass: nor are recall, and a wider bound's precision; "
                "python -m quality.review tasks samples such pairs (--kept, --around)"
            )
        return lines

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "rule": self.bound.number,
            "field": self.bound.field,
            "now": self.bound.value,
            "question": self.bound.rule.reason,
            "labels": {
                "direct": self.labels.direct,
                "implied": self.labels.implied,
                "asked": self.labels.asked,
                "other": self.labels.other,
                "unheard": dict(self.labels.unheard),
            },
            "points": [vars(point) for point in self.points],
            "proposed": None if self.best is None else vars(self.best),
            "moves": [{"now": one, "then": other, "pairs": pairs} for (one, other), pairs in self.cost.items()],
        }


def _shown(found: dict[str, Any]) -> str:
    return "nothing" if found["value"] is None else f"{found['value']:.3f} [{found['low']:.2f}, {found['high']:.2f}]"
