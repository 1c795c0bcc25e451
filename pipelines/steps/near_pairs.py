"""Pairs that lose to a near one: nearly the same picture and colours, or embeddings that say nearly the same."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.steps.open_unit import OnUnits, OpenUnit
from pipelines.steps.shuffling import cut, late, packed, unpacked
from quality.duplicates import LOSERS, RANK_COLUMNS, RANKS, SEMANTIC, apply_losers, one_unit, ranks_of
from quality.near import pairs
from quality.near.shuffle import band_rows
from quality.near_duplicates import met, slack_of
from quality.rules import DROP, Ruled
from quality.semantic_duplicates import EMBEDDINGS, embeddings_of, semantic_winners
from schemas.policy import Duplicates
from schemas.wire import batch_to_bytes

_ROWS_A_PARTITION = 4_000_000
_GATHERED_ROWS = 720_000  # of the shuffle, up to 200 MB with thumbnails


class NearLosers(beam.PTransform):
    """(unit, what is known of it) of all units, from several steps, to (unit, LOSERS): pairs of which a better one is near.
    See quality.near_duplicates.

    in_memory: one worker reads the hashes of all units itself (116 bytes a pair), then thumbnails and ranks of those that met; nothing is
    shuffled. Otherwise hashes are shuffled by band (144 rows a hash, 16 in `fast` mode), then those that met again, with thumbnail and rank.
    """

    IN_MEMORY_ROWS: Final = 20_000_000

    def __init__(self, open_unit: OpenUnit, *, rows: int, in_memory: bool):
        self.open_unit, self.in_memory = open_unit, in_memory
        self.partitions = max(2, -(-rows_a_hash(open_unit.rules.policy.duplicates) * rows // _ROWS_A_PARTITION))

    def expand(self, known):
        if self.in_memory:
            return known | "In one memory" >> _InOneMemory(_NearInMemory(self.open_unit))
        met_rows = (
            known
            | "Known" >> beam.Flatten()
            | "Known to units" >> beam.GroupByKey()
            | "Hashes" >> beam.ParDo(_ByBand(_hashes, self.open_unit, self.partitions))
            | "Group hashes" >> beam.GroupByKey()
            | "Met" >> beam.ParDo(_Met(self.open_unit.rules.policy.duplicates))
        )
        return (
            (*known, met_rows)
            | "With those that met" >> beam.Flatten()
            | "Met to units" >> beam.GroupByKey()
            | "Thumbnails" >> beam.ParDo(_ByBand(_met_candidates, self.open_unit, self.partitions))
            | "Group thumbnails" >> beam.GroupByKey()
            | "Winners" >> beam.ParDo(_Winners(self.open_unit.rules.policy.duplicates))
            | "Winners to units" >> beam.GroupByKey()
            | "Best winners" >> beam.MapTuple(_best)
        )


def rows_a_hash(settings: Duplicates) -> int:
    """Of the shuffle. Partitions and lots go by it: too many of one or too small ones of the other make batches of a row or two."""
    return 144 if slack_of(settings.near_distance, settings.near_mode == "fast") else 16


class SemanticLosers(beam.PTransform):
    """(unit, what is known of it) of all units, from several steps, to (unit, LOSERS), in one worker's memory. See quality.semantic_duplicates."""

    def __init__(self, open_unit: OpenUnit):
        self.open_unit = open_unit

    def expand(self, known):
        return known | "In one memory" >> _InOneMemory(_SemanticInMemory(self.open_unit))


class _InOneMemory(beam.PTransform):
    def __init__(self, losers: beam.DoFn):
        self.losers = losers

    def expand(self, known):
        return (
            known
            | "Known" >> beam.Flatten()
            | "To one" >> beam.MapTuple(_to_one)
            | "Group" >> beam.GroupByKey()
            | "Losers" >> beam.ParDo(self.losers)
        )


def _to_one(unit: str, part: bytes) -> tuple[int, tuple[str, bytes]]:
    return 0, (unit, part)


