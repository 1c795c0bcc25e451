"""How well a stored score or band agrees with people's answers. `python -m quality.evaluate --help`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quality.command import EXIT_DONE, Parser, UsageError, command, say
from quality.evaluation.join import columns_of
from quality.evaluation.labels import read_labels
from quality.evaluation.plots import can_plot, plots_of
from quality.evaluation.report import lines_of, measured
from schemas.pool import Pool

_EXAMPLES = """examples:
  python -m quality.evaluate --dataset pigment-data --labels answers.csv --column nsfw.open_nsfw --at 0.5,0.8
      answers.csv has the columns uid and answer (yes, no, unsure); yes means: it is not safe for work
  python -m quality.evaluate --dataset pigment-data --labels answers.csv --column deepfake.band --yes review,high --out report/
      a confusion table, as JSON and plots too
  python -m quality.evaluate --dataset pigment-data --labels reviews/decisions.parquet --question clip:low_similarity \\
      --column clip.similarity --lower_is_yes
      the review's own records; where they hold sampling_probability, all figures are weighted by one over it

Shares have Wilson intervals, areas and Brier's score bootstrap intervals, both of 95 %. A pair that was not measured is counted and left out.

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def parser() -> Parser:
    """The parser of this command."""
    p = Parser(
        prog="python -m quality.evaluate",
        description="Precision, recall, ROC and PR areas, calibration and confusion of a stored column against people's answers.",
        epilog=_EXAMPLES,
    )
    p.add_argument("--dataset", metavar="DIR", required=True, help="folder or URL of the dataset")
    p.add_argument("--labels", metavar="FILE", required=True, help="CSV or Parquet of uid and answer, or the review's records")
    p.add_argument("--column", metavar="NAME", required=True, help="stored or computed column, as a policy names it")
    p.add_argument("--scorer", metavar="NAME:MODEL", help="whose column, where several scorers have given it")
    p.add_argument("--question", metavar="WORD", help="only answers to this question")
    p.add_argument("--at", metavar="X,Y", type=_numbers, help="thresholds, inclusive (default: tenths of a range 0..1, else deciles)")
    p.add_argument("--yes", metavar="WORD,WORD", type=_words, help="which words of a text column mean yes (deepfake.band: review,high)")
    p.add_argument("--lower_is_yes", action="store_true", help="a low number means yes")
    p.add_argument("--out", metavar="DIR", help="put evaluation.json and plots there")
    p.add_argument("--json", action="store_true", help="the evaluation as one JSON object on stdout, nothing else there")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what quality.command.command turns into messages."""
    args = parser().parse_args(argv)
    labels = read_labels(args.labels, question=args.question)
    joined = columns_of(Pool(args.dataset), labels.answers, args.column, scorer=args.scorer)
    uids = joined["uid"].to_pylist()
    if not uids:
        raise UsageError(
            f"{args.labels}: none of its {len(labels.answers):,} pairs with a yes or no is in {args.dataset}; are these its uids?"
        )
    truth = np.array([labels.answers[uid] for uid in uids], bool)
    weights = np.array([labels.weights[uid] for uid in uids], np.float64)
    found = measured(
        joined[args.column], joined.schema.field(args.column), truth, weights, at=args.at, yes=args.yes, lower_is_yes=args.lower_is_yes
    )
    result = {
        "dataset": args.dataset,
        "column": args.column,
        "scorer": args.scorer or "as stored",
        "labels": {
            "file": args.labels,
            "records": labels.records,
            "used": len(uids) - found["missing"],
            "unsure": labels.unsure,
            "split": labels.split,
            "not_in_pool": len(labels.answers) - len(uids),
            "weighted": labels.weighted,
        },
        "measured": found,
    }
    if args.json:
        say(json.dumps(result, ensure_ascii=False))
    else:
        say("\n".join(lines_of(result)))
    if args.out is not None:
        try:
            where = _put(Path(args.out), result)
        except OSError as error:
            raise UsageError(f"--out {args.out}: {error.strerror or error}; give a folder that can be written to") from error
        if not args.json:
            say(where)
    return EXIT_DONE


def _put(folder: Path, result: dict) -> str:
    """Writes the files; returns a line that says what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("evaluation.json").write_text(json.dumps(result, ensure_ascii=False, indent=1), "utf-8")
    if not can_plot():
        return f"\n{folder}/evaluation.json; no plots: matplotlib is not installed (pip install 'pigment[plots]')"
    plots = plots_of(result)
    for name, data in plots.items():
        folder.joinpath(name).write_bytes(data)
    return f"\n{folder}/evaluation.json {' '.join(plots)}"


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(command(main))
