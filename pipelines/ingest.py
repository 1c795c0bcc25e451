"""The main job: pairs in, a published release out. `python -m pipelines.ingest --help`.

The picture's two boxes are the pool's graph and the release's two. A decision depends on all units, so the release begins when the pool's
graph has ended: its digest, and how columns are cut, are then known. How many shards there are follows from what was kept.
"""

import argparse
import importlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import apache_beam as beam

from pipelines.check_job import check_job
from pipelines.dataflow.hand_over import HANDED_OVER, hands_over
from pipelines.fetch.in_place import tars_that_hold_listed
from pipelines.fetch_summary import lines_of_run
from pipelines.flags import parser
from pipelines.funnel import Funnel, funnel_lines, funnel_of
from pipelines.going_on import going_on
from pipelines.logs import log_of, logs_to, screen
from pipelines.options import EXIT_DEFERRED, EXIT_DONE, EXIT_GATE, UsageError
from pipelines.plan import plan_lines
from pipelines.pool_job import PoolJob, open_pool_job
from pipelines.progress import Progress, Took, duration, say
from pipelines.publish import ALREADY, GateFailed, ListedPairs, publish
from pipelines.release_job import ReleaseJob, open_release_job
from pipelines.reviews import check_reviews
from pipelines.run import command, run_graph
from pipelines.runners.engine import Engine
from pipelines.steps.check_hosts import CheckHosts
from pipelines.steps.fetch_units import FetchUnits
from pipelines.steps.follow_ups import FollowUps
from pipelines.steps.read_units import ReadUnits
from pipelines.steps.score_units import ScoreUnits
from pipelines.steps.select_pairs import SelectPairs
from pipelines.steps.write_shards import WriteShards
from pipelines.what_if import what_if
from quality.block_lists import LISTED
from quality.command import as_typed, this_python
from quality.documents import has_documents, read_about, write_documents
from quality.gates import GateResults, run_gates, suites_with
from quality.review.settle import counts_of
from schemas.attempts import Attempts
from schemas.pool import Pool
from schemas.release import Release, Shard
from schemas.scratch import sweep
from schemas.store import open_store


def pool_graph(pipeline: beam.Pipeline, job: PoolJob) -> None:
    """Source rows to committed and scored units."""
    if job.fetches:
        units = pipeline | "Read" >> ReadUnits(job.pool, job.entries, unit_size=job.unit_size)
        units = units | "Follow up" >> FollowUps(job.pool, round=job.retry_round)
        if job.asks_hosts:
            units = units | "Check hosts" >> CheckHosts(job.pool, job.rows, job.fetch, lists=job.lists)
        units = units | "Fetch" >> FetchUnits(
            job.pool, job.rows, job.fetch, workers=job.fetch.workers, lists=job.lists, max_failure_rate=job.max_failure_rate
        )
    else:
        units = pipeline | "Committed" >> beam.Create(job.committed)
    if job.scores:
        if job.fetches and job.spreads:
            units = units | "Spread to score" >> beam.Reshuffle()
        score = ScoreUnits(job.pool, job.scorers, job.pass_, threads=job.threads, reads=job.reads, sharing=job.share_models)
        _ = units | "Score" >> score.with_resource_hints(**job.score_hints)


def select_graph(pipeline: beam.Pipeline, job: ReleaseJob) -> None:
    """Scored units to decisions. Keys and ranks are shuffled."""
    units = pipeline | "Scored" >> beam.Create(job.units)
    _ = units | "Select" >> SelectPairs(
        job.pool, job.release, job.rules, job.plan, rows=job.rows, lists=job.lists, settled=job.reviews.digest
    )


