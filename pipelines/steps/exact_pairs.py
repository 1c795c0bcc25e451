"""Pairs that lose to an equal one: the same uid, the same bytes, or the same picture, colours and caption. See quality.duplicates."""

from collections.abc import Iterable

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.steps.open_unit import OnUnits, OpenUnit
from pipelines.steps.shuffling import ByPartition, late, packed, unpacked
from quality import duplicates
from schemas.policy import Duplicates


class ExactLosers(beam.PTransform):
    """(unit, what is known of it) of all units, from several steps, to (unit, LOSERS). Shuffled: fingerprints (15 bytes a pair and kind), then
    identity and rank of those that met."""

    def __init__(self, open_unit: OpenUnit, *, partitions: int):
        self.open_unit, self.partitions = open_unit, partitions

    def expand(self, known):
        settings = self.open_unit.rules.policy.duplicates
        collisions = (
            known
            | "Known" >> beam.Flatten()
            | "Known to units" >> beam.GroupByKey()
            | "Fingerprints" >> beam.ParDo(_Fingerprints(self.open_unit, settings, self.partitions))
            | "Group fingerprints" >> beam.GroupByKey()
            | "Collisions" >> beam.FlatMap(_collisions)
        )
        return (
            (*known, collisions)
            | "With collisions" >> beam.Flatten()
            | "Collisions to units" >> beam.GroupByKey()
            | "Candidates" >> beam.ParDo(_Candidates(self.open_unit, self.partitions))
            | "Group candidates" >> beam.GroupByKey()
            | "Losers" >> beam.ParDo(_Losers(settings))
        )


class _Fingerprints(OnUnits):
    def __init__(self, open_unit: OpenUnit, settings: Duplicates, partitions: int):
        super().__init__(open_unit)
        self.settings, self.partitions = settings, partitions

    def start_bundle(self) -> None:
        self.gathered = ByPartition(self.partitions)

    def process(self, group: tuple[str, Iterable[bytes]]) -> Iterable[tuple[int, bytes]]:
        unit, known = group
        table, ruled = self.open_unit(unit, known, duplicates.FINGERPRINT_COLUMNS)
        yield from self.gathered.add(duplicates.fingerprints_of(unit, table, ruled, self.settings))

    def finish_bundle(self) -> Iterable[WindowedValue]:
        yield from late(self.gathered.flush())


def _collisions(group: tuple[int, Iterable[bytes]]) -> Iterable[tuple[str, bytes]]:
    return packed(duplicates.collisions_of(unpacked(group[1])))


class _Candidates(OnUnits):
    def __init__(self, open_unit: OpenUnit, partitions: int):
        super().__init__(open_unit)
        self.partitions = partitions

    def start_bundle(self) -> None:
        self.gathered = ByPartition(self.partitions)

    def process(self, group: tuple[str, Iterable[bytes]]) -> Iterable[tuple[int, bytes]]:
        unit, known = group
        met = unpacked(known, duplicates.COLLISIONS)
        if met:
            similarity = self.open_unit.rules.policy.similarity
            table, ruled = self.open_unit(unit, known, (*duplicates.IDENTITY_COLUMNS, similarity))
            yield from self.gathered.add(duplicates.candidates_of(unit, table, ruled, met, similarity=similarity))

    def finish_bundle(self) -> Iterable[WindowedValue]:
        yield from late(self.gathered.flush())


class _Losers(beam.DoFn):
    def __init__(self, settings: Duplicates):
        self.settings = settings

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterable[tuple[str, bytes]]:
        return packed(duplicates.losers_of(unpacked(group[1]), self.settings))
