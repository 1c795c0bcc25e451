"""Takes pairs out of a dataset for good. `python -m pipelines.forget --help`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from pipelines.forgetting.check import check_lines
from pipelines.forgetting.logs import clean_logs, texts_of
from pipelines.forgetting.others import delete_others
from pipelines.forgetting.plan import Found, find, joined, rows_of
from pipelines.forgetting.receipt import lines_of, receipt_of
from pipelines.forgetting.releases import Gates, check_writers, follow_releases
from pipelines.forgetting.request import FLAGS, Named, read_ids
from pipelines.forgetting.reviews import clean_reviews
from pipelines.forgetting.units import rewrite_units
from pipelines.options import EXIT_DONE, EXIT_GATE, Parser, UsageError, positive
from pipelines.progress import say
from pipelines.run import command
from quality.gates import run_gates
from quality.review.server.database import ENVIRONMENT, PATH
from schemas.pool import Pool
from schemas.removals import Removal, Request, removal_id, removals, union_of
from schemas.scratch import sweep

_SHOWN = 20  # numbers of lines
_EXAMPLES = """examples:
  python -m pipelines.forget --dataset cats --urls urls.txt --reason "takedown request 17" --asked_by "the owner, by letter"
      the pairs with these urls, and all that show the same pictures
  python -m pipelines.forget --dataset cats --hashes hashes.txt --reason "court order"
      SHA-256 of files, or pdq: and the PDQ hash of a picture, one a line
  python -m pipelines.forget --dataset cats --resume
      goes on with what was begun; the same command does, too
  python -m pipelines.forget --dataset cats --check
      looks through the whole dataset: nothing of what was removed is left

What is named is refused from now on: by ingest before it is asked for, by its bytes and by its picture, and by select. Units, scores, releases,
reviews and logs are rewritten without it and the old bytes deleted; a release that had a pair is replaced by a new one. Your own tars are never
changed. Run it while no job writes to the dataset. The reason is kept, and shown: do not name persons in it.

exit codes:
  0 done, or nothing found   1 --check found traces, or a gate stopped a new release   2 wrong use   70 a bug   130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what pipelines.run.command turns into messages."""
    args = _parser().parse_args(argv)
    pool = Pool(args.dataset)
    if pool.settings("source") is None and not pool.committed():
        raise UsageError(f"{args.dataset}: no dataset here; check --dataset")
    flags = [flag for flag in FLAGS if getattr(args, flag) is not None]
    if args.check is not None:
        traces, lines = check_lines(pool, args.check or None, database=args.database, workers=args.workers)
        say("\n".join(lines))
        return EXIT_GATE if traces else EXIT_DONE
    sweep()  # what killed runs left on this machine
    if args.resume:
        waiting = [removal for removal in removals(pool.store) if removal.done() is None]
        if not waiting:
            say(f"{args.dataset}: every removal is done")
        return max([_go_on(pool, removal, database=args.database) for removal in waiting], default=EXIT_DONE)
    if len(flags) != 1:
        raise UsageError(f"give one of {', '.join(f'--{flag} FILE' for flag in FLAGS)}; or --resume, or --check")
    if not (args.reason or "").strip():
        raise UsageError('--reason: say why, as in --reason "takedown request 17"; it is kept with the removal')
    named = read_ids(getattr(args, flags[0]), flags[0])
    return forget(pool, named, reason=args.reason, asked_by=args.asked_by, database=args.database)


def forget(
    pool: Pool, named: Named, *, reason: str, asked_by: str | None = None, database: str | None = None, gates: Gates = run_gates
) -> int:
    """Removes what a file names; returns the exit code. May be killed and called again at any moment. gates: of the releases that follow."""
    check_writers(pool.store)
    removal, found = Removal(pool.store, removal_id(named.entries, reason)), None
    others = [other.id for other in removals(pool.store) if other.id != removal.id and other.done() is None]
    if others:  # the releases that follow would have what that one has only begun to take out
        raise UsageError(
            f"removal {others[0]} was begun and has not ended; first run python -m pipelines.forget --dataset {pool.store.root} --resume"
        )
    if removal.request() is None:
        found = find(pool, named.entries, lines=named)
        removal.put_entries(named.entries, found.found)
        counts = {kind: len(values) for kind, values in named.entries.items()}
        removal.put_request(Request(removal.id, reason, asked_by, time.time(), counts))
        say("\n".join(_told_of_lines(named, found.unmet)))
    return _go_on(pool, removal, found, database=database, gates=gates)


def _told_of_lines(named: Named, unmet: Sequence[int]) -> list[str]:
    told = [f"{named.path}: {len(named.lines):,} ids"]
    told += [f"  line {_numbers(named.empty)}: empty"] if named.empty else []
    told += [f"  line {_numbers(unmet)}: no pair of this dataset has it; it is refused from now on all the same"] if unmet else []
    return told


def _numbers(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:_SHOWN])) + (f" and {len(lines) - _SHOWN:,} more" if len(lines) > _SHOWN else "")


def _go_on(pool: Pool, removal: Removal, found: Found | None = None, *, database: str | None, gates: Gates = run_gates) -> int:
    """The steps after the request stands. Each finds out by itself what is left for it to do. found: what a look just now has found."""
    check_writers(pool.store)
    request = removal.request()
    assert request is not None
    by_request = removal.entries(named=True)
    found = found or find(pool, by_request, removal.entries())
    if (done := removal.done()) is not None:
        if not found.plan.num_rows:
            ended = time.strftime("%Y-%m-%d %H:%M", time.localtime(done["ended"]))
            say(f"removal {removal.id} was done {ended}; nothing of it came back, so there is nothing to do")
            return EXIT_DONE
        removal.reopen()
    plan = joined(removal.plan(), found.plan)
    removal.put_entries(by_request, found.found)
    removal.put_plan(plan)
    rows, entries = rows_of(plan), union_of([by_request, found.found])
    logs = clean_logs(pool.store, texts_of(pool, rows), entries)
    units = rewrite_units(pool, rows, entries)
    releases = follow_releases(pool, removal, rows, frozenset(uid.hex() for uid in entries.get("uid", ())), gates=gates)
    reviews = clean_reviews(pool, rows, entries, database=database)
    others = delete_others(pool.store, entries)
    receipt = receipt_of(request, plan, units=units, releases=releases, reviews=reviews, logs=logs, others=others)
    removal.put_done(receipt)
    say("\n".join(lines_of(receipt, pool.store.root)))
    return EXIT_GATE if releases.unpublished else EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m pipelines.forget",
        description="Take pairs out of a dataset for good: out of its pool, releases, reviews and logs; they never come back.",
        epilog=_EXAMPLES,
    )
    p.add_argument("--dataset", metavar="DIR", required=True, help="folder or URL of the dataset")
    for flag, (what, _) in FLAGS.items():
        p.add_argument(f"--{flag}", metavar="FILE", help=f"what to remove, one a line: {what}")
    p.add_argument("--reason", metavar="TEXT", help="why; kept with the removal")
    p.add_argument("--asked_by", metavar="WHO", help="on whose word; kept with the removal")
    p.add_argument("--database", metavar="URL", help=f"the review's database (default: {ENVIRONMENT}, else <dataset>/{PATH})")
    p.add_argument("--resume", action="store_true", help="go on with every removal that was begun and not ended")
    p.add_argument("--check", metavar="ID", nargs="?", const="", help="look for traces of what was removed: by one request, or by all")
    p.add_argument("--workers", metavar="N", type=positive, default=os.cpu_count() or 1, help="processes of --check")
    return p


if __name__ == "__main__":
    sys.exit(command(main))
