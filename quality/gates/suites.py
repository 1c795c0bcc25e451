"""The rules of a release, as Great Expectations suites: each rule an expectation whose name says what holds.

Importing this takes seconds of CPU (Great Expectations imports SciPy and pandas); only quality.gates.run does, when gates are run.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import great_expectations.expectations as gxe
from great_expectations.expectations.metadata_types import FailureSeverity

from quality.gates.indexes import SHARD_COLUMNS
from quality.gates.metrics import SAMPLE_COLUMNS, UNIT_COLUMNS

ValueSet = list[Any] | dict[Any, Any]  # as Great Expectations declares its fields
RowCondition = Literal["both_values_are_missing", "either_value_is_missing", "neither"] | dict[Any, Any]
_ZERO: ValueSet = [0]
_ONE: ValueSet = [1]
_THERE: ValueSet = ["there"]
_DECODES: ValueSet = ["decodes"]


@dataclass(frozen=True)
class Suite:
    """table: units (those that are not deferred), shards, samples or release. rules: expectations about it."""

    name: str
    table: str
    rules: list[Any]


class _Zero(gxe.ExpectColumnValuesToBeInSet):
    """Every value that was measured is 0."""

    value_set: ValueSet = _ZERO


class _One(gxe.ExpectColumnValuesToBeInSet):
    value_set: ValueSet = _ONE


class _Equal(gxe.ExpectColumnPairValuesToBeEqual):
    """Both are measured and equal."""

    ignore_row_if: RowCondition = "neither"


# ---- schema


class UnitsHaveAllMetrics(gxe.ExpectTableColumnsToMatchOrderedList):
    """As quality.gates measures them, in order."""


class ShardsHaveAllMetrics(gxe.ExpectTableColumnsToMatchOrderedList):
    """As quality.gates measures them, in order."""


class SamplesHaveAllMetrics(gxe.ExpectTableColumnsToMatchOrderedList):
    """As quality.gates measures them, in order."""


class DecisionsCanBeRead(_Zero):
    column: str = "unreadable"


class IndexesCanBeRead(_Zero):
    column: str = "unreadable"


class CommitsAndDecisionsHaveOurColumns(_Zero):
    column: str = "missing_columns"


class IndexesHaveOurColumns(_Zero):
    column: str = "missing_columns"


# ---- nulls


class UidsAreNeverNull(_Zero):
    column: str = "null_uids"


class VerdictsAreNeverNull(_Zero):
    column: str = "null_verdicts"


class VerdictsAreKeepReviewOrDrop(_Zero):
    column: str = "other_verdicts"


class PairsHaveReasonsUnlessKept(_Zero):
    column: str = "reason_errors"


# ---- balance of rows


class CommittedRowsAreTheSourcesRows(_Equal):
    column_A: str = "rows_source"
    column_B: str = "rows_committed"


class StatusesAddUpToCommittedRows(_Equal):
    column_A: str = "rows_by_status"
    column_B: str = "rows_committed"


class DecidedRowsAreCommittedRows(_Equal):
    column_A: str = "rows_decided"
    column_B: str = "rows_committed"


class KeepReviewAndDropAddUpToDecidedRows(_Equal):
    column_A: str = "accounted"
    column_B: str = "rows_decided"


class FootersOfDecisionsSayWhatTheirFilesHold(_Zero):
    column: str = "footer_errors"


class KeptPairsAreInShards(_Zero):
    column: str = "kept_not_sharded"


class SamplesAreKeptPairs(_Zero):
    column: str = "sharded_not_kept"


class KeepReviewDropAndDeferredAddUpToRowsIn(_Equal):
    column_A: str = "accounted"
    column_B: str = "rows_source"


class ShardsAddUpToKeep(_Equal):
    column_A: str = "sharded"
    column_B: str = "keep"


class SamplesComeFromUnitsOfThePool(_Zero):
    column: str = "foreign_samples"


class CommittedUnitsAreDecided(_Zero):
    column: str = "undecided_units"


class UnitsAreOfTheSource(_Zero):
    column: str = "unplanned_units"


class SomethingIsKept(gxe.ExpectColumnValuesToBeBetween):
    column: str = "keep"
    min_value: int = 1


# ---- shard integrity


class ShardsAreThere(gxe.ExpectColumnValuesToBeInSet):
    column: str = "state"
    value_set: ValueSet = _THERE


class IndexesHaveTheirCount(_Equal):
    column_A: str = "count"
    column_B: str = "index_rows"


class IndexesHaveTheirDigest(_Equal):
    column_A: str = "content_digest"
    column_B: str = "index_digest"


class TarsHaveTheirSize(_Equal):
    column_A: str = "bytes"
    column_B: str = "tar_bytes"


class TarsHaveTheirSha256(_Equal):
    column_A: str = "sha256"
    column_B: str = "tar_sha256"


class OffsetsLieInTheTar(_Zero):
    column: str = "outside"


class UidsOfSamplesAreNeverNull(_Zero):
    column: str = "null_uids"


class UidsAre32HexDigits(_Zero):
    column: str = "malformed_uids"


class UidsAreUniqueInAShard(_Zero):
    column: str = "repeated_uids"


class UidsAreUniqueOverAllShards(_Zero):
    column: str = "repeated_uids"


class ImagesDecode(gxe.ExpectColumnValuesToBeInSet):
    column: str = "image"
    value_set: ValueSet = _DECODES


class ImagesHaveTheirSha256(_One):
    column: str = "same_bytes"


class ImagesHaveTheirSides(_One):
    column: str = "same_sides"


class CaptionsEqualTheIndex(_One):
    column: str = "same_caption"


SUITES: Final = (
    Suite(
        "schema of units",
        "units",
        [UnitsHaveAllMetrics(column_list=list(UNIT_COLUMNS)), DecisionsCanBeRead(), CommitsAndDecisionsHaveOurColumns()],
    ),
    Suite(
        "schema of shards", "shards", [ShardsHaveAllMetrics(column_list=list(SHARD_COLUMNS)), IndexesCanBeRead(), IndexesHaveOurColumns()]
    ),
    Suite("schema of samples", "samples", [SamplesHaveAllMetrics(column_list=list(SAMPLE_COLUMNS))]),
    Suite("nulls", "units", [UidsAreNeverNull(), VerdictsAreNeverNull(), VerdictsAreKeepReviewOrDrop(), PairsHaveReasonsUnlessKept()]),
    Suite(
        "balance of units",
        "units",
        [
            CommittedRowsAreTheSourcesRows(),
            StatusesAddUpToCommittedRows(),
            DecidedRowsAreCommittedRows(),
            KeepReviewAndDropAddUpToDecidedRows(),
            FootersOfDecisionsSayWhatTheirFilesHold(),
            KeptPairsAreInShards(),
            SamplesAreKeptPairs(),
        ],
    ),
    Suite(
        "balance of the release",
        "release",
        [
            KeepReviewDropAndDeferredAddUpToRowsIn(),
            ShardsAddUpToKeep(),
            SamplesComeFromUnitsOfThePool(),
            CommittedUnitsAreDecided(),
            UnitsAreOfTheSource(),
            UidsAreUniqueOverAllShards(),
            SomethingIsKept(severity=FailureSeverity.WARNING),
        ],
    ),
    Suite(
        "shard integrity",
        "shards",
        [
            ShardsAreThere(),
            IndexesHaveTheirCount(),
            IndexesHaveTheirDigest(),
            TarsHaveTheirSize(),
            TarsHaveTheirSha256(),
            OffsetsLieInTheTar(),
            UidsOfSamplesAreNeverNull(),
            UidsAre32HexDigits(),
            UidsAreUniqueInAShard(),
        ],
    ),
    Suite("samples", "samples", [ImagesDecode(), ImagesHaveTheirSha256(), ImagesHaveTheirSides(), CaptionsEqualTheIndex()]),
)
