"""Fits a probe on stored embeddings and people's answers: weak evidence for the scorer deepfake. `python -m quality.probe --help`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from quality.command import EXIT_DONE, Parser, UsageError, command, say
from quality.deepfake.fit import FOLDS, FitError, fit
from quality.deepfake.probe import Probe
from quality.evaluation.join import columns_of
from quality.evaluation.labels import read_labels
from quality.scorers.clip import vectors
from quality.scorers.embed import without_engine
from schemas.pool import Pool

_COLUMN: Final = "embed.image"
_EXAMPLES: Final = """examples:
  python -m quality.probe --dataset pigment-data --labels generated.csv --out probe.json
      generated.csv has the columns uid and label (yes: generated or altered, no: not); at least 20 of each, hundreds are better
  python -m pipelines.ingest --dataset pigment-data --start_at score --deepfake_probe probe.json
      the probe counts as weak evidence: it can send a pair to review; it cannot drop one and clears none

The probe belongs to the embeddings that it was fitted on: another --clip_model needs another probe. The file holds a card with its figures on
held-out folds.

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def parser() -> Parser:
    """The parser of this command."""
    p = Parser(
        prog="python -m quality.probe",
        description="A linear probe (logistic, L2) on stored image embeddings, fitted on your own labels and calibrated on held-out folds.",
        epilog=_EXAMPLES,
    )
    p.add_argument("--dataset", metavar="DIR", required=True, help="folder of the dataset; it must have the scorer embed")
    p.add_argument(
        "--labels", metavar="FILE", required=True, help="CSV or Parquet of uid and label (yes, no, unsure), or the review's records"
    )
    p.add_argument("--question", metavar="WORD", help="only answers to this question")
    p.add_argument("--scorer", metavar="NAME:MODEL", help="whose embeddings, as in embed:ViT-B-32/openai, where the pool has several")
    p.add_argument("--out", metavar="FILE", required=True, help="the probe, JSON; replaced if it is there")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what quality.command.command turns into messages."""
    args = parser().parse_args(argv)
    labels = read_labels(args.labels, question=args.question)
    pool = Pool(args.dataset)
    joined = columns_of(pool, labels.answers, _COLUMN, scorer=args.scorer)
    there = joined.filter(joined[_COLUMN].is_valid())
    uids = there["uid"].to_pylist()
    truth = np.array([labels.answers[uid] for uid in uids], bool)
    try:
        probe = fit(uids, vectors(there[_COLUMN].combine_chunks()), truth, embedding=_version(pool, args.scorer))
    except FitError as error:
        raise UsageError(
            f"{args.labels}: {error}; {len(labels.answers) - joined.num_rows} labelled pairs are not in {args.dataset}"
        ) from error
    try:
        Path(args.out).write_text(probe.to_json() + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"--out {args.out}: {error.strerror or error}; give a file that can be written to") from error
    say("\n".join(_lines(probe, args.out)))
    return EXIT_DONE


def _version(pool: Pool, wanted: str | None) -> str:
    """Of the pool's embeddings, without the engine; there is one, or a scorer's is wanted (quality.column_plan saw to it)."""
    scorers = [scorer for pass_ in pool.passes() for scorer in pass_.scorers if _COLUMN in scorer.columns]
    versions = {without_engine(scorer.version) for scorer in scorers if wanted in (None, scorer.calibration)}
    if len(versions) != 1:
        raise UsageError(f"{pool.store.root} has embeddings of {', '.join(sorted(versions))}; name one with --scorer")
    return versions.pop()


def _lines(probe: Probe, out: str) -> list[str]:
    card, area = probe.card, probe.card["held_out"]["roc_auc"]
    brier = card["held_out"]["calibration"]["brier"]
    return [
        f"embeddings {probe.embedding}",
        f"labels     {card['labels']:,}: {card['yes']:,} yes, {card['no']:,} no",
        f"ROC AUC    {area['value']:.3f} [{area['low']:.2f}, {area['high']:.2f}] on {FOLDS} held-out folds, penalty {card['penalty']:g}",
        f"Brier      {brier['value']:.3f} [{brier['low']:.2f}, {brier['high']:.2f}]",
        "",
        "score      mean       share of yes         pairs",
        *(
            f"{row['from']:.1f}..{row['to']:.1f}   {row['mean_score']:<10.3f} "
            f"{row['yes']['value']:.3f} [{row['yes']['low']:.2f}, {row['yes']['high']:.2f}]   {row['yes']['n']:,}"
            for row in card["held_out"]["calibration"]["bins"]
        ),
        "",
        card["note"],
        f"next: python -m pipelines.ingest --dataset … --start_at score --deepfake_probe {out}",
    ]


if __name__ == "__main__":
    sys.exit(command(main))
