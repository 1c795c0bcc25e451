"""Scoring that survives what ends a process: a chunk at a time in a child, and row by row where the child dies."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import pyarrow as pa

from pipelines.apart import Apart, Died
from pipelines.steps.loaded_scorers import LoadedScorers, Needs, ScorerBug, batches
from quality.scorers.batch import PairBatch
from quality.scorers.protocol import Scorer
from schemas.pool import Pool

CRASHED: Final = "crashed: the process that scored the pair ended by it"  # in the column image.error
SECONDS: Final = 1800.0  # that a chunk may take before its process is ended: it hangs

Sent = tuple[Sequence[str | None], Sequence[bytes | None], Mapping[str, pa.Array], str]  # captions, bytes, columns, where


def score_unit_apart(
    pool: Pool, unit: str, scorers: Sequence[Scorer], *, stored: Mapping[str, str], captions: str | None = None
) -> pa.Table:
    """The table of score_units.score_unit, by scorers that are loaded in a child process.

    A pair that ends the child is scored as one without caption and bytes, with CRASHED as its image.error; the others of its chunk are what
    they would be beside such a pair. Raises ScorerBug where a chunk ends the child and none of its pairs alone does.
    """
    needs = Needs.of(scorers, tuple(stored))
    scored = []
    with closing(Apart(_scoring, tuple(scorers), tuple(stored), seconds=SECONDS)) as child:
        for first, batch in batches(pool, unit, needs, stored, captions=captions):
            where = f"unit {unit}, rows {first} to {first + len(batch) - 1}"
            scored.append(_score(child, batch, where))
    return pa.Table.from_batches(scored, schema=needs.schema)


def _scoring(scorers: Sequence[Scorer], stored: Sequence[str]) -> Callable[[Sent], pa.RecordBatch]:
    """In the child."""
    loaded = LoadedScorers(scorers, stored=stored)

    def score(sent: Sent) -> pa.RecordBatch:
        captions, data, columns, where = sent
        batch = PairBatch(captions, data)
        batch.add_columns(columns)
        return loaded.score(batch, where)

    return score


def _score(child: Apart, batch: PairBatch, where: str) -> pa.RecordBatch:
    def only(rows: set[int]) -> pa.RecordBatch:
        captions, data = ([value if row in rows else None for row, value in enumerate(values)] for values in (batch.captions, batch.data))
        return child((captions, data, batch.columns, where))

    everyone = set(range(len(batch)))
    try:
        return only(everyone)
    except Died:
        killers = {row for row in everyone if _dies(only, {row})}
    try:
        scores = only(everyone - killers)
    except Died as error:
        raise ScorerBug(f"the process that scores {where} ends, and no pair of them is to blame alone: {error}") from error
    return _told(scores, killers)


def _dies(only: Callable[[set[int]], Any], rows: set[int]) -> bool:
    try:
        only(rows)
    except Died:
        return True
    return False


def _told(scores: pa.RecordBatch, killers: set[int]) -> pa.RecordBatch:
    """The scores with CRASHED in the image.error of some rows, where the pass has that column."""
    place = scores.schema.get_field_index("image.error")
    if place < 0:
        return scores
    errors = [CRASHED if row in killers else error for row, error in enumerate(scores.column(place).to_pylist())]
    return scores.set_column(place, scores.schema.field(place), pa.array(errors, scores.schema.field(place).type))
