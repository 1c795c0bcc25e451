"""`--check_job`: is this a job that Dataflow can run? Its graphs are built with Beam's own translation, offline, and looked at."""

import argparse
import textwrap
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.dataflow import checks
from pipelines.dataflow.checks import Found
from pipelines.dataflow.stand_in import Graphs, graphs_of
from pipelines.dataflow.translate import image_of, translate
from pipelines.options import EXIT_DONE, EXIT_USAGE, UsageError
from schemas.scratch import Scratch

_WIDTH = 118


def check_job(args: argparse.Namespace, beam_flags: Sequence[str], graphs: Graphs) -> tuple[list[str], int]:
    """(lines of a table, exit code: 0 or 2). graphs: what builds the pool's graph, select's and shard's. Writes nothing; asks no network.

    A dataset that is not there yet has no units: graphs are built for a stand-in of `args.check_job` pairs. Raises UsageError.
    """
    if args.runner != "DataflowRunner":
        raise UsageError("--check_job checks a job for Dataflow: add --runner DataflowRunner")
    given = PipelineOptions(list(beam_flags))
    found: list[tuple[str, Found]] = [("", checks.flags(given)), ("", checks.places(args.dataset, args.source))]
    asked = args.score_accelerator is not None or args.score_min_ram is not None
    with Scratch("check") as folder:
        for name, build in graphs_of(args, graphs, folder):
            graph = translate(name, build, beam_flags, folder)
            if name == "pool":
                found.append(("", checks.image(image_of(graph))))
            found += [(name, each) for each in checks.of_graph(graph, asked=asked)]
    wrong = sum(not each.ok for _, each in found)
    end = f"{wrong} of {len(found)} checks failed" if wrong else f"all {len(found)} checks hold; nothing was submitted or written"
    head = f"a job of {args.check_job:,} pairs, as Beam translates it for Dataflow"
    return [head, "", *_table(found), "", end], EXIT_USAGE if wrong else EXIT_DONE


def _table(found: Sequence[tuple[str, Found]]) -> list[str]:
    lines = []
    for graph, each in found:
        start = f"{'ok' if each.ok else 'FAIL':<6}{graph:<8}{each.what:<16}"
        wrap = textwrap.TextWrapper(_WIDTH, start, " " * len(start), break_long_words=False, break_on_hyphens=False)
        lines += wrap.wrap(each.told)
    return lines