def shard_graph(pipeline: beam.Pipeline, job: ReleaseJob, *, shards: int) -> None:
    """Decided units to shards. Uid, unit and row of what is kept are shuffled."""
    units = pipeline | "Decided" >> beam.Create(job.units)
    policy = job.rules.policy
    _ = units | "Shard" >> WriteShards(
        job.pool, job.release, job.target, shards=shards, score_columns=job.score_columns, redact=policy.captions.personal_data == "redact",
        captions=policy.caption_version, parent=job.parent,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what pipelines.run.command turns into messages."""
    args, beam_flags = parser().parse_with_beam(sys.argv[1:] if argv is None else argv)
    _check(args)
    if args.check_job is not None:
        lines, code = check_job(args, beam_flags, (pool_graph, select_graph, shard_graph))
        say("\n".join(lines))
        return code
    if args.plan:
        say("\n".join(plan_lines(args)))
        return EXIT_DONE
    launches = hands_over(args, beam_flags)
    if args.stop_after not in ("fetch", "score"):
        check_reviews(args.dataset, args.reviews)
    started = time.monotonic()
    store = open_store(args.dataset)
    out = sys.stderr if args.json else sys.stdout
    if args.what_if:
        for line in what_if(args):
            say(line)
        return EXIT_DONE
    gates = partial(run_gates, suites=suites_with(args.gates)) if args.gates else run_gates  # a broken file is told before hours of work
    engine = Engine(args.runner, workers=args.workers, beam_flags=beam_flags)  # what it lacks is told before hours of work, too
    sweep()  # what killed runs left on this machine
    if args.start_at in ("fetch", "score"):
        there = Pool(store)
        there.store.check_writable()
        if there.settings("engines") is None and args.stop_after != "fetch":
            say(
                f"{store.name}: looking at the source and the models; the engines are chosen once a pool, which takes half a minute",
                out=out,
            )
    about = read_about(store)
    pool_job = open_pool_job(args)
    took = Took()
    with screen(out) as shown, logs_to(log_of(store)), engine:
        graph: dict[str, Any] = {
            "runner": args.runner, "mode": args.running_mode, "workers": args.workers, "beam_flags": beam_flags, "engine": engine,
        }  # fmt: skip
        if pool_job.runs:
            say(pool_job.headline(), out=shown)
            with Progress(pool_job.pool, pass_name=pool_job.pass_.name if pool_job.scores else None, release=None, out=shown).running():
                before, committed = pool_job.rows_done(), pool_job.pool.committed()
                with took.step(pool_job.step, lambda: pool_job.rows_done() - before):
                    going_on(
                        lambda: run_graph(lambda pipeline: pool_graph(pipeline, pool_job), **graph),
                        Attempts(pool_job.pool.store),
                        tell=partial(say, out=shown),
                    )
            if launches:
                say(HANDED_OVER, out=shown)
                return EXIT_DONE
            pool_job.end_retrying()
            for line in lines_of_run(pool_job, args.dataset, before=committed):
                say(line, out=shown)
        deferred = pool_job.deferred()
        if deferred and not args.allow_missing:
            say(deferred_text(pool_job, deferred, args), out=shown)
            return EXIT_DEFERRED
        if args.stop_after in ("fetch", "score"):
            say(_pool_text(pool_job, args), out=shown)
            return EXIT_DONE
        release_job = open_release_job(args, pool_job.pool)
        published, found = release_job.published, None
        release_job.run["took"] = took.steps
        if not published:
            # Great Expectations takes seconds to import; while the graphs run nobody waits for it.
            threading.Thread(target=importlib.import_module, args=("quality.gates.suites",), daemon=True).start()
            progress = Progress(pool_job.pool, pass_name=None, release=release_job.release, out=shown)
            with release_job.writing():
                with progress.running():
                    if release_job.selects:
                        with took.step("select", lambda: release_job.rows):
                            run_graph(lambda pipeline: select_graph(pipeline, release_job), shuffles=True, **graph)
                    if release_job.shards:
                        shards = release_job.fix_shards()
                        with took.step("shard", lambda: sum(unit.keep for unit in release_job.release.decided())):
                            run_graph(lambda pipeline: shard_graph(pipeline, release_job, shards=shards), **graph)
                        if not launches:
                            release_job.refer_to_parent()
                if launches:
                    say(HANDED_OVER, out=shown)
                    return EXIT_DONE
                if args.stop_after is None:
                    try:
                        found = publish(
                            release_job.pool, release_job.release,
                            gates=gates, allow_missing=args.allow_missing, selected_with=release_job.lists,
                        ).gates  # fmt: skip
                    except ListedPairs as error:
                        say(str(error), out=shown)
                        return EXIT_GATE
                    except GateFailed as error:
                        for line in _funnel_text(release_job, funnel_of(release_job.pool, release_job.release)):
                            say(line, out=shown)
                        say(f"\n{error}", out=shown)  # the last thing on the screen
                        return EXIT_GATE
        if args.stop_after is None and (found is not None or not has_documents(release_job.release)):
            write_documents(release_job.pool, release_job.release, about)
    funnel = funnel_of(release_job.pool, release_job.release)
    if args.json:
        told = _as_json(release_job, funnel, time.monotonic() - started)
        say(json.dumps(told if found is None else {**told, "gates": found.as_dict()}, sort_keys=True), out=sys.stdout)
    else:
        seconds = time.monotonic() - started
        for line in _summary(release_job, funnel, found, already=published, seconds=seconds, finished=args.stop_after is None):
            say(line)
    return EXIT_DEFERRED if deferred else EXIT_DONE


def _check(args: argparse.Namespace) -> None:
    steps = ["fetch", "score", "select", "shard"]
    if args.stop_after and steps.index(args.stop_after) < steps.index(args.start_at):
        raise UsageError(f"--stop_after {args.stop_after} comes before --start_at {args.start_at}")
    if args.what_if and args.start_at != "select":
        raise UsageError("--what_if decides about stored scores: add --start_at select")
    if args.against is not None and not args.what_if:
        raise UsageError("--against compares policies without writing anything: add --what_if")
    if args.retry_failed and args.start_at != "fetch":
        raise UsageError(f"--retry_failed fetches again: leave --start_at {args.start_at} out")
    if args.captions is not None and args.start_at != "score":
        raise UsageError("--captions scores a version of the captions of pairs that are fetched: add --start_at score")
    if args.add_source and args.source is None:
        raise UsageError("--add_source needs --source")


def deferred_text(job: PoolJob, deferred: dict[str, int], args: argparse.Namespace) -> str:
    """What is not fetched and why, and what to do. deferred: rows of planned units that are not committed."""
    noted, lines = job.pool.deferred(), []
    for silent, why in ((True, "were deferred: the network was down, or nothing of them came in time"), (False, "are not fetched yet")):
        rows = [rows for unit, rows in deferred.items() if (unit in noted) is silent]
        if rows:
            lines.append(f"{len(rows)} units ({sum(rows):,} pairs) {why}.")
    several = args.source is not None and len((job.pool.settings("source") or {"sources": ()})["sources"]) > 1
    again = f"Run the same command again{', without --source,' if several else ''} to fetch them; nothing that is done is done twice."
    return "\n".join([*lines, f"{again} To publish without them: --allow_missing"])


def _pool_text(job: PoolJob, args: argparse.Namespace) -> str:
    done = f"{len(job.committed):,} units are in {job.pool.store.path_of('pool')}"
    return "\n".join([done, *_tars_lines(job.pool, {}), f"next: {this_python()} -m pipelines.ingest --dataset {args.dataset}"])


def _summary(job: ReleaseJob, funnel: Funnel, gates: GateResults | None, *, already: bool, seconds: float, finished: bool) -> list[str]:
    store = job.pool.store
    place = store.path_of(job.release.path)
    lines = _funnel_text(job, funnel, already=already)
    lines += _lists_lines(job, funnel)
    told = job.reviews.line(counts_of(funnel.reasons))
    lines += [] if told is None else ["", told]
    if gates is not None:
        lines += ["", f"gates: {gates.text()}"]
    shards = job.release.shards()
    lines += ["", "where everything is"]
    if shards:
        own = [shard for shard in shards if job.release.holder(shard.shard) == job.release.name]
        if own:
            lines.append(f"  shards     {place}/shards  ({_tars_and_size(own)})")
        if elsewhere := [shard for shard in shards if shard not in own]:
            holders = sorted({job.release.holder(shard.shard) for shard in elsewhere})
            lines.append(
                f"  unchanged  {', '.join(store.path_of(f'releases/{name}/shards') for name in holders)}  ({_tars_and_size(elsewhere)})"
            )
    lines += [
        f"  decisions  {place}/decisions  (a verdict and its reasons for every pair)",
        *([f"  manifest   {place}/manifest.json"] if finished else []),
        *([f"  documents  {place}/README.md  (attribution, obligations, Croissant, datasheet, AI Act)"] if finished else []),
        f"  pool       {store.path_of('pool')}  (what was fetched and measured)",
        f"  log        {log_of(store)}",
        "",
        f"{funnel.rows:,} pairs in {duration(seconds)}"
        + (f", {funnel.rows / seconds:,.0f} pairs/s" if seconds >= 1 and not already else ""),
        f"next: {this_python()} -m quality.report --dataset {as_typed(store.root)}",
        f"      {this_python()} -m pipelines.explain --dataset {as_typed(store.root)} --uid {_an_uid(job)}",
    ]
    return lines


def _tars_and_size(shards: Sequence[Shard]) -> str:
    return f"{len(shards)} tar{'s' if len(shards) != 1 else ''}, {sum(shard.bytes for shard in shards) / 1e6:,.1f} MB"


def _funnel_text(job: ReleaseJob, funnel: Funnel, *, already: bool = False) -> list[str]:
    """Which release by which policy, what became of every row, and the commonest reasons."""
    policy = job.run["policy"]["name"]
    captions = f", captions {job.plan.captions}" if job.plan.captions else ""
    head = f"Release {job.release.name} by policy {policy}{captions}" + (f" ({ALREADY})" if already else "")
    parent = None if job.run["parent"] in (None, job.release.name) else Release(job.pool.store, job.run["parent"]).run()
    if parent is not None and parent["policy"]["name"] != policy:
        head += f"; its parent {job.run['parent']} was made by {parent['policy']['name']}"
    lines = ["", head, "", *funnel_lines(funnel)]
    if funnel.reasons:
        lines += ["", "commonest reasons"] + [f"  {reason:<28}{count:>9,}  {text}" for reason, count, text in funnel.commonest()]
    return lines


def _lists_lines(job: ReleaseJob, funnel: Funnel) -> list[str]:
    """What block lists did, and what they could not do."""
    listed, never_stored = funnel.reasons.get(LISTED, 0), funnel.statuses.get("blocked", 0)
    lines = []
    if listed:
        kinds = Counter[str]()
        for blocked in job.pool.incidents().values():
            kinds.update(blocked)
        by_kind = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
        lines.append(
            f"block lists: {listed:,} pairs stopped, {never_stored:,} of them before anything was stored"
            + (f" ({by_kind})" if kinds else "")
        )
    if listed > never_stored:
        lines.append(
            f"  {listed - never_stored:,} were fetched before they were listed: in no shard and no decision of this release, but still in the "
            "pool, or in your tars, and in releases that were made before; python -m pipelines.forget removes them from ours"
        )
    lines += _tars_lines(job.pool, {unit.unit: unit.reasons.get(LISTED, 0) for unit in job.release.decided()})
    if job.lists_of_bytes:
        lines.append("  MD5 and SHA-1 lists were held against what was fetched since they were given, not against older pairs of the pool")
    return ["", *lines] if lines else []


def _tars_lines(pool: Pool, listed: Mapping[str, int]) -> list[str]:
    holding = tars_that_hold_listed(pool, listed)
    told = ["  your own tars are never changed; these still hold images that a list stopped:"] if holding else []
    return told + [f"    {tar}" for tar in holding]


def _an_uid(job: ReleaseJob) -> str:
    """One pair that was dropped, if any was: what a user asks about first."""
    for unit in job.release.decided():
        table = job.release.read_decisions(unit.unit, ["uid", "verdict"])
        for uid, verdict in zip(table["uid"].to_pylist(), table["verdict"].to_pylist(), strict=True):
            if verdict not in (None, "keep") and uid is not None:
                return uid
    return "UID"


def _as_json(job: ReleaseJob, funnel: Funnel, seconds: float) -> dict:
    shards = job.release.shards()
    return {
        "dataset": job.pool.store.root,
        "release": job.release.name,
        "funnel": asdict(funnel),
        "balanced": funnel.balanced,
        "shards": len(shards),
        "shard_bytes": sum(shard.bytes for shard in shards),
        "seconds": round(seconds, 3),
    }


if __name__ == "__main__":
    sys.exit(command(main))
