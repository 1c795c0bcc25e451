"""Scores units: a chunk of pairs at a time, decoding the next one meanwhile, and one commit a unit."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.shared import Shared

from quality.scorers.batch import SIDE, PairBatch, chunks
from quality.scorers.protocol import Scorer, in_order, info_of, raw_of, sides_of
from schemas.columns import RAW
from schemas.pool import Pass, Pool, PoolError, ScorerInfo


class ScorerBug(RuntimeError):
    """A scorer raised, or returned something else than its fields; the message says which, in which unit and rows."""


class ScoreUnits(beam.PTransform):
    """Runs scorers over committed units and commits their columns, "<scorer>.<field>", as one pass.

    In: names of units whose fetch is committed. Out: names of scored units; a unit whose scores stand is adopted. threads: that decode, in
    each process; models are loaded once a process. reads: of several stored scorers that have a needed column, those that are read. Raises
    ValueError when a scorer needs a column that neither the others nor a pass of the pool have, and PoolError when several passes have it.
    """

    def __init__(self, pool: Pool, scorers: Sequence[Scorer], pass_: Pass, *, threads: int, reads: Collection[ScorerInfo] = ()):
        super().__init__()
        if threads < 1:
            raise ValueError(f"threads is {threads}; it must be at least 1")
        if tuple(info_of(scorer) for scorer in scorers) != pass_.scorers:
            raise ValueError(f"pass {pass_.name} is not of the scorers {', '.join(scorer.name for scorer in scorers)}")
        stored = stored_columns(pool, scorers, pass_, reads=reads)
        in_order(scorers, stored=set(stored))
        self._fn = _Score(pool, scorers, pass_, stored, threads)

    def expand(self, units):
        return units | "Score" >> beam.ParDo(self._fn).with_output_types(str)


def stored_columns(pool: Pool, scorers: Sequence[Scorer], pass_: Pass, *, reads: Collection[ScorerInfo] = ()) -> dict[str, str]:
    """Column to pass, of the columns that scorers need and no scorer of this pass adds; of several passes that with a scorer of `reads`.
    Raises PoolError when that leaves several."""
    own = {column for scorer in scorers for column in info_of(scorer).columns}
    found: dict[str, str] = {}
    for need in sorted({need for scorer in scorers for need in scorer.needs} - own):
        givers = [
            (other.name, info) for other in pool.passes() if other.name != pass_.name for info in other.scorers if need in info.columns
        ]
        passes = [name for name, info in givers if info in reads] or [name for name, _ in givers]
        if len(passes) > 1:
            raise PoolError(f"column {need} is in the passes {', '.join(passes)}; run its scorer together with those that need it")
        if passes:
            found[need] = passes[0]
    return found


class _Score(beam.DoFn):
    def __init__(self, pool: Pool, scorers: Sequence[Scorer], pass_: Pass, stored: Mapping[str, str], threads: int):
        self._pool, self._scorers, self._pass, self._stored, self._threads = pool, tuple(scorers), pass_, stored, threads
        self._shared = Shared()

    def setup(self) -> None:
        self._loaded: LoadedScorers | None = None
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")

    def process(self, unit: str) -> Iterator[str]:
        commit = self._pool.raw_commit(unit)
        if commit is None:
            raise PoolError(f"unit {unit} has no commit in {self._pool.store.path_of('pool/raw')}; fetch it first")
        scored = self._pool.score_commit(self._pass.name, unit)
        if scored is None or scored.input_digest != commit.content_digest:
            if self._loaded is None:  # not in setup: where everything is scored, nobody waits for models
                self._loaded = self._shared.acquire(partial(LoadedScorers, self._scorers, stored=tuple(self._stored)))
            table = score_unit(self._pool, unit, self._loaded, executor=self._executor, stored=self._stored)
            self._pool.commit_scores(self._pass.name, unit, table, input_digest=commit.content_digest)
        yield unit

    def teardown(self) -> None:
        self._executor.shutdown()


class LoadedScorers:
    """Scorers that are loaded. Threads of a process share them: one thread at a time is in each. stored: columns that chunks bring."""

    def __init__(self, scorers: Sequence[Scorer], *, stored: Sequence[str] = ()):
        _one_thread_an_operator()
        self._scorers = [(scorer, Lock()) for scorer in in_order(scorers, stored=set(stored))]
        for scorer in scorers:
            scorer.load()
        self.sides = sides_of(scorers)
        self.raw = raw_of(scorers)
        self.schema = pa.schema([f.with_name(f"{scorer.name}.{f.name}") for scorer in scorers for f in scorer.fields])

    def score(self, batch: PairBatch, where: str) -> pa.RecordBatch:
        """All columns of a chunk. Raises ScorerBug, naming `where`."""
        for scorer, lock in self._scorers:
            try:
                with lock:
                    scores = scorer.score(batch)
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


def score_unit(
    pool: Pool,
    unit: str,
    loaded: LoadedScorers,
    *,
    executor: ThreadPoolExecutor,
    stored: Mapping[str, str] | None = None,
) -> pa.Table:
    """The columns of all scorers, one row per row of the unit's raw commit. stored: needed columns that are in other passes."""
    batches = _batches(pool, unit, loaded, executor, stored or {})
    scored = []
    try:
        ahead = next(batches, None)
        while ahead is not None:
            (first, batch), ahead = ahead, next(batches, None)
            scored.append(loaded.score(batch, f"unit {unit}, rows {first} to {first + len(batch) - 1}"))
    finally:
        if ahead is not None:
            ahead[1].cancel()
    return pa.Table.from_batches(scored, schema=loaded.schema)


def _batches(
    pool: Pool, unit: str, loaded: LoadedScorers, executor: ThreadPoolExecutor, stored: Mapping[str, str]
) -> Iterator[tuple[int, PairBatch]]:
    """(first row, chunk), its decoding begun."""
    there = [name for name in loaded.raw if name in pool.raw_schema(unit).names]  # a commit may be older than a column
    raw = pool.read_raw(unit, ["caption", "offset", "size", *there])
    captions, offsets, sizes = (raw.column(name).to_pylist() for name in ("caption", "offset", "size"))
    commit = pool.raw_commit(unit)
    assert commit is not None
    tar = pool.images_of(commit)
    columns = {need: pool.read_scores(pass_name, unit, [need]).column(need).combine_chunks() for need, pass_name in stored.items()}
    for name in loaded.raw:
        columns[name] = raw.column(name).combine_chunks() if name in there else pa.nulls(raw.num_rows, RAW.field(name).type)

    def read(first: int, last: int) -> list[bytes | None]:
        rows = [row for row in range(first, last) if offsets[row] is not None]
        stored_bytes = pool.read_bytes(unit, [offsets[row] for row in rows], [sizes[row] for row in rows], tar=tar) if rows else []
        found = dict(zip(rows, stored_bytes, strict=True))
        return [found.get(row) for row in range(first, last)]

    sides = loaded.sides
    widest = None if None in sides else max((side for side in sides if side is not None), default=SIDE)
    for first, data in chunks(raw.num_rows, read, side=widest):
        batch = PairBatch(captions[first : first + len(data)], data)
        batch.add_columns({need: column.slice(first, len(data)) for need, column in columns.items()})
        batch.prefetch(sides, executor)
        yield first, batch


def _one_thread_an_operator() -> None:
    """Part of every version: sums in another order have other last bits. Parallelism comes from processes."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
