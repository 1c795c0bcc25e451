"""What benches of models share: the fastest engine of each tower on this CPU, and how it is printed."""

from collections.abc import Sequence

from quality.engines import choose_engine
from quality.scorers import towers_of
from quality.scorers.protocol import Scorer

Rates = dict[str, dict[str, float]]  # rows a second of one thread, by tower and engine


def fastest(scorers: Sequence[Scorer]) -> tuple[dict[str, str], Rates]:
    """(the engine of each tower of the scorers, what all engines did)."""
    measured = {tower.name: choose_engine(tower) for tower in towers_of(scorers)}
    engines = {name: found[0].engine for name, found in measured.items()}
    return engines, {name: {one.engine: round(one.rate, 1) for one in found} for name, found in measured.items()}


def lines(engines: dict[str, str], rates: Rates) -> list[str]:
    return [
        f"  {tower:12s} {engine:26s} {rate:8.1f}{'  <- taken' if engine == engines[tower] else ''}"
        for tower, found in rates.items()
        for engine, rate in found.items()
    ]
