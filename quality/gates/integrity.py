"""Rules about what files hold: schema, nulls, balance of rows, shard integrity. All are facts without a bound: none has to be set."""

import great_expectations.expectations as gxe

from quality.gates.suite import Equal, One, ValueSet, Zero

_THERE: ValueSet = ["there"]
_DECODES: ValueSet = ["decodes"]


# ---- schema


class CommitsAndDecisionsCanBeRead(Zero):
    column: str = "unreadable"


class IndexesCanBeRead(Zero):
    column: str = "unreadable"


class CommitsAndDecisionsHaveOurColumns(Zero):
    column: str = "missing_columns"


class IndexesHaveOurColumns(Zero):
    column: str = "missing_columns"


class ScoresCanBeRead(Zero):
    column: str = "unreadable"


class ScoresHaveTheColumnsOfTheirPass(Zero):
    column: str = "missing_columns"


class ScoresHaveARowForEveryPair(Zero):
    column: str = "other_rows"


# ---- nulls


class UidsAreNeverNull(Zero):
    column: str = "null_uids"


class VerdictsAreNeverNull(Zero):
    column: str = "null_verdicts"


class VerdictsAreKeepReviewOrDrop(Zero):
    column: str = "other_verdicts"


class PairsHaveReasonsUnlessKept(Zero):
    column: str = "reason_errors"


class CaptionsOfSamplesAreNeverEmpty(Zero):
    column: str = "empty_captions"


# ---- balance of rows


class CommittedRowsAreTheSourcesRows(Equal):
    column_A: str = "rows_source"
    column_B: str = "rows_committed"


class StatusesAddUpToCommittedRows(Equal):
    column_A: str = "rows_by_status"
    column_B: str = "rows_committed"


class DecidedRowsAreCommittedRows(Equal):
    column_A: str = "rows_decided"
    column_B: str = "rows_committed"


class KeepReviewAndDropAddUpToDecidedRows(Equal):
    column_A: str = "accounted"
    column_B: str = "rows_decided"


class FootersOfDecisionsSayWhatTheirFilesHold(Zero):
    column: str = "footer_errors"


class KeptPairsAreInShards(Zero):
    column: str = "kept_not_sharded"


class SamplesAreKeptPairs(Zero):
    column: str = "sharded_not_kept"


class KeepReviewDropAndDeferredAddUpToRowsIn(Equal):
    column_A: str = "accounted"
    column_B: str = "rows_source"


class ShardsAddUpToKeep(Equal):
    column_A: str = "sharded"
    column_B: str = "keep"


class SamplesComeFromUnitsOfThePool(Zero):
    column: str = "foreign_samples"


class CommittedUnitsAreDecided(Zero):
    column: str = "undecided_units"


class UnitsAreOfTheSource(Zero):
    column: str = "unplanned_units"


# ---- shard integrity


class ShardsAreThere(gxe.ExpectColumnValuesToBeInSet):
    column: str = "state"
    value_set: ValueSet = _THERE


class IndexesHaveTheirCount(Equal):
    column_A: str = "count"
    column_B: str = "index_rows"


class IndexesHaveTheirDigest(Equal):
    column_A: str = "content_digest"
    column_B: str = "index_digest"


class TarsHaveTheirSize(Equal):
    column_A: str = "bytes"
    column_B: str = "tar_bytes"


class TarsHaveTheirSha256(Equal):
    column_A: str = "sha256"
    column_B: str = "tar_sha256"


class OffsetsLieInTheTar(Zero):
    column: str = "outside"


class UidsOfSamplesAreNeverNull(Zero):
    column: str = "null_uids"


class UidsAreHexDigits(Zero):
    column: str = "malformed_uids"


class UidsAreUniqueInAShard(Zero):
    column: str = "repeated_uids"


class UidsAreUniqueOverAllShards(Zero):
    column: str = "repeated_uids"


class ImagesDecode(gxe.ExpectColumnValuesToBeInSet):
    column: str = "image"
    value_set: ValueSet = _DECODES


class ImagesHaveTheirSha256(One):
    column: str = "same_bytes"


class ImagesHaveTheirSides(One):
    column: str = "same_sides"


class CaptionsEqualTheIndex(One):
    column: str = "same_caption"
