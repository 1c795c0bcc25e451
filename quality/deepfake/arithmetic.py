"""From signals to three scores and a band: log-likelihood ratios add, the largest of each group of kin signals counts.

What is missing counts zero. The band is told with what it would be without each piece.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from quality.deepfake.table import (
    FACE_LARGE,
    FACE_PIXELS,
    HELPS_TO_FAKE,
    HIGH,
    LOW,
    PRIOR,
    RAISES_TO_REVIEW,
    REVIEW,
    SHOWS_A_PERSON,
    UNNAMED,
    Score,
)

BANDS: Final = ("none", "low", "review", "high")  # in order
_NONE, _LOW, _REVIEW, _HIGH = range(4)
GROUPS: Final = ("declared", "generator", "watermark", "camera", "probe", "context", "face", "name")


@dataclass(frozen=True)
class Signal:
    """One piece of evidence. detail: what was found, as a person reads it; never a name of the user's list."""

    score: Score
    group: str
    signal: str
    llr: float
    detail: str | None = None


@dataclass(frozen=True)
class Case:
    """What is known of one picture. faces: how many, the largest's share of the area and its side in pixels; None: not measured."""

    signals: tuple[Signal, ...]
    faces: tuple[int, float, float] | None


@dataclass(frozen=True)
class Judged:
    """likeness and enablement are None where faces were not measured. pieces: of the evidence column, in the order of GROUPS."""

    synthetic: float
    likeness: float | None
    enablement: float | None
    band: str
    pieces: list[dict[str, Any]]
    no_evidence: list[str]


def judge(case: Case) -> Judged:
    """Scores 0..1, band and pieces of one picture."""
    synthetic, likeness, enablement = _scores(case, case.signals)
    counting = counted(case.signals)
    pieces = []
    for signal in sorted(case.signals, key=lambda one: (GROUPS.index(one.group), -abs(one.llr), one.signal)):
        others = tuple(other for other in case.signals if other is not signal)
        piece = {"score": signal.score, "group": signal.group, "signal": signal.signal, "llr": round(signal.llr, 4)}
        piece |= {} if signal.detail is None else {"detail": signal.detail}
        pieces.append(piece | {"counts": signal in counting, "band_without": BANDS[_band(case, others)]})
    told = {signal.group for signal in case.signals}
    return Judged(synthetic, likeness, enablement, BANDS[_band(case, case.signals)], pieces, [name for name in GROUPS if name not in told])


def counted(signals: Iterable[Signal]) -> list[Signal]:
    """Of each group the signal that is largest in absolute value; of equals, the one that speaks for risk."""
    largest = dict[str, Signal]()
    for signal in signals:
        best = largest.get(signal.group)
        if best is None or (abs(signal.llr), signal.llr) > (abs(best.llr), best.llr):
            largest[signal.group] = signal
    return list(largest.values())


def _scores(case: Case, signals: Sequence[Signal]) -> tuple[float, float | None, float | None]:
    counting = counted(signals)
    synthetic = _probability("synthetic", counting)
    if case.faces is None:
        return synthetic, None, None
    likeness = _probability("likeness", counting)
    return synthetic, likeness, likeness * _clarity(case.faces, {signal.group for signal in counting})


def _clarity(faces: tuple[int, float, float], groups: set[str]) -> float:
    """0..1: how far the picture is one clear, large, named face."""
    count, share, side = faces
    if not count or "face" not in groups:
        return 0.0
    return min(1.0, share / FACE_LARGE) * min(1.0, side / FACE_PIXELS) / count * (1.0 if "name" in groups else UNNAMED)


def _probability(score: Score, counting: Iterable[Signal]) -> float:
    odds = PRIOR[score] + math.fsum(signal.llr for signal in counting if signal.score == score)
    return 1 / (1 + math.exp(-odds))


def _band(case: Case, signals: Sequence[Signal]) -> int:
    """Weak groups raise to review and no further: beyond it only what stands without them counts."""
    band = _band_of(*_scores(case, signals))
    if band <= _REVIEW:
        return band
    return max(_REVIEW, _band_of(*_scores(case, [signal for signal in signals if signal.group not in RAISES_TO_REVIEW])))


def _band_of(synthetic: float, likeness: float | None, enablement: float | None) -> int:
    band = _HIGH if synthetic >= HIGH else _REVIEW if synthetic >= REVIEW else _LOW if synthetic >= LOW else _NONE
    if band == _REVIEW and enablement is not None and enablement >= HELPS_TO_FAKE:
        return _HIGH
    if band == _NONE and max(likeness or 0.0, enablement or 0.0) >= SHOWS_A_PERSON:
        return _LOW
    return band
