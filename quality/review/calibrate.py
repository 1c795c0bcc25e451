"""Where a rule's bound should be, from what people answered. `python -m quality.review calibrate --help`."""

import argparse
import difflib
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quality.command import EXIT_DONE, Parser, UsageError, say
from quality.review.bounds import Bound, column_values, find_bound, moves, policy_file, with_number
from quality.review.files import find_answers, read_answers, read_tasks
from quality.review.labels import arrays_of, labels_of
from quality.review.tasks import find_release, policy_of, share
from quality.review.thresholds import Calibration, points_of, propose
from schemas.policy import Policy, read_policy
from schemas.pool import Pool
from schemas.release import Release
from schemas.reviews import TASKS_PATH

_EXAMPLES = """examples:
  python -m quality.review calibrate --dataset cats --column clip.similarity --rule 15 --target_precision 0.9
      where a bound must be so that 9 of 10 pairs that it calls are rightly called
  python -m quality.review calibrate --dataset cats --column nsfw.open_nsfw --question nsfw:high --target_recall 0.95 --accept stricter
      and writes stricter.toml: the policy with that one number changed

Precision is the share of the pairs that the bound calls of which people say that the reason holds; recall the share of the pairs of which they say
so that it calls. Each label stands for one over its probability of being asked; what is not answered yet is taken to be like what is, queue by
queue. Intervals are Wilson's of 95 %, of weighted counts with an effective sample size: the lesser of Kish's and of what the variance comes to.
An answer to keep counts too: yes means that the reason does not hold, no that it does if it was named.

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what quality.command.command turns into messages."""
    args = _parser().parse_args(argv)
    pool = Pool(args.dataset)
    release = find_release(pool, args.release)
    bound = find_bound(policy_of(release), args.column, args.question, args.rule)
    standing = _standing(release, args)
    answers = find_answers(pool.store, args.answers)
    if answers is None:
        raise UsageError(
            f"{args.dataset} has no answers yet ({pool.store.path_of('reviews/decisions.parquet')}); review, or give --answers FILE"
        )
    tasks = read_tasks(pool.store) if pool.store.exists(TASKS_PATH) else None
    labels = labels_of(read_answers(*answers), tasks, bound.rule.reason)
    values, truth, weights = arrays_of(labels, column_values(release, args.column))
    if not len(values):
        raise UsageError(
            f"{answers[0].path_of(answers[1])}: no answer to {bound.rule.reason} or keep is settled for a pair that has {args.column}; "
            f"ask: python -m quality.review tasks --dataset {args.dataset} --around {args.column}"
        )
    precision = 0.95 if args.target_precision is None and args.target_recall is None else args.target_precision
    points = points_of(bound, values, truth, weights)
    best = propose(points, now=bound.value, precision=precision, recall=args.target_recall)
    cost = {} if best is None else moves(release, bound, best.at)
    target = f"precision of {precision:g}" if precision is not None else f"recall of {args.target_recall:g}"
    found = Calibration(bound, labels, values, truth, points, target, best, cost)
    say(json.dumps(found.as_dict(), sort_keys=True) if args.json else "\n".join(found.lines()))
    if standing is not None:
        if best is None:
            raise UsageError("--accept: there is no threshold to accept; nothing was written")
        told = _accept(bound, best.at, standing, args.accept)
        if not args.json:
            flags = f"--start_at select --policy {_named(args.accept)}{_read_scorers(bound.policy, standing)}"
            say(f"{told}next: python -m pipelines.ingest --dataset {args.dataset} {flags}")
    return EXIT_DONE


def _standing(release: Release, args: argparse.Namespace) -> Path | None:
    """The file of the policy as it stands, where --accept asks for a new one. Raises UsageError where that cannot be written."""
    if args.accept is None:
        return None
    if Path(_named(args.accept)).exists():
        raise UsageError(f"--accept {_named(args.accept)}: that file stands, and no policy is overwritten; give another name")
    return policy_file(policy_of(release), args.policy)


def _accept(bound: Bound, at: float, old: Path, name: str) -> str:
    """Writes the new policy file; returns the diff. Raises UsageError where a file of that name stands."""
    new = Path(_named(name))
    text = old.read_text("utf-8")
    changed = with_number(text, replace(bound, policy=read_policy(old)), at, where=str(new), folder=new.parent)
    try:
        with new.open("x", encoding="utf-8") as file:
            file.write(changed)
    except OSError as error:
        raise UsageError(f"--accept {new}: {error.strerror}") from error
    diff = difflib.unified_diff(text.splitlines(keepends=True), changed.splitlines(keepends=True), str(old), str(new))
    return f"\n{new} is written:\n{''.join(diff)}\n"


def _read_scorers(policy: Policy, file: Path) -> str:
    """The flags that name the scorers which the release's policy names beyond its file."""
    pairs = zip(policy.rules, read_policy(file).rules, strict=True)
    named = dict.fromkeys(rule.scorer for rule, plain in pairs if rule.scorer is not None and rule.scorer != plain.scorer)
    return "".join(f" --read_scorer {shlex.quote(scorer)}" for scorer in named)


def _named(name: str) -> str:
    return name if name.endswith(".toml") else f"{name}.toml"


def _parser() -> Parser:
    p = Parser(
        prog="python -m quality.review calibrate",
        description="Precision and recall of a rule's bound over its threshold, from people's answers; and a better bound with its cost in pairs.",
        epilog=_EXAMPLES,
    )
    p.add_argument("--dataset", metavar="DIR", required=True, help="folder or URL of the dataset")
    p.add_argument("--column", metavar="NAME", required=True, help="what the rule looks at")
    p.add_argument("--question", metavar="REASON", help="the rule's reason, where rules on the column give several")
    p.add_argument("--rule", metavar="NUMBER", type=int, help="which rule of the policy, from 1, where there are several")
    p.add_argument("--release", metavar="NAME", help="whose policy and pairs (default: the newest)")
    p.add_argument("--answers", metavar="FILE", help="default: reviews/decisions.parquet of the dataset")
    target = p.add_mutually_exclusive_group()
    target.add_argument("--target_precision", metavar="SHARE", type=share, help="propose the bound of most recall with it (default: 0.95)")
    target.add_argument("--target_recall", metavar="SHARE", type=share, help="propose the bound of most precision with it")
    p.add_argument("--policy", metavar="NAME|FILE", help="the release's policy, where it is no packaged one; --accept starts from it")
    p.add_argument("--accept", metavar="NAME", help="write NAME.toml: the policy with the proposed number; never over a file that stands")
    p.add_argument("--json", action="store_true", help="all thresholds as one JSON object on stdout, nothing else there")
    return p
