"""Fetches units: one event loop per process, several units in flight, each passed on when it is committed."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import partial
from typing import Protocol

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from yarl import URL

from pipelines.fetch import shared
from pipelines.fetch.commit import commit_unit
from pipelines.fetch.failures import FailureLimit
from pipelines.fetch.guard import read_host_map
from pipelines.fetch.hosts import host_of
from pipelines.fetch.img2dataset_fetcher import Img2datasetFetcher
from pipelines.fetch.in_place import commit_in_place
from pipelines.fetch.job import Verdict, Work
from pipelines.fetch.origins import origin_of, verdict_of
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.store import claims_of
from pipelines.sources.rows import InPlace
from quality.block_lists import BlockLists, lists_here
from quality.block_lists.match import Kind
from quality.urls import BadUrl, url_of
from schemas.attempts import FETCH, TRIES, Attempts
from schemas.columns import uid_of
from schemas.pool import Pool
from schemas.units import PoolError, split_unit


class RowReader(Protocol):
    """Gives the rows of a unit. Picklable."""

    def read(self, unit: str) -> pa.Table:
        """One row per source row, in order: schemas.columns.SOURCE, then carried columns. Rows with a `status` are not asked for."""

    def read_image(self, unit: str, file_name: str) -> bytes:
        """The bytes of a row's `file_name`. Raises FileNotFoundError. Called by several threads."""

    def is_in_place(self, unit: str) -> bool:
        """Whether the images of a unit stay in a tar of the user's: nothing is asked for."""

    def in_place(self, unit: str) -> InPlace | None:
        """The rows of a unit whose images stay in a tar of the user's, and where they lie in it; None for all others."""

    def input_digest(self, unit: str) -> str:
        """Changes whenever the rows of the unit could."""


class FetchUnits(beam.PTransform):
    """Fetches the images of units and commits each to the pool.

    In: names of units. Out: names of committed units, as they are done; a unit that is committed already is adopted, a deferred one
    (Pool.deferred) is left out. workers: exactly so many keys share the work, and what may be taken of a host; None leaves that to the
    runner, and to settings.workers. lists: the digest of the launcher's block lists, which every worker reads for itself; None where there
    are none. max_failure_rate: of a worker's pairs, see FailureLimit. Hosts that CheckHosts has not read, or a day ago, are read before a unit
    that names them. Raises PoolError for a unit that was committed from another input, and TooManyFailures.
    """

    def __init__(
        self,
        pool: Pool,
        rows: RowReader,
        settings: FetchSettings,
        *,
        workers: int | None = None,
        lists: str | None = None,
        max_failure_rate: float | None = None,
    ):
        super().__init__()
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1, or None")
        if settings.host_map is not None:
            read_host_map(settings.host_map)
        settings = settings if workers is None else replace(settings, workers=workers)
        self._pool, self._rows, self._settings, self._workers, self._lists = pool, rows, settings, workers, lists
        self._limit = FailureLimit(max_failure_rate)

    def expand(self, units):
        threads = threads_of(self._settings)
        return (
            units
            | "Spread" >> Spread(self._workers)
            | "Fetch"
            >> beam.ParDo(_Fetch(self._pool, self._rows, self._settings, threads, self._lists, self._limit)).with_output_types(str)
        )


