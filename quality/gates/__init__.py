"""Gates: rules that a release has to hold before it is published.

Tables of metrics (quality/gates/tables.py) are measured in the files of a release; suites (suites.py) are lists of rules about them, each a
Great Expectations expectation whose class name says what holds. A rule that does not hold is critical, and nothing is published, or it is a
warning. One that finds nothing to measure, as those against the parent do on a first release, says so and counts as neither.

Your own rules are a Python file, given as `--gates FILE.py` to pipelines.publish and pipelines.ingest, several times if you like:

    from great_expectations.expectations.metadata_types import FailureSeverity
    from quality.gates import bounds
    from quality.gates.suite import Stop, Suite

    class AtLeastAThousandPairsAreKept(Stop):        # Stop: critical; Warn: told, and published all the same
        column: str = "keep"
        min_value: int = 1000

    SUITES = [
        Suite("our volume", "release", [AtLeastAThousandPairsAreKept()]),
        # A rule of ours takes the place of ours: another bound, another severity.
        Suite("our bounds", "parent", [bounds.KeptShareStaysNearTheParents(max_value=0.05, severity=FailureSeverity.CRITICAL)]),
        Suite("our bounds", "units", [bounds.MostNewUnitsAreFetched(severity=FailureSeverity.WARNING)]),
    ]

`python -m quality.gates` lists the tables with their columns and the rules about them. Every expectation of Great Expectations about columns
will do, but those of quantiles, which version 1.24 cannot serialise.
"""

from quality.gates.metrics import release_metrics, sample_metrics, shard_metrics, unit_metrics
from quality.gates.own import GateFileError, suites_with
from quality.gates.run import GateResults, Outcome, run_gates

__all__ = [
    "GateFileError", "GateResults", "Outcome", "release_metrics", "run_gates", "sample_metrics", "shard_metrics", "suites_with",
    "unit_metrics",
]  # fmt: skip
