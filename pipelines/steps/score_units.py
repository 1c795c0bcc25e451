"""Scores units: a chunk of pairs at a time, decoding the next one meanwhile, and one commit a unit."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.shared import Shared

from pipelines.steps.loaded_scorers import LoadedScorers, batches
from pipelines.steps.score_apart import score_unit_apart
from pipelines.steps.shared_models import SHARING, ModelsDied
from quality.scorers.batch import PairBatch
from quality.scorers.protocol import Scorer, image_columns, in_order, info_of
from schemas.attempts import TRIES, Attempts
from schemas.pool import Pool
from schemas.units import Pass, PoolError, ScorerInfo


class ScoreUnits(beam.PTransform):
    """Runs scorers over committed units and commits their columns, "<scorer>.<field>", as one pass.

    In: names of units whose fetch is committed. Out: names of scored units; a unit whose scores stand is adopted. threads: that decode, in
    each process. sharing: of models, among the processes of a machine, as of SharedModels. reads: of several stored scorers that have a
    needed column, those that are read. Raises ValueError when a scorer needs a column that neither the others nor a pass of the pool have,
    and PoolError when several passes have it.
    """

    def __init__(
        self,
        pool: Pool,
        scorers: Sequence[Scorer],
        pass_: Pass,
        *,
        threads: int,
        reads: Collection[ScorerInfo] = (),
        sharing: str = SHARING[0],
    ):
        super().__init__()
        if threads < 1:
            raise ValueError(f"threads is {threads}; it must be at least 1")
        if tuple(info_of(scorer) for scorer in scorers) != pass_.scorers:
            raise ValueError(f"pass {pass_.name} is not of the scorers {', '.join(scorer.name for scorer in scorers)}")
        stored = stored_columns(pool, scorers, pass_, reads=reads)
        in_order(scorers, stored=set(stored))
        self._fn = _Score(pool, scorers, pass_, stored, threads, sharing)

    def expand(self, units):
        return units | "Score" >> beam.ParDo(self._fn).with_output_types(str)


def stored_columns(pool: Pool, scorers: Sequence[Scorer], pass_: Pass, *, reads: Collection[ScorerInfo] = ()) -> dict[str, str]:
    """Column to pass, of the columns that scorers need and no scorer of this pass adds; of several passes that with a scorer of `reads`.
    Raises PoolError when that leaves several."""
    own = {column for scorer in scorers for column in info_of(scorer).columns}
    found: dict[str, str] = {}
    for need in sorted({need for scorer in scorers for need in scorer.needs} - own):
        others = [other for other in pool.passes_for(pass_.captions) if other.name != pass_.name]
        givers = [(other.name, info) for other in others for info in other.scorers if need in info.columns]
        passes = [name for name, info in givers if info in reads] or [name for name, _ in givers]
        if len(passes) > 1:
            raise PoolError(f"column {need} is in the passes {', '.join(passes)}; run its scorer together with those that need it")
        if passes:
            found[need] = passes[0]
    return found | _measured(pool, scorers, pass_)


def _measured(pool: Pool, scorers: Sequence[Scorer], pass_: Pass) -> dict[str, str]:
    """Column to pass, of the columns that a scorer of this pass has from images alone, and that it gave in another pass, with other captions."""
    found, committed = dict[str, str](), pool.committed()
    if pass_.captions is None:
        return found
    for other in pool.passes():
        if other.name != pass_.name and committed <= pool.scored(other.name):
            for scorer in scorers:
                if info_of(scorer) in other.scorers:
                    found |= dict.fromkeys(image_columns(scorer), other.name)
    return found


class _Score(beam.DoFn):
    def __init__(self, pool: Pool, scorers: Sequence[Scorer], pass_: Pass, stored: Mapping[str, str], threads: int, sharing: str):
        self._pool, self._scorers, self._pass, self._stored, self._threads = pool, tuple(scorers), pass_, stored, threads
        self._sharing = sharing
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
            attempts = Attempts(self._pool.store)
            apart = attempts.begin(self._pass.name, unit) >= TRIES
            try:
                table = self._score_apart(unit) if apart else self._score(unit)
                self._pool.commit_scores(self._pass.name, unit, table, input_digest=commit.content_digest)
            finally:
                attempts.end(self._pass.name, unit)
        yield unit

    def _score(self, unit: str) -> pa.Table:
        if self._loaded is None:  # not in setup: where everything is scored, nobody waits for models
            load = partial(LoadedScorers, self._scorers, stored=tuple(self._stored), sharing=self._sharing, threads=self._threads)
            self._loaded = self._shared.acquire(load)
        try:
            return score_unit(self._pool, unit, self._loaded, executor=self._executor, stored=self._stored, captions=self._pass.captions)
        except ModelsDied:  # the unit would end each process that has the models, for all others too
            return self._score_apart(unit)

    def _score_apart(self, unit: str) -> pa.Table:
        return score_unit_apart(self._pool, unit, self._scorers, stored=self._stored, captions=self._pass.captions)

    def teardown(self) -> None:
        self._executor.shutdown()


def score_unit(
    pool: Pool,
    unit: str,
    loaded: LoadedScorers,
    *,
    executor: ThreadPoolExecutor,
    stored: Mapping[str, str] | None = None,
    captions: str | None = None,
) -> pa.Table:
    """The columns of all scorers, one row per row of the unit's raw commit. stored: needed columns that are in other passes.

    captions: the version that is read in the place of the sources' captions.
    """
    chunks = decoding(batches(pool, unit, loaded.needs, stored or {}, captions=captions), loaded.needs.sides, executor)
    scored = []
    try:
        ahead = next(chunks, None)
        while ahead is not None:
            (first, batch), ahead = ahead, next(chunks, None)
            scored.append(loaded.score(batch, f"unit {unit}, rows {first} to {first + len(batch) - 1}"))
    finally:
        if ahead is not None:
            ahead[1].cancel()
    return pa.Table.from_batches(scored, schema=loaded.schema)


def decoding(
    chunks: Iterator[tuple[int, PairBatch]], sides: Sequence[int | None], executor: ThreadPoolExecutor
) -> Iterator[tuple[int, PairBatch]]:
    """The chunks, their decoding begun."""
    for first, batch in chunks:
        batch.prefetch(sides, executor)
        yield first, batch
