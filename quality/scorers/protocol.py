"""What a scorer is: a class that adds columns to pairs, a chunk at a time."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import pyarrow as pa

from quality.scorers.batch import PairBatch
from schemas.units import ScorerInfo


@runtime_checkable
class Scorer(Protocol):
    """Adds columns to pairs.

    name: prefix of its columns. version: "<model>@<digest of weights>;<preprocessing>;<engine and dtype>;<code revision>"; changes whenever
    a score could. `<model>` is what a policy names in `scorer = "<name>:<model>"`. needs: stored columns ("<scorer>.<field>") that it
    reads; () for pixels and captions only. fields: the columns it adds, without prefix, each with metadata (schemas.columns.field).
    A scorer that reads columns of the raw commit names them in `raw` (an attribute); PairBatch.column has them.
    A scorer that asks for pixels may say at which `side` (an attribute): they are then decoded while the chunk before is scored.
    A scorer that reads no captions says so: `reads_captions = False` (an attribute; without it, it counts as one that does). With a version of
    the captions (`ingest --captions`) it is not run again. Fields of a reader that hang on the image alone are named in `from_image`: where the
    pool has them of the same scorer, PairBatch.column has them.
    Instances are pickled to workers before they are loaded.
    """

    name: str
    version: str
    needs: tuple[str, ...]
    fields: pa.Schema

    def load(self) -> None:
        """Loads models, once per process, before the first score."""

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """One row per pair, row i belongs to row i, schema `fields`; null where a pair cannot be scored. Raises only for bugs."""


def info_of(scorer: Scorer) -> ScorerInfo:
    """What the pool records of a scorer."""
    return ScorerInfo(scorer.name, scorer.version, tuple(f"{scorer.name}.{column}" for column in scorer.fields.names))


def reads_captions(scorer: Scorer) -> bool:
    """Whether other captions could give other scores."""
    return getattr(scorer, "reads_captions", True)


def image_columns(scorer: Scorer) -> set[str]:
    """The columns that a reader of captions has from the image alone, as it says."""
    return {f"{scorer.name}.{name}" for name in getattr(scorer, "from_image", ())}


def sides_of(scorers: Sequence[Scorer]) -> list[int | None]:
    """The sides at which the scorers say they ask for pixels, each once; None: whole images."""
    return sorted({scorer.side for scorer in scorers if hasattr(scorer, "side")}, key=lambda side: (side is None, side or 0))


def raw_of(scorers: Sequence[Scorer]) -> list[str]:
    """The columns of the raw commit that the scorers say they read, each once."""
    return sorted({name for scorer in scorers for name in getattr(scorer, "raw", ())})


def in_order(scorers: Sequence[Scorer], *, stored: set[str]) -> list[Scorer]:
    """The scorers, each after those whose columns it needs. Raises ValueError when a needed column comes from nowhere."""
    waiting, ordered, known = list(scorers), list[Scorer](), set(stored)
    while waiting:
        ready = [scorer for scorer in waiting if set(scorer.needs) <= known]
        if not ready:
            raise ValueError("; ".join(f"scorer {scorer.name} needs {', '.join(set(scorer.needs) - known)}" for scorer in waiting))
        for scorer in ready:
            known.update(info_of(scorer).columns)
            waiting.remove(scorer)
            ordered.append(scorer)
    return ordered
