"""Check hosts: robots.txt and TDMRep's file of every host that is to be asked, once for all workers, before the first image."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from pipelines.fetch import shared
from pipelines.fetch.origins import bucket_of, origin_of
from pipelines.fetch.settings import FetchSettings
from pipelines.steps.fetch_units import RowReader, is_committed, kinds_of, threads_of, urls_to_ask
from quality.block_lists import lists_here
from schemas.pool import Pool


class CheckHosts(beam.PTransform):
    """Reads what hosts say of being asked and mined, and puts it into the pool (schemas.columns.HOSTS).

    In: names of units. Out: the same, once all hosts of units that are not committed have been asked. Shuffled: one (bucket, origin) for each
    host of a unit. A host that was asked within a day is not asked again, unless it could not be reached. lists: the digest of the launcher's
    block lists: what is on one is not asked for anything.
    """

    def __init__(self, pool: Pool, rows: RowReader, settings: FetchSettings, *, lists: str | None = None):
        super().__init__()
        self._pool, self._rows, self._settings, self._lists = pool, rows, settings, lists

    def expand(self, units):
        asked = (
            units
            | "Name hosts" >> beam.ParDo(_NameHosts(self._pool, self._rows, self._lists)).with_output_types(tuple[str, str])
            | "Group" >> beam.GroupByKey()
            | "Ask" >> beam.ParDo(_Ask(self._pool, self._settings, self._lists)).with_output_types(int)
            | "All asked" >> beam.CombineGlobally(sum)
        )
        return units | "When all are asked" >> beam.Map(_first, AsSingleton(asked)).with_output_types(str)


def _first(unit: str, _: int) -> str:
    return unit


class _NameHosts(beam.DoFn):
    def __init__(self, pool: Pool, rows: RowReader, digest: str | None):
        self._pool, self._rows, self._digest = pool, rows, digest

    def setup(self) -> None:
        lists = lists_here(self._digest, self._pool.store)
        self._listed = partial(kinds_of, lists) if lists else None

    def process(self, unit: str) -> Iterator[tuple[str, str]]:
        if self._rows.is_in_place(unit) or is_committed(self._pool, unit, self._rows.input_digest(unit)):
            return
        source = self._rows.read(unit)
        urls = urls_to_ask(source, None if self._listed is None else self._listed(source))
        for origin in sorted({origin_of(url) for url in urls.values()}):
            yield bucket_of(origin), origin


class _Ask(beam.DoFn):
    """Groups of hosts are gathered in a bundle, so that a host that does not answer holds up no other group."""

    def __init__(self, pool: Pool, settings: FetchSettings, digest: str | None):
        self._pool, self._settings, self._digest = pool, settings, digest

    def setup(self) -> None:
        self._engine = shared.acquire(
            self._settings, lists_here(self._digest, self._pool.store), self._pool, threads=threads_of(self._settings)
        )

    def start_bundle(self) -> None:
        self._origins: set[str] = set()

    def process(self, group: tuple[str, Iterable[str]]) -> Sequence[int]:
        origins = set(group[1])
        self._origins |= origins
        return [len(origins)]

    def finish_bundle(self) -> None:
        hosts = self._engine.hosts
        self._engine.ask_hosts(sorted({*hosts.unread(self._origins), *hosts.unreachable(self._origins)}))

    def teardown(self) -> None:
        shared.release(self._engine)
