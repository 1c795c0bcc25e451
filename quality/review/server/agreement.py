"""How far people agree who answered the same tasks without seeing each other's answers. yes, no and unsure are three values.

Raw agreement: pairs of answers to one task that are equal. Cohen's kappa (1960): two people. Krippendorff's alpha, nominal: any number of
people, each with any of the tasks (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011), with a bootstrap over tasks.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

ROUNDS: Final = 1000
_SEED: Final = 20_260  # the same answers give the same interval


@dataclass(frozen=True)
class Alpha:
    """Values are None where they are not defined: no two answers to one task, or one value alone."""

    value: float | None
    low: float | None
    high: float | None
    tasks: int  # with two answers or more


def counts_of(answers: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """How often each value was given to each unit, float64 (units, values); units with fewer than two answers are left out."""
    paired = [given for given in answers if len(given) > 1]
    columns = {value: number for number, value in enumerate(sorted({str(value) for given in paired for value in given}))}
    counts = np.zeros((len(paired), len(columns)))
    for row, given in enumerate(paired):
        for value in given:
            counts[row, columns[str(value)]] += 1
    return counts


def raw_agreement(counts: np.ndarray) -> float | None:
    """Share of equal pairs among all pairs of answers to one unit. counts: of :func:`counts_of`."""
    given = counts.sum(axis=1)
    pairs = (given * (given - 1)).sum()
    return float((counts * (counts - 1)).sum() / pairs) if pairs else None


def krippendorff(counts: np.ndarray, *, rounds: int = ROUNDS, confidence: float = 0.95) -> Alpha:
    """Alpha for nominal values, and its percentile interval from units drawn with replacement. counts: of :func:`counts_of`.

    A round in which alpha is not defined is left out; fewer than half of them: no interval.
    """
    units = len(counts)
    if not units:
        return Alpha(None, None, None, 0)
    given = counts.sum(axis=1)
    observed = (given**2 - (counts**2).sum(axis=1)) / (given - 1)  # unequal pairs of each unit, weighted as Krippendorff does
    value = _alpha(np.ones((1, units)), observed, counts)[0]
    if np.isnan(value):
        return Alpha(None, None, None, units)
    generator = np.random.Generator(np.random.PCG64(_SEED))
    drawn = generator.multinomial(units, np.full(units, 1 / units), size=rounds).astype(float)
    known = _alpha(drawn, observed, counts)
    known = known[~np.isnan(known)]
    if len(known) < rounds / 2:
        return Alpha(float(value), None, None, units)
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Alpha(float(value), float(low), float(high), units)


def _alpha(weights: np.ndarray, observed: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Alpha of each row of weights (rounds, units); NaN where only one value was given."""
    totals = weights @ counts  # (rounds, values)
    n = totals.sum(axis=1)
    expected = (n**2 - (totals**2).sum(axis=1)) / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - (weights @ observed) / expected, np.nan)


def cohen(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Kappa of two people: (observed - chance) / (1 - chance). pairs: their answers, task by task. None where chance alone agrees fully."""
    if not pairs:
        return None
    values = sorted({str(value) for pair in pairs for value in pair})
    table = np.zeros((len(values), len(values)))
    for first, second in pairs:
        table[values.index(str(first)), values.index(str(second))] += 1 / len(pairs)
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return None if chance >= 1 - 1e-12 else float((np.trace(table) - chance) / (1 - chance))


def kappas(answers: Sequence[Mapping[str, Hashable]]) -> list[tuple[str, str, int, float | None]]:
    """(person, person, tasks that both answered, kappa) of every two people with a common task. answers: {person: value} of each task."""
    common = dict[tuple[str, str], list[tuple[Hashable, Hashable]]]()
    for given in answers:
        for first, second in combinations(sorted(given), 2):
            common.setdefault((first, second), []).append((given[first], given[second]))
    return [(first, second, len(pairs), cohen(pairs)) for (first, second), pairs in sorted(common.items())]
