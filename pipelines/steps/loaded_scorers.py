"""Scorers that are loaded, what they ask of a chunk, and the chunks of a unit."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import pyarrow as pa

from pipelines.steps.shared_models import ModelsDied, SharedModels
from quality.engines import started_by
from quality.engines.threads import bound_threads
from quality.scorers.batch import SIDE, PairBatch, chunks
from quality.scorers.protocol import Scorer, image_columns, in_order, raw_of, sides_of
from schemas.captions import with_version
from schemas.columns import RAW
from schemas.pool import Pool


class ScorerBug(RuntimeError):
    """A scorer raised, or returned something else than its fields; the message says which, in which unit and rows."""


@dataclass(frozen=True)
class Needs:
    """What scorers ask of a chunk: sides of pixels, columns of the raw commit; and the schema of what they give."""

    sides: list[int | None]
    raw: list[str]
    schema: pa.Schema

    @classmethod
    def of(cls, scorers: Sequence[Scorer], stored: Collection[str] = ()) -> "Needs":
        """stored: columns that chunks bring; a scorer whose columns from pixels are all among them asks for none."""
        pixels = [scorer for scorer in scorers if not image_columns(scorer) or not image_columns(scorer) <= {*stored}]
        schema = pa.schema([f.with_name(f"{scorer.name}.{f.name}") for scorer in scorers for f in scorer.fields])
        return cls(sides_of(pixels), raw_of(scorers), schema)


class LoadedScorers:
    """Scorers that are loaded. Threads of a process share them: one thread at a time is in each. stored: columns that chunks bring.

    sharing: with which other processes their models are shared, as of SharedModels. threads: of this process's pools that no score depends on.
    """

    def __init__(self, scorers: Sequence[Scorer], *, stored: Sequence[str] = (), sharing: str = "process", threads: int = 1):
        bound_threads(threads)
        self._scorers = [(scorer, Lock()) for scorer in in_order(scorers, stored=set(stored))]
        with started_by(SharedModels(scorers, sharing).start):
            for scorer in scorers:
                scorer.load()
        self.needs = Needs.of(scorers, stored)
        self.schema = self.needs.schema

    def score(self, batch: PairBatch, where: str) -> pa.RecordBatch:
        """All columns of a chunk. Raises ScorerBug, naming `where`, and ModelsDied."""
        for scorer, lock in self._scorers:
            try:
                with lock:
                    scores = scorer.score(batch)
            except ModelsDied:
                raise
            except Exception as error:
                raise ScorerBug(f"scorer {scorer.name} ({scorer.version}) raised at {where}: {type(error).__name__}: {error}") from error
            if len(scores) != len(batch) or not scores.schema.equals(scorer.fields):
                returned, due = (schema.to_string(show_field_metadata=False) for schema in (scores.schema, scorer.fields))
                raise ScorerBug(
                    f"scorer {scorer.name} ({scorer.version}) at {where} returned {len(scores)} rows of {returned!r}; "
                    f"due are {len(batch)} rows of {due!r}"
                )
            batch.add_columns({f"{scorer.name}.{name}": scores.column(name) for name in scorer.fields.names})
        return pa.record_batch([batch.column(name) for name in self.schema.names], schema=self.schema)


def batches(
    pool: Pool, unit: str, needs: Needs, stored: Mapping[str, str], *, captions: str | None = None
) -> Iterator[tuple[int, PairBatch]]:
    """(first row, chunk) of a unit. stored, captions: as of :func:`score_unit`."""
    there = [name for name in needs.raw if name in pool.raw_schema(unit).names]  # a commit may be older than a column
    raw = with_version(pool.read_raw(unit, ["caption", "offset", "size", *there]), pool, unit, captions)
    texts, offsets, sizes = (raw.column(name).to_pylist() for name in ("caption", "offset", "size"))
    commit = pool.raw_commit(unit)
    assert commit is not None
    tar = pool.images_of(commit)
    columns = {need: pool.read_scores(pass_name, unit, [need]).column(need).combine_chunks() for need, pass_name in stored.items()}
    for name in needs.raw:
        columns[name] = raw.column(name).combine_chunks() if name in there else pa.nulls(raw.num_rows, RAW.field(name).type)

    def read(first: int, last: int) -> list[bytes | None]:
        rows = [row for row in range(first, last) if offsets[row] is not None]
        stored_bytes = pool.read_bytes(unit, [offsets[row] for row in rows], [sizes[row] for row in rows], tar=tar) if rows else []
        found = dict(zip(rows, stored_bytes, strict=True))
        return [found.get(row) for row in range(first, last)]

    widest = None if None in needs.sides else max((side for side in needs.sides if side is not None), default=SIDE)
    for first, data in chunks(raw.num_rows, read, side=widest):
        batch = PairBatch(texts[first : first + len(data)], data)
        batch.add_columns({need: column.slice(first, len(data)) for need, column in columns.items()})
        yield first, batch
