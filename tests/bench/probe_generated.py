"""Pictures that a model made against drawings, with no metadata: what a linear probe on stored embeddings tells of them.

    python -m tests.bench.probe_generated [--corpus pigment-corpus] [--model embedded] [--train 1000] [--heldout 500] [--json]

For each of N drawings of the corpus its caption, English and Korean in turn, is a prompt. The drawing, shrunk to the picture's side, and the
picture are written by one encoder with no metadata, and embedded by the scorer `embed`; the probe is the one that `python -m quality.probe`
fits. It is fitted on drawings of the train split and their pictures, and measured on held-out concepts: neither their drawings nor their
prompts were seen by probe or model. Both sides show the same things, so that the probe cannot learn the subject.
The figures are of this one generator: a probe does not carry over to another one (arXiv 2302.10174 and 2503.02857), and in `deepfake` it can
send a pair to review and no further.
"""

import argparse
import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from quality.deepfake.fit import fit
from quality.deepfake.probe import Probe
from quality.deepfake.table import PRIOR, REVIEW
from quality.evaluation.measures import ranking
from quality.intervals import wilson
from quality.scorers.batch import CHUNK_ROWS, PairBatch
from quality.scorers.clip import vectors
from quality.scorers.embed import Embed, without_engine
from training.base.data import colour_drawings, picture64
from training.checkpoints import open_pipeline
from training.clip.prepare import Pair, read_corpus
from training.generate import pictures
from training.generation.progress import Progress

FORMATS: Final = {"png": {}, "jpeg": {"quality": 90}}
RATES: Final = (0.01, 0.05)  # of drawings that may be called generated


def drawings(pairs: Sequence[Pair], split: str, count: int) -> list[Pair]:
    """The first `count` in the order of hashes of their concepts, one drawing a concept."""
    of_concept = {pair.concept: pair for pair in colour_drawings(pairs, split=split)}
    return sorted(of_concept.values(), key=lambda pair: hashlib.sha256(pair.concept.encode()).digest())[:count]


def prompts_of(pairs: Sequence[Pair]) -> list[str]:
    """English captions and, of every second drawing that has one, the Korean."""
    return [pair.caption_ko if number % 2 and pair.caption_ko else pair.caption for number, pair in enumerate(pairs)]


def generated(model: str, prompts: Sequence[str], *, seed: int, steps: int | None, guidance: float | None) -> Iterator[Image.Image]:
    pipeline = open_pipeline(model)
    pipeline.set_progress_bar_config(disable=True)
    with Progress(len(prompts), "pictures") as progress:
        for picture in pictures(pipeline, prompts, seed=seed, steps=steps, guidance=guidance, batch=16, drawn=progress.advance):
            yield picture.image


def encoded(image: Image.Image, format: str) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, format.upper(), **FORMATS[format])
    return out.getvalue()


def embeddings(data: Sequence[bytes], engine: str, cache: Path) -> tuple[np.ndarray, str]:
    """(rows x numbers, their version) as the scorer `embed` stores them."""
    scorer = Embed(engines={"embed.image": engine}, cache=cache)
    scorer.load()
    parts = [
        vectors(scorer.score(PairBatch([None] * len(some), list(some))).column("image"))
        for some in (data[at : at + CHUNK_ROWS] for at in range(0, len(data), CHUNK_ROWS))
    ]
    return np.concatenate(parts), without_engine(scorer.version)


def recall_at(rate: float, score: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Share of generated pictures above the score that at most `rate` of the drawings exceed, with Wilson's interval."""
    real = np.sort(score[~truth])[::-1]
    found = int((score[truth] > real[int(rate * len(real))]).sum())
    low, high = wilson(found, int(truth.sum()))
    return {"value": found / int(truth.sum()), "low": low, "high": high}


def measured(probe: Probe, rows: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    score = probe.probability(rows)
    to_review = probe.evidence(rows) + PRIOR["synthetic"] >= np.log(REVIEW / (1 - REVIEW))
    return {
        "auc": ranking(truth, score, np.ones(len(truth)))["roc_auc"],
        **{f"recall_at_{rate:g}": recall_at(rate, score, truth) for rate in RATES},
        "sent_to_review": {"generated": float(to_review[truth].mean()), "drawn": float(to_review[~truth].mean())},
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    pairs = read_corpus(args.corpus)
    splits = {"train": drawings(pairs, "train", args.train), "heldout": drawings(pairs, "heldout", args.heldout)}
    every = [pair for some in splits.values() for pair in some]
    made = list(generated(args.model, prompts_of(every), seed=args.seed, steps=args.steps, guidance=args.guidance))
    real = [Image.fromarray(picture64(args.corpus / pair.file)).resize(made[0].size, Image.Resampling.LANCZOS) for pair in every]
    truth = np.array([True] * len(made) + [False] * len(real))
    train = np.tile(np.arange(len(every)) < len(splits["train"]), 2)
    found: dict[str, Any] = {"model": args.model, "side": made[0].width, "pictures": {name: len(some) for name, some in splits.items()}}
    with tempfile.TemporaryDirectory() as cache:
        for format in FORMATS:
            rows, version = embeddings([encoded(image, format) for image in (*made, *real)], args.engine, Path(cache))
            uids = [f"{number}" for number in np.flatnonzero(train)]
            probe = fit(uids, rows[train], truth[train], embedding=version)
            found[format] = measured(probe, rows[~train], truth[~train]) | {"auc_of_folds": probe.card["held_out"]["roc_auc"]}
            if args.out is not None:
                args.out.mkdir(parents=True, exist_ok=True)
                (args.out / f"probe-{format}.json").write_text(probe.to_json() + "\n", "utf-8")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("pigment-corpus"))
    parser.add_argument("--model", default="embedded", help="any text-to-image pipeline (default: %(default)s)")
    parser.add_argument("--train", type=int, default=1000, help="drawings, and as many pictures (default: %(default)s)")
    parser.add_argument("--heldout", type=int, default=500, help="likewise (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="of denoising (default: the sampler's)")
    parser.add_argument("--guidance", type=float, help="(default: the pipeline's)")
    parser.add_argument("--engine", default="openvino-f32", help="of the embeddings (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="a folder for the probes")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    found = measure(args)
    if args.json:
        print(json.dumps(found))
        return 0
    counts = found["pictures"]
    print(
        f"{found['model']} against drawings at {found['side']} px: {counts['train']:,} of each to fit, {counts['heldout']:,} of each held out"
    )
    for format in FORMATS:
        row = found[format]
        print(f"{format}: AUC {_interval(row['auc'])} (on folds of the train split {_interval(row['auc_of_folds'])})")
        print(
            "".join(
                f"      recall {_interval(row[f'recall_at_{rate:g}'])} with {rate:.0%} of drawings called generated\n" for rate in RATES
            ),
            end="",
        )
        review = row["sent_to_review"]
        print(f"      sent to review by `deepfake`: {review['generated']:.1%} of the generated, {review['drawn']:.1%} of the drawings")
    return 0


def _interval(found: dict[str, Any]) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
