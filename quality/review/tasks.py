"""What people are asked: reviews/tasks.parquet. `python -m quality.review tasks --help`."""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa

from quality.command import EXIT_DONE, Parser, UsageError, say
from quality.review.around import sample_around
from quality.review.files import put_table, read_tasks
from quality.review.gold import read_gold
from quality.review.sampling import Asked, sample
from quality.review.shown import tasks_of, without_listed
from schemas.policy import Policy, parse_stored_policy
from schemas.pool import Pool
from schemas.release import Release, latest
from schemas.reviews import QUEUES, TASKS, TASKS_PATH

_EXAMPLES = """examples:
  python -m quality.review tasks --dataset cats
      all pairs for review, 2 % of those kept and 2 % of those dropped that a person could bring back
  python -m quality.review tasks --dataset cats --gold known.csv --overlap 0.2
      known.csv has the columns uid, question, answer; a fifth of the tasks is answered by two people
  python -m quality.review tasks --dataset cats --around clip.similarity --pairs 300
      pairs on both sides of the bounds on that column, to calibrate them

Tasks that were there stay; what is on a block list now goes. The same release gives the same tasks. Nobody is asked about a pair with a reason
that stands whatever people say: a legal one, a duplicate, a failed fetch.

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def make_tasks(
    pool: Pool,
    release: Release,
    *,
    kept: float = 0.02,
    dropped: float = 0.02,
    overlap: float = 0.05,
    gold: Iterable[Asked] = (),
    around: str | None = None,
    question: str | None = None,
    pairs: int = 300,
) -> pa.Table:
    """TASKS about a release: all `review` verdicts and samples of shares `kept` and `dropped`; or with `around`, a column's name, about `pairs`
    on both sides of its bounds. And the gold items, which are in no other queue. Raises UsageError, BlockListError."""
    policy = policy_of(release)
    chosen = (
        sample(release, policy, kept=kept, dropped=dropped)
        if around is None
        else sample_around(release, policy, around, question=question, pairs=pairs)
    )
    asked = dict[str, Asked]()
    for each in chain(gold, chosen):
        asked.setdefault(each.task, each)
    return without_listed(pool, tasks_of(pool, release, policy, asked.values(), overlap=overlap))


def appended(standing: pa.Table, new: pa.Table) -> pa.Table:
    """TASKS of both. One that was there stays as it was; only its probability grows, where a larger sample would have had it too."""
    was = dict(zip(standing["task"].to_pylist(), standing["queue"].to_pylist(), strict=True))
    again = dict(zip(new["task"].to_pylist(), new["sampling_probability"].to_pylist(), strict=True))
    grown = [
        probability if queue == "gold" else max(probability, again.get(task, probability))
        for task, queue, probability in zip(was, was.values(), standing["sampling_probability"].to_pylist(), strict=True)
    ]
    place = TASKS.get_field_index("sampling_probability")
    standing = standing.set_column(place, TASKS.field(place), pa.array(grown, pa.float64()))
    added = new.filter(pa.array([task not in was for task in new["task"].to_pylist()], pa.bool_()))
    last = dict[str, int]()
    for queue, order in zip(standing["queue"].to_pylist(), standing["order"].to_pylist(), strict=True):
        last[queue] = max(last.get(queue, -1), order)
    next_of = {queue: last.get(queue, -1) + 1 for queue in QUEUES}
    order = []
    for queue in added["queue"].to_pylist():
        order.append(next_of[queue])
        next_of[queue] += 1
    added = added.set_column(TASKS.get_field_index("order"), TASKS.field("order"), pa.array(order, pa.int32()))
    return pa.concat_tables([standing, added]).combine_chunks()


def policy_of(release: Release) -> Policy:
    """The policy that a release was made by; the values of its lists are not at hand. Raises UsageError."""
    run = release.run()
    if run is None:
        raise UsageError(f"there is no release {release.name} in {release.store.root}; run python -m pipelines.ingest first")
    return parse_stored_policy(run["policy"])


def find_release(pool: Pool, name: str | None) -> Release:
    """The release of that name, else the newest. Raises UsageError."""
    if pool.settings("source") is None:
        raise UsageError(f"{pool.store.root}: no dataset here; check --dataset")
    name = name or latest(pool.store)
    if name is None:
        raise UsageError(f"{pool.store.root} has no published release yet; run python -m pipelines.ingest first")
    return Release(pool.store, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what quality.command.command turns into messages."""
    args = _parser().parse_args(argv)
    pool = Pool(args.dataset)
    release = find_release(pool, args.release)
    gold = read_gold(args.gold, pool, release) if args.gold is not None else []
    if args.question is not None and args.around is None:
        raise UsageError("--question chooses the bounds that --around samples at: add --around COLUMN")
    new = make_tasks(
        pool, release, kept=args.kept, dropped=args.dropped, overlap=args.overlap, gold=gold, around=args.around, question=args.question,
        pairs=args.pairs,
    )  # fmt: skip
    there = pool.store.exists(TASKS_PATH)
    standing = without_listed(pool, read_tasks(pool.store)) if there else TASKS.empty_table()
    tasks = appended(standing, new)
    put_table(pool.store, TASKS_PATH, tasks)
    say("\n".join(_summary(pool, release, standing, tasks)))
    return EXIT_DONE


def _summary(pool: Pool, release: Release, standing: pa.Table, tasks: pa.Table) -> list[str]:
    before, now = (Counter(table["queue"].to_pylist()) for table in (standing, tasks))
    twice = int(np.asarray(tasks["overlap"], np.int64).clip(1).sum()) - tasks.num_rows
    lines = [f"  {queue:<10}{now[queue]:>9,} tasks, {now[queue] - before[queue]:,} of them new   {QUEUES[queue]}" for queue in QUEUES]
    for_review = sum(decided.review for decided in release.decided())
    asked = len({uid for uid, verdict in zip(tasks["uid"].to_pylist(), tasks["verdict"].to_pylist(), strict=True) if verdict == "review"})
    if now["review"] and for_review > asked:
        lines.append(f"  {for_review - asked:,} pairs for review are not asked about: they have a reason that stands whatever people say")
    return [
        f"Release {release.name}: {tasks.num_rows:,} tasks, {tasks.num_rows - standing.num_rows:,} of them new; "
        f"{tasks.num_rows + twice:,} answers wanted",
        *lines,
        f"tasks are in {pool.store.path_of(TASKS_PATH)}",
        f"next: python -m quality.review serve --dataset {pool.store.root}",
    ]


def _parser() -> Parser:
    p = Parser(prog="python -m quality.review tasks", description="Choose what people are asked about a release.", epilog=_EXAMPLES)
    p.add_argument("--dataset", metavar="DIR", required=True, help="folder or URL of the dataset")
    p.add_argument("--release", metavar="NAME", help="default: the newest")
    p.add_argument("--kept", metavar="SHARE", type=share, default=0.02, help="of the kept pairs: should they be in the set?")
    p.add_argument("--dropped", metavar="SHARE", type=share, default=0.02, help="of the dropped pairs that people could bring back")
    p.add_argument("--overlap", metavar="SHARE", type=share, default=0.05, help="of the tasks: those that two people answer")
    p.add_argument("--gold", metavar="FILE", help="CSV or Parquet of uid, question, answer: pairs whose answer is known")
    p.add_argument("--around", metavar="COLUMN", help="instead: pairs on both sides of the policy's bounds on this column")
    p.add_argument("--question", metavar="REASON", help="with --around: which reason, where bounds on the column give several")
    p.add_argument("--pairs", metavar="N", type=int, default=300, help="with --around: about how many")
    return p


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value
