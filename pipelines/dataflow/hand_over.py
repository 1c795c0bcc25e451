"""A Flex Template's launcher builds one graph, hands it to Dataflow and ends; Dataflow runs it when the launcher has ended."""

import argparse
from collections.abc import Sequence
from typing import Final

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipelines.options import UsageError

# The flags that leave one graph to build. Fetching and scoring are one.
_ONE_GRAPH: Final = {
    ("fetch", "fetch"), ("fetch", "score"), ("score", "score"), ("select", "select"), ("shard", "shard"),
}  # fmt: skip


def hands_over(args: argparse.Namespace, beam_flags: Sequence[str]) -> bool:
    """Whether this process is such a launcher: it was told where the graph goes (--template_location).

    What comes after the graph (deferred units, the next graph, publishing) is then another command's. Raises UsageError where the flags
    ask for several graphs: the second would take the first one's place.
    """
    if PipelineOptions(list(beam_flags)).view_as(GoogleCloudOptions).template_location is None:
        return False
    if (args.start_at, args.stop_after) not in _ONE_GRAPH:
        raise UsageError(
            "a Flex Template launches one graph, and these flags ask for several: add --stop_after score (the pool), "
            "--start_at select --stop_after select, or --start_at shard --stop_after shard"
        )
    return True


HANDED_OVER: Final = "the graph is handed to Dataflow, which runs it once this launcher has ended; the same command looks at what it left"
