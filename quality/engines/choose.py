"""Which engine: the fastest on this CPU whose outputs agree with fp32."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from quality.engines.run import ENGINES, Run, engines_of, start_here
from quality.engines.tower import EngineError, Tower


@dataclass(frozen=True)
class Measured:
    """rate: rows a second of one thread. error: as the tower measures it; `agrees` when it is at most the tower's bound."""

    engine: str
    rate: float
    error: float
    agrees: bool


def choose_engines(towers: Sequence[Tower], *, engine: str | None = None) -> dict[str, str]:
    """The engine of each tower by the tower's name: measured, about 10 s in all, or `engine` for all that it can run.

    A tower that `engine` cannot run (torch, for a model that comes as ONNX) gets its reference. Raises EngineError for an unknown engine,
    and for one that this machine does not have.
    """
    if engine is None:
        return {tower.name: choose_engine(tower)[0].engine for tower in towers}
    if engine not in ENGINES:
        raise EngineError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    chosen = {tower.name: engine if engine in engines_of(tower) else tower.reference for tower in towers}
    if towers and engine not in chosen.values():
        raise EngineError(f"engine {engine} ({ENGINES[engine]}) is not to be had on this machine; leave --engine out to have one chosen")
    return chosen


def choose_engine(tower: Tower, *, seconds: float = 0.7) -> list[Measured]:
    """All engines of this machine: those that agree first, then by rate. seconds: spent at least on measuring each, loading apart."""
    batches = tower.probe()
    reference, found = None, []
    for engine in engines_of(tower):  # the reference comes first
        try:
            run = start_here(tower, engine, mapped=False)  # laying out the weights of all engines would take their memory and disk
        except EngineError:
            if engine == tower.reference:
                raise
            continue  # the model has no ONNX form
        outputs = np.concatenate([run(batch) for batch in batches])  # the warm-up too
        reference = outputs if reference is None else reference
        error = tower.error(outputs, reference)
        found.append(Measured(engine, _rate(run, batches, seconds), error, bool(error <= tower.bound)))
    return sorted(found, key=lambda measured: (not measured.agrees, -measured.rate))


def _rate(run: Run, batches: Sequence[np.ndarray], seconds: float) -> float:
    # CPU time, so that a neighbour on the machine does not sway the choice; the best of the rounds for the same reason.
    clock: Callable[[], float] = time.perf_counter if "cuda" in run.engine else time.process_time
    best, spent = float("inf"), 0.0
    while spent < seconds:
        begin = clock()
        for batch in batches:
            run(batch)
        took = clock() - begin
        best, spent = min(best, took), spent + took
    return sum(len(batch) for batch in batches) / best
