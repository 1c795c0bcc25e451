"""Whether one release trains a better model than another, at the same base, steps, batch and seeds. `python -m training.compare --help`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from training.command import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, MISTAKES, count, quieten, say

_NAME: Final = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")

_EXAMPLES = """examples:
  python -m training.compare --releases DATA/releases/raw DATA/releases/curated --reference HELD --steps 300 --seeds 3 --out comparison
      fine-tunes the embedded base three times on each, and measures all six on the same held-out pairs
  python -m training.compare --base models/sd --names all strict --releases DATA/releases/a DATA/releases/b --reference HELD \\
      --steps 2000 --seeds 5 --count 500 --out comparison --method lora --precision bf16 --batch 32
      flags that are not this command's go to python -m training.finetune, the same for every run

Differences are taken seed by seed (second minus first) and given with Student's 95 % interval over seeds: what it tells is how far the
seed of the training decides; pairs, prompts and noise are the same for all. A difference whose interval holds zero is called none.

Where every pair of the reference is of --split, it is given to finetune as --validation: no run trains on what it shows. Else its pairs of
--split are taken, less those that are in one of the two releases.

OUT/comparison.md  comparison.json  comparison.png    the table, all figures, the runs one by one
OUT/grid.png                                          the same prompts and noise: base, first, second
OUT/runs/NAME-SEED   OUT/evaluations/NAME-SEED        what finetune wrote; pictures and figures of each

A stopped comparison goes on with the same command; a finished run is not run again. exit codes: 0 done   2 wrong use, or a run failed
130 interrupted"""


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    p = argparse.ArgumentParser(
        prog="python -m training.compare",
        description="Fine-tunes one base on two releases, with several seeds, and says what is better by how much.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("--base", default="embedded", metavar="MODEL", help="what is fine-tuned, as for training.finetune (default: embedded)")
    p.add_argument("--releases", nargs=2, metavar="RELEASE", required=True, help="two: each a dataset or <dataset>/releases/<name>")
    p.add_argument("--names", nargs=2, metavar="NAME", default=("raw", "curated"), help="of the two in tables (default: raw curated)")
    p.add_argument("--reference", metavar="RELEASE", required=True, help="where the held-out pairs are")
    p.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder for runs, pictures and the comparison")
    p.add_argument("--steps", type=count, default=300, help="of every run (default: 300)")
    p.add_argument("--seeds", type=count, default=3, metavar="N", help="runs a release, of seeds 0 to N-1 (default: 3)")
    p.add_argument("--count", type=count, default=200, help="held-out pairs, and pictures a run (default: 200)")
    p.add_argument(
        "--split", default="heldout", choices=("train", "validation", "heldout", "any"), help="of the reference (default: heldout)"
    )
    p.add_argument("--caption", default="caption", metavar="COLUMN", help="carried column with the prompt (default: caption)")
    p.add_argument("--features", default="embedded", metavar="MODEL", help="as for training.evaluate (default: embedded)")
    p.add_argument("--draw_steps", type=count, default=10, help="of the sampler for each picture (default: 10)")
    p.add_argument("--draw_guidance", type=float, default=4.0, help="its scale (default: 4)")
    p.add_argument("--draw_batch", type=count, default=16, help="pictures drawn at a time (default: 16)")
    p.add_argument(
        "--training_pictures",
        type=int,
        default=2000,
        metavar="N",
        help="of a release, among which copies are looked for (default: 2000; 0: none)",
    )
    p.add_argument("--device", help="cpu or cuda, for measuring (default: cuda where there is one)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    args, passed = parser().parse_known_args(argv)
    if args.names[0] == args.names[1] or any(not name or set(name) - _NAME for name in args.names):
        return say(f"error: --names {' '.join(args.names)}: give two different names of letters, digits, - and _", EXIT_USAGE)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(args, passed)
    except KeyboardInterrupt:
        return say("interrupted; the same command goes on from here", EXIT_INTERRUPTED)
    except MISTAKES as error:
        return say(f"error: {error}", EXIT_USAGE)


def _run(args: argparse.Namespace, passed: Sequence[str]) -> int:
    import torch

    from training.comparing.figures import compare
    from training.comparing.report import write
    from training.comparing.runs import Plan, run_all
    from training.comparing.scores import Scorer, measured_pairs
    from training.releases import open_release

    quieten()
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    releases = [open_release(path, licenses=None, optouts=False) for path in args.releases]  # finetune refuses what may not be learned from
    reference = open_release(args.reference, licenses=None, optouts=False)
    pairs, others, apart = measured_pairs(reference, releases, split=args.split, count=args.count, caption=args.caption)
    validation = ["--validation", args.reference] if apart and "--validation" not in passed else []
    plan = Plan(args.out, args.base, dict(zip(args.names, args.releases, strict=True)), args.steps, args.seeds, (*validation, *passed))
    runs = run_all(plan, say=say)
    scorer = Scorer(
        args.out, args.base, pairs, others, features=args.features, device=args.device, steps=args.draw_steps,
        guidance=args.draw_guidance, batch=args.draw_batch, training_pictures=args.training_pictures, split=args.split, caption=args.caption,
    )  # fmt: skip
    scores = {"base": scorer.score("base", args.base, None)}
    for run in runs:
        scores[run.name] = scorer.score(run.name, str(run.folder), releases[args.names.index(run.of)])
    comparison = compare(plan, runs, scores, pairs=pairs, others=others, split=args.split, features=scorer.label, draw=scorer.settings)
    sys.stdout.write(write(args.out, comparison) + "\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
