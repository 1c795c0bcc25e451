"""`--what_if`: what a policy would give, beside the newest release or another policy. Decides for real, into a folder that is thrown away."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

import apache_beam as beam

from pipelines.funnel import funnel_lines, funnel_of
from pipelines.moves import move_lines, moves_between
from pipelines.release_job import scored_units
from pipelines.reviews import open_reviews
from pipelines.run import run_graph
from pipelines.steps.select_pairs import SelectPairs
from quality.block_lists import read_lists
from quality.named_scorers import with_scorers
from quality.rules import Rules, find_policy
from quality.selection import plan_selection
from schemas.policy import Policy
from schemas.pool import Pool
from schemas.release import Release, latest
from schemas.scratch import Scratch


def what_if(args: argparse.Namespace) -> list[str]:
    """Lines for the screen, with --json one of JSON. Reads stored scores; writes nothing below the dataset."""
    pool, policy = Pool(args.dataset), with_scorers(find_policy(args.policy), args.read_scorer)
    units = scored_units(pool)
    if args.against is not None:
        other = with_scorers(find_policy(args.against), args.read_scorer, strict=False)
        return _against(pool, units, policy, other, args)
    with Scratch("what-if") as folder:
        would = funnel_of(pool, _decided(pool, units, policy, Release(folder, "what-if"), args))
    name = latest(pool.store)
    now = None if name is None else funnel_of(pool, Release(pool.store, name))
    if args.json:
        told = {"policy": policy.name, "funnel": asdict(would), "release": name, "funnel_now": None if now is None else asdict(now)}
        return [json.dumps(told, sort_keys=True)]
    title = f"policy {policy.name} would give" + ("" if name is None else f" (now: release {name})")
    return [title, *funnel_lines(would, beside=now), "nothing was written"]


def _against(pool: Pool, units: Sequence[str], policy: Policy, other: Policy, args: argparse.Namespace) -> list[str]:
    with Scratch("what-if") as folder:
        after, before = (_decided(pool, units, each, Release(folder, name), args) for name, each in (("after", policy), ("before", other)))
        would, now = funnel_of(pool, after), funnel_of(pool, before)
        moves = moves_between(before, after, units)
    names = (policy.name, other.name) if policy.name != other.name else (f"{policy.name} (--policy)", f"{other.name} (--against)")
    if args.json:
        told = {"policy": policy.name, "against": other.name, "funnel": asdict(would), "funnel_against": asdict(now), **moves.as_dict()}
        return [json.dumps(told, sort_keys=True)]
    return [
        f"policy {names[0]} would give (now: policy {names[1]})",
        *funnel_lines(would, beside=now),
        "",
        "who changes sides",
        *move_lines(moves, before=names[1], after=names[0]),
        "",
        f"see one: python -m pipelines.explain --dataset {args.dataset} --uid UID",
        "nothing was written",
    ]


def _decided(pool: Pool, units: Sequence[str], policy: Policy, release: Release, args: argparse.Namespace) -> Release:
    rules, plan, lists = Rules(policy), plan_selection(pool, units, policy), read_lists(pool.store)
    reviews = open_reviews(pool, units, args.reviews, lists)
    reviews.freeze(release)
    rows = sum(commit.rows for unit in units if (commit := pool.raw_commit(unit)) is not None)

    def graph(pipeline: beam.Pipeline) -> None:
        scored = pipeline | "Scored" >> beam.Create(units)
        _ = scored | "Select" >> SelectPairs(pool, release, rules, plan, rows=rows, lists=lists.digest, settled=reviews.digest)

    run_graph(graph, runner=args.runner, mode="in_memory", workers=1)
    return release
