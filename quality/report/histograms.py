"""Counts of a column at edges: for every edge, how many pairs a cut there would keep. Exact, for a bound is compared as select does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_BINS: Final = 80  # about so many bars: 5 pixels each where the drawing is 420 wide
_TAIL: Final = 12.0  # the 99th percentile is so many medians: the axis is logarithmic
_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class Edges:
    """values: float, ascending. drawn: places of the bars' ends in it; the others are bounds of rules."""

    values: np.ndarray
    drawn: np.ndarray
    log: bool


def edges_of(values: np.ndarray, *, range: tuple[float | None, float | None], whole: bool, bounds: Sequence[float]) -> Edges:
    """Round edges over the middle 99.8 % of the measured values (NaN: not measured) and every bound.

    range: as the field declares it. whole: whole numbers. Values beyond the outermost edges are counted in the outermost bars.
    """
    measured = values[~np.isnan(values)].astype(np.float64)
    if not len(measured):
        return Edges(np.array(sorted(set(bounds))), np.arange(len(set(bounds))), False)
    low, middle, top, high = np.quantile(measured, (0.001, 0.5, 0.99, 0.999))
    low, high = min((low, *bounds)), max((high, *bounds))
    log = bool(range[1] is None and middle > 0 and top > _TAIL * middle and low >= 0)
    drawn = _log_edges(low, high, measured, whole) if log else _even_edges(low, high, range, whole)
    every = np.unique(np.concatenate([drawn, np.asarray(bounds, np.float64)]))
    return Edges(every, np.searchsorted(every, drawn), log)


def _even_edges(low: float, high: float, range: tuple[float | None, float | None], whole: bool) -> np.ndarray:
    step = _round_step((high - low) / _BINS or abs(high) / _BINS or 1.0, whole)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first) + (1 if whole or last <= first else 0)
    edges = np.round(np.arange(first, last + 1) * step, 10)
    return np.unique(np.clip(edges, -np.inf if range[0] is None else range[0], np.inf if range[1] is None or whole else range[1]))


def _log_edges(low: float, high: float, measured: np.ndarray, whole: bool) -> np.ndarray:
    smallest = max(low, float(np.min(measured[measured > 0])), high / 1e6, 1.0 if whole else 0.0)
    edges = np.geomspace(smallest, high * (1 + 1e-9), _BINS + 1)
    places = 10.0 ** (np.floor(np.log10(edges)) - 1)  # two figures
    edges = np.round(edges / places) * places
    return np.unique(np.round(edges) if whole else edges)


def _round_step(step: float, whole: bool) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    rounded = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))
    return max(1.0, round(rounded)) if whole else rounded


def counts_at(values: np.ndarray, codes: np.ndarray, edges: np.ndarray, *, kinds: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(at_least, at_most), int64 (edges, kinds): pairs of each kind (codes: 0..kinds-1) with a value >= and <= each edge.

    Edges are compared in the values' own type, as bounds of a policy are. NaN is in neither.
    """
    measured = ~np.isnan(values)
    values, codes = values[measured], codes[measured].astype(np.int64)
    at = edges.astype(values.dtype)
    size = len(edges) + 1
    reached = np.searchsorted(at, values, side="right")  # how many edges are <= the value
    passed = np.searchsorted(at, values, side="left")  # how many are < it
    by_reached = np.bincount(reached * kinds + codes, minlength=size * kinds).reshape(size, kinds)
    by_passed = np.bincount(passed * kinds + codes, minlength=size * kinds).reshape(size, kinds)
    at_least = by_reached[::-1].cumsum(axis=0)[::-1][1:]
    at_most = by_passed.cumsum(axis=0)[:-1]
    return at_least, at_most


def bars(at_least: np.ndarray, drawn: Sequence[int], totals: Sequence[int]) -> np.ndarray:
    """Counts (bars, kinds) between drawn edges; what lies beyond the outermost is in the outermost. totals: measured, by kind."""
    ends = np.asarray(drawn, np.int64)
    found = at_least[ends[:-1]] - at_least[ends[1:]]
    if len(found):
        found[0] += np.asarray(totals) - at_least[ends[0]]
        found[-1] += at_least[ends[-1]]
    return found


def quantiles_of(values: np.ndarray) -> list[float]:
    """The 1, 5, 25, 50, 75, 95 and 99 % quantiles of what was measured; empty for nothing."""
    measured = values[~np.isnan(values)]
    return [] if not len(measured) else [float(value) for value in np.quantile(measured.astype(np.float64), _QUANTILES)]