def _by_name(parts: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    units: dict[str, list[bytes]] = {}
    for unit, part in parts:
        units.setdefault(unit, []).append(part)
    return dict(sorted(units.items()))


class _NearInMemory(OnUnits):
    def process(self, group: tuple[int, Iterable[tuple[str, bytes]]]) -> Iterable[tuple[str, bytes]]:
        units = _by_name(group[1])
        settings: Duplicates = self.open_unit.rules.policy.duplicates
        threads = os.cpu_count() or 1
        with ThreadPoolExecutor(threads) as readers:
            parts = list(readers.map(self._hashes, units.items()))
            hashes = np.concatenate([part for _, part in parts])
            places = np.cumsum([0, *(len(rows) for rows, _ in parts)])
            rows_of = [rows for rows, _ in parts]
            del parts
            found = met(hashes, distance=settings.near_distance, fast=settings.near_mode == "fast", threads=threads)
            del hashes
            marked = (rows[found[start:stop]] for rows, (start, stop) in zip(rows_of, pairwise(places), strict=True))
            wanted = [(item, rows) for item, rows in zip(units.items(), marked, strict=True) if len(rows)]
            candidates = list(readers.map(self._candidates, wanted))
        if candidates:
            yield from packed(pairs.losers_of(candidates, settings, threads=threads))

    def _hashes(self, item: tuple[str, list[bytes]]) -> tuple[np.ndarray, np.ndarray]:
        table, ruled = _opened(self.open_unit, *item, pairs.HASH_COLUMNS)
        return pairs.hashes_of(table, ruled, self.open_unit.rules.policy.duplicates)

    def _candidates(self, marked: tuple[tuple[str, list[bytes]], np.ndarray]) -> pa.RecordBatch:
        (unit, known), rows = marked
        return _candidates(self.open_unit, unit, known, rows)


def _opened(open_unit: OpenUnit, unit: str, known: Sequence[bytes], columns: Sequence[str]) -> tuple[pa.Table, Ruled]:
    """Columns of a unit, and what the rules and the duplicates so far say."""
    table, ruled = open_unit(unit, known, columns)
    apply_losers(ruled, unpacked(known, LOSERS))
    return table, ruled


def _candidates(open_unit: OpenUnit, unit: str, known: Sequence[bytes], rows: np.ndarray) -> pa.RecordBatch:
    similarity = open_unit.rules.policy.similarity
    table, ruled = _opened(open_unit, unit, known, (*pairs.CANDIDATE_COLUMNS, similarity))
    return pairs.candidates_of(unit, table, ruled, rows, similarity=similarity)


class _SemanticInMemory(OnUnits):
    def process(self, group: tuple[int, Iterable[tuple[str, bytes]]]) -> Iterable[tuple[str, bytes]]:
        parts = [part for part in map(self._read, *zip(*_by_name(group[1]).items(), strict=True)) if part[0].num_rows]
        if parts:
            table = pa.Table.from_batches([ranks for ranks, _ in parts], RANKS).unify_dictionaries().combine_chunks()
            vectors = np.concatenate([part for _, part in parts])
            del parts
            cosine = self.open_unit.rules.policy.duplicates.semantic_cosine
            won = semantic_winners(vectors, pairs.ranks_in(table), cosine=cosine)
            yield from packed(pairs.lost_in(table, won, SEMANTIC))

    def _read(self, unit: str, known: list[bytes]) -> tuple[pa.RecordBatch, np.ndarray]:
        similarity = self.open_unit.rules.policy.similarity
        table, ruled = _opened(self.open_unit, unit, known, (EMBEDDINGS, *RANK_COLUMNS, similarity))
        rows, vectors = embeddings_of(table[EMBEDDINGS], np.flatnonzero(ruled.verdict != DROP).astype(np.int32))
        ranks = ranks_of(unit, table.take(pa.array(rows)), ruled, rows, similarity=similarity)
        return pa.record_batch(ranks, schema=RANKS), vectors


class _ByBand(OnUnits):
    """Gathers what `batch_of` makes of each unit, with a column `hash`, and sends each row to the partitions of its bands' keys."""

    def __init__(self, batch_of: Callable[[OpenUnit, str, list[bytes]], pa.RecordBatch], open_unit: OpenUnit, partitions: int):
        super().__init__(open_unit)
        self.batch_of, self.partitions = batch_of, partitions
        self.hashes_ahead = _GATHERED_ROWS // rows_a_hash(open_unit.rules.policy.duplicates)

    def start_bundle(self) -> None:
        self.gathered: list[pa.RecordBatch] = []
        self.hashes = 0

    def process(self, group: tuple[str, Iterable[bytes]]) -> Iterable[tuple[int, bytes]]:
        unit, known = group
        batch = self.batch_of(self.open_unit, unit, list(known))
        self.gathered.append(batch)
        self.hashes += batch.num_rows
        if self.hashes >= self.hashes_ahead:
            yield from self._flush()

    def finish_bundle(self) -> Iterable[WindowedValue]:
        yield from late(self._flush())

    def _flush(self) -> Iterator[tuple[int, bytes]]:
        settings: Duplicates = self.open_unit.rules.policy.duplicates
        if self.hashes:
            table = pa.Table.from_batches(self.gathered).unify_dictionaries().combine_chunks()
            for start in range(0, table.num_rows, self.hashes_ahead):
                part = table.slice(start, self.hashes_ahead)
                hashes = pairs.fixed_bytes(part["hash"])
                key, row, home = band_rows(hashes, distance=settings.near_distance, fast=settings.near_mode == "fast")
                sent = part.take(pa.array(row)).add_column(0, "key", pa.array(key)).add_column(1, "home", pa.array(home))
                yield from cut(sent, key.astype(np.uint64) % np.uint64(self.partitions), self.partitions)
        self.gathered, self.hashes = [], 0


def _hashes(open_unit: OpenUnit, unit: str, known: list[bytes]) -> pa.RecordBatch:
    table, ruled = _opened(open_unit, unit, known, pairs.HASH_COLUMNS)
    rows, _ = pairs.hashes_of(table, ruled, open_unit.rules.policy.duplicates)
    hashes = table["image.pdq"].take(pa.array(rows)).combine_chunks()
    return pa.record_batch([hashes, one_unit(unit, len(rows)), pa.array(rows)], schema=pairs.HASHES)


def _met_candidates(open_unit: OpenUnit, unit: str, known: list[bytes]) -> pa.RecordBatch:
    rows = [batch["row"].to_numpy() for batch in unpacked(known, pairs.MET)]
    if not rows:
        return pa.RecordBatch.from_pylist([], pairs.CANDIDATES)
    return _candidates(open_unit, unit, known, np.unique(np.concatenate(rows)))


class _Met(beam.DoFn):
    def __init__(self, settings: Duplicates):
        self.settings = settings

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterable[tuple[str, bytes]]:
        return packed(pairs.met_in_partition(unpacked(group[1]), self.settings))


class _Winners(beam.DoFn):
    def __init__(self, settings: Duplicates):
        self.settings = settings

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterable[tuple[str, bytes]]:
        return packed(pairs.found_in_partition(unpacked(group[1]), self.settings))


def _best(unit: str, found: Iterable[bytes]) -> tuple[str, bytes]:
    return unit, batch_to_bytes(pairs.best_found(unpacked(found)))
