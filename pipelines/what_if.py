"""`--what_if`: the funnel that a policy would give, beside the newest release. Decides for real, into a folder that is thrown away."""

import argparse
import tempfile

import apache_beam as beam

from pipelines.funnel import funnel_lines, funnel_of
from pipelines.jobs import scored_units
from pipelines.run import run_graph
from pipelines.steps.select_pairs import SelectPairs
from quality.block_lists import read_lists
from quality.rules import Rules, find_policy
from quality.selection import plan_selection
from schemas.pool import Pool
from schemas.release import Release, latest


def what_if(args: argparse.Namespace) -> list[str]:
    """Lines for the screen. Reads stored scores; writes nothing below the dataset."""
    pool, policy = Pool(args.dataset), find_policy(args.policy)
    units = scored_units(pool)
    rules, plan, lists = Rules(policy), plan_selection(pool, units, policy), read_lists().digest
    rows = sum(commit.rows for unit in units if (commit := pool.raw_commit(unit)) is not None)
    with tempfile.TemporaryDirectory(prefix="pigment-what-if-") as folder:
        release = Release(folder, "what-if")

        def graph(pipeline: beam.Pipeline) -> None:
            scored = pipeline | "Scored" >> beam.Create(units)
            _ = scored | "Select" >> SelectPairs(pool, release, rules, plan, rows=rows, lists=lists)

        run_graph(graph, runner=args.runner, mode="in_memory", workers=1)
        would = funnel_of(pool, release)
    name = latest(pool.store)
    now = None if name is None else funnel_of(pool, Release(pool.store, name))
    title = f"policy {policy.name} would give" + ("" if name is None else f" (now: release {name})")
    return [title, *funnel_lines(would, beside=now), "nothing was written"]