def threads_of(settings: FetchSettings) -> int:
    """Threads of one process that hash and convert."""
    return settings.threads or max(1, len(os.sched_getaffinity(0)) // settings.workers)


class Spread(beam.PTransform):
    """Deals units out to exactly `workers` keys, the chunks of a file in turn; None: Beam's Reshuffle."""

    def __init__(self, workers: int | None):
        super().__init__()
        self._workers = workers

    def expand(self, units):
        if self._workers is None:
            return units | "Reshuffle" >> beam.Reshuffle()
        return (
            units
            | "Deal" >> beam.Map(partial(dealt, workers=self._workers)).with_output_types(tuple[int, str])
            | "Group" >> beam.GroupByKey()
            | "Sort" >> beam.FlatMap(_in_order).with_output_types(str)
        )


def dealt(unit: str, *, workers: int) -> tuple[int, str]:
    """(key from 0 to workers - 1, unit)."""
    file, chunk = split_unit(unit)
    return (int(file, 16) + chunk) % workers, unit


def _in_order(group: tuple[int, Iterable[str]]) -> list[str]:
    return sorted(group[1])


class _Fetch(beam.DoFn):
    def __init__(self, pool: Pool, rows: RowReader, settings: FetchSettings, threads: int, digest: str | None, limit: FailureLimit):
        self._pool, self._rows, self._settings, self._threads, self._digest = pool, rows, settings, threads, digest
        self._limit = limit
        self._flying: dict[Future[bool], str] = {}
        self._attempts = Attempts(pool.store)

    def setup(self) -> None:
        lists = lists_here(self._digest, self._pool.store)
        self._listed = partial(kinds_of, lists) if lists else None
        self._lists = lists
        self._engine = shared.acquire(self._settings, lists, self._pool, threads=self._threads)
        self._fetcher = self._engine if self._settings.fetcher == "pigment" else Img2datasetFetcher(self._engine, lists)

    def start_bundle(self) -> None:
        self._flying = {}

    def process(self, unit: str) -> Iterator[str]:
        digest = self._rows.input_digest(unit)
        if is_committed(self._pool, unit, digest):
            yield unit
            return
        self._limit.check()
        taken = self._rows.in_place(unit)
        if taken is not None:
            listed = None if self._listed is None else self._listed(taken.source)
            apart = self._attempts.begin(FETCH, unit) >= TRIES
            try:
                commit_in_place(self._pool, unit, taken, self._settings, self._lists, listed=listed, input_digest=digest, apart=apart)
            finally:
                self._attempts.end(FETCH, unit)
            yield unit
            return
        while len(self._flying) >= self._settings.units_ahead:
            yield from self._landed(wait(self._flying, return_when=FIRST_COMPLETED).done)
        source = self._rows.read(unit)
        listed = None if self._listed is None else self._listed(source)
        urls = urls_to_ask(source, listed)
        verdicts, delays = self._hosts_say(urls)
        work = Work(
            urls=source.column("url").to_pylist(),
            files=source.column("file_name").to_pylist(),
            statuses=source.column("status").to_pylist(),
            read_image=partial(self._rows.read_image, unit),
            finish=self._limit.counting(unit, partial(commit_unit, self._pool, unit, source, input_digest=digest)),
            listed=listed,
            parsed=urls,
            verdicts=verdicts,
            delays=delays,
            apart=self._attempts.begin(FETCH, unit) >= TRIES,
            claims=claims_of(source),
        )
        self._flying[self._fetcher.submit(work)] = unit
        yield from self._landed({future for future in self._flying if future.done()})

    def _hosts_say(self, urls: Mapping[str, URL]) -> tuple[dict[str, Verdict], dict[str, float]]:
        """(by url, whether it may be asked for; the seconds between two requests that hosts ask of this process)."""
        origins = {text: origin_of(url) for text, url in urls.items()}
        hosts, settings = self._engine.hosts, self._settings
        while unread := hosts.unread(origins.values()):
            self._engine.ask_hosts(unread)
        verdicts: dict[str, Verdict] = {}
        delays: dict[str, float] = {}
        rules = hosts.all_of({*origins.values()})  # by the clock of a moment ago: while hosts were asked, others' day may have ended
        for text, url in urls.items():
            said = rules[origins[text]]
            if said.says_nothing:
                continue
            verdict = verdict_of(said, str(url), obeys=settings.optouts == "obey")
            if verdict != (None, {}):
                verdicts[text] = verdict
            if said.crawl_delay is not None:
                delays[host_of(url)] = max(delays.get(host_of(url), 0.0), said.crawl_delay * settings.workers)
        return verdicts, delays

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        while self._flying:
            for unit in self._landed(wait(self._flying, return_when=FIRST_COMPLETED).done):
                yield WindowedValue(unit, window.max_timestamp(), (window,))

    def teardown(self) -> None:
        if isinstance(self._fetcher, Img2datasetFetcher):
            self._fetcher.close()
        shared.release(self._engine)
        for unit in self._flying.values():  # given up in good order
            self._attempts.end(FETCH, unit)

    def _landed(self, done: Iterable["Future[bool]"]) -> Iterator[str]:
        for future in sorted(done, key=self._flying.__getitem__):
            unit = self._flying.pop(future)
            self._attempts.end(FETCH, unit)
            if future.result():
                yield unit
        self._limit.check()


def urls_to_ask(source: pa.Table, listed: Sequence[Kind | None] | None) -> dict[str, URL]:
    """The different urls of a unit that would be asked for, as the source writes them and as they are sent."""
    urls: dict[str, URL] = {}
    kinds = listed or [None] * source.num_rows
    for text, status, kind in zip(source.column("url").to_pylist(), source.column("status").to_pylist(), kinds, strict=True):
        if text is not None and status is None and kind is None and text not in urls:
            with contextlib.suppress(BadUrl):
                urls[text] = url_of(text)
    return urls


def kinds_of(lists: BlockLists, source: pa.Table) -> list[Kind | None]:
    """The kind of list that each row is on by what its source says; bad rows too, whose text would be stored.

    Asked are the url, the page that shows the image, the digest that the source gives it, who made it, and which pair it is.
    """
    asked = (
        ("url", lists.kind_of_url),
        ("source_page", lists.kind_of_url),
        ("expected_sha256", lists.kind_of_sha256),
        ("creator", lists.kind_of_creator),
    )
    kinds: list[Kind | None] = [None] * source.num_rows
    for name, kind_of in asked:
        for row, text in enumerate(source[name].to_pylist()):
            if text is not None:
                kinds[row] = kinds[row] or kind_of(text)
    if lists.names_uids:
        for row, (url, caption) in enumerate(zip(source["url"].to_pylist(), source["caption"].to_pylist(), strict=True)):
            if url is not None:  # without one, its image's digest is on the list too
                kinds[row] = kinds[row] or lists.kind_of_uid(uid_of(url=url, sha256=None, caption=caption))
    return kinds


def is_committed(pool: Pool, unit: str, input_digest: str) -> bool:
    """Whether the unit's commit stands. Raises PoolError when it was made from another input."""
    commit = pool.raw_commit(unit)
    if commit is not None and commit.input_digest != input_digest:
        raise PoolError(
            f"{pool.store.path_of(f'pool/raw/{unit}.parquet')} was made from another input "
            f"({commit.input_digest[:12]}, now {input_digest[:12]}); use a new --dataset, or put the source back as it was"
        )
    return commit is not None
