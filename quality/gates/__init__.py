"""Gates: rules that a release has to hold before it is published."""

from quality.gates.metrics import release_metrics, sample_metrics, shard_metrics, unit_metrics
from quality.gates.run import GateResults, Outcome, run_gates

__all__ = ["GateResults", "Outcome", "release_metrics", "run_gates", "sample_metrics", "shard_metrics", "unit_metrics"]
