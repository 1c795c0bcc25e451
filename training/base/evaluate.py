"""Measures the embedded base: does a judge that took no part in it tell a picture's own prompt from another's?

    python -m training.base.judge --corpus DIR --work DIR
    python -m training.base.evaluate --corpus DIR --work DIR [--model DIR] [--out FILE]

One picture for each of 200 held-out prompts in each language, of seed 0; with --candidates the one that the embedded CLIP ranks first of several,
as training.generate does. Guidance and steps are chosen on prompts of the validation split (--choose). The judge's figures on
real drawings of the same prompts stand beside them: no generator does better by it.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from training.base.assemble import embedded_base_dir
from training.base.data import EMOJI, picture64
from training.base.judge import Eyes, Judge, letters, load
from training.base.model import GUIDANCE, SIDE, STEPS
from training.clip.measures import auc, mismatched
from training.clip.prepare import Pair, read_corpus, trainable
from training.command import EXIT_USAGE, MISTAKES, say
from training.generation.draw import pictures
from training.generation.ranking import Ranker

PROMPTS = 200
CHOOSING = 60  # validation prompts of each language
GUIDANCES, STEP_COUNTS = (1.0, 2.0, 4.0, 7.0), (12,)
GOAL = 0.65
RESAMPLED = 1000
BATCH = 20


@dataclass(frozen=True)
class Prompt:
    """What is asked for, and a real drawing of it."""

    text: str
    pair: Pair


def prompts(pairs: Sequence[Pair], *, split: str, korean: bool, count: int = PROMPTS) -> list[Prompt]:
    """At most `count` different names of emoji in `split`, in the order of their SHA-256; where names are fewer, then names with a keyword."""
    named: dict[str, Prompt] = {}
    worded: dict[str, Prompt] = {}
    for pair in sorted(trainable(pairs, split=split), key=lambda pair: hashlib.sha256(pair.file.encode()).digest()):
        if pair.collection not in EMOJI or pair.caption_ko is None:
            continue
        name, keywords = (pair.caption_ko, pair.keywords_ko) if korean else (pair.caption, pair.keywords)
        named.setdefault(name, Prompt(name, pair))
        for word in keywords[:1]:
            worded.setdefault(f"{name}, {word}", Prompt(f"{name}, {word}", pair))
    return [*named.values(), *worded.values()][:count]


def generate(pipeline: StableDiffusionPipeline, texts: Sequence[str], *, guidance: float, steps: int, candidates: int = 1) -> np.ndarray:
    """A picture of each text, the best of `candidates` by the embedded CLIP: uint8 (texts, 64, 64, 3)."""
    ranker = Ranker() if candidates > 1 else None
    drawn = pictures(pipeline, texts, steps=steps, guidance=guidance, size=(SIDE, SIDE), batch=BATCH, candidates=candidates, ranker=ranker)
    return np.stack([np.asarray(picture.image.convert("RGB")) for picture in drawn])


def similarity(judge: Judge, eyes: Eyes, texts: Sequence[str], images: np.ndarray) -> np.ndarray:
    """Cosines (texts, images)."""
    with torch.inference_mode():
        return (judge.texts([letters(text) for text in texts]) @ judge.images(torch.from_numpy(eyes(images))).T).numpy()


def measured(cosines: np.ndarray, asked: Sequence[Prompt], *, seed: int = 0) -> dict[str, float]:
    """AUC of matched against mismatched prompts of the same pictures, with a 95 % bootstrap interval over concepts."""
    _, groups = np.unique([prompt.pair.concept for prompt in asked], return_inverse=True)
    found = auc(cosines.diagonal(), mismatched(cosines, groups))
    draw, drawn = np.random.default_rng(seed), []
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    for _ in range(RESAMPLED):
        rows = np.concatenate([members[group] for group in draw.integers(0, len(members), len(members))])
        own = cosines.diagonal()[rows]
        drawn.append(auc(own, mismatched(cosines[np.ix_(rows, rows)], groups[rows])))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"prompts": len(asked), "auc": round(found, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def pipeline_of(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(str(folder), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def choose(pipeline: StableDiffusionPipeline, pairs: Sequence[Pair], judge: Judge, eyes: Eyes) -> list[dict]:
    """Figures of every guidance and number of steps on validation prompts, best first."""
    rows = []
    asked = [prompts(pairs, split="validation", korean=korean, count=CHOOSING) for korean in (False, True)]
    for steps in STEP_COUNTS:
        for guidance in GUIDANCES:
            areas = []
            for of_language in asked:
                texts = [prompt.text for prompt in of_language]
                images = generate(pipeline, texts, guidance=guidance, steps=steps)
                areas.append(measured(similarity(judge, eyes, texts, images), of_language)["auc"])
            rows.append({"guidance": guidance, "steps": steps, "english": areas[0], "korean": areas[1]})
            print(f"validation: {rows[-1]}", file=sys.stderr)
    return sorted(rows, key=lambda row: -row["english"] - row["korean"])


def evaluate(
    folder: Path,
    corpus: Path,
    work: Path,
    *,
    guidance: float,
    steps: int,
    candidates: int = 1,
    grid: Path | None = None,
    count: int = PROMPTS,
) -> dict[str, dict[str, float]]:
    """The figures on held-out prompts, of generated pictures and of real ones, in each language; the grid is written when named."""
    from training.base.grid import write_grid

    pairs, judge, eyes = read_corpus(corpus), load(work), Eyes()
    pipeline = pipeline_of(folder)
    results, shown = {}, []
    for language, korean in (("English", False), ("Korean", True)):
        asked = prompts(pairs, split="heldout", korean=korean, count=count)
        texts = [prompt.text for prompt in asked]
        began = time.monotonic()
        images = generate(pipeline, texts, guidance=guidance, steps=steps, candidates=candidates)
        print(f"{language}: {len(texts)} pictures in {time.monotonic() - began:.0f} s", file=sys.stderr)
        real = np.stack([picture64(corpus / prompt.pair.file) for prompt in asked])
        results[f"{language}, generated"] = measured(similarity(judge, eyes, texts, images), asked)
        results[f"{language}, real held-out drawings"] = measured(similarity(judge, eyes, texts, real), asked)
        # What the judge makes of the same pictures when prompts are dealt at random: chance.
        dealt = np.random.default_rng(1).permutation(len(asked))
        results[f"{language}, prompts dealt at random"] = measured(similarity(judge, eyes, texts, images)[:, dealt], asked)
        shown.append((asked, images))
    if grid is not None:
        write_grid(shown, pairs, corpus, work, eyes, grid)
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    lines = ["| pictures of | prompts | AUC | 95 % interval |", "|---|---|---|---|"]
    lines += [f"| {name} | {row['prompts']} | {row['auc']:.3f} | {row['low']:.3f} to {row['high']:.3f} |" for name, row in results.items()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.base.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="folder that python -m training.corpus wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder of training.base.judge")
    parser.add_argument("--model", type=Path, help="pipeline folder (default: the embedded base)")
    parser.add_argument("--guidance", type=float, default=GUIDANCE, help="default: %(default)s, chosen on validation prompts")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the sampler (default: %(default)s)")
    parser.add_argument("--candidates", type=int, default=1, help="of each prompt, the best is kept (default: %(default)s)")
    parser.add_argument("--prompts", type=int, default=PROMPTS, help="of each language (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--choose", action="store_true", help="compare guidances and steps on validation prompts, measure nothing held out")
    parser.add_argument("--grid", type=Path, help="PNG to write: held-out prompts, pictures, and each one's nearest training neighbour")
    parser.add_argument("--out", type=Path, help="file to write the figures to, as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        folder = args.model or embedded_base_dir()
        if args.choose:
            rows = choose(pipeline_of(folder), read_corpus(args.corpus), load(args.work), Eyes())
            print(json.dumps(rows, indent=2))
            return 0
        results = evaluate(
            folder,
            args.corpus,
            args.work,
            guidance=args.guidance,
            steps=args.steps,
            candidates=args.candidates,
            grid=args.grid,
            count=args.prompts,
        )
    except MISTAKES as error:
        return say(f"error: {error}", EXIT_USAGE)
    print(table(results))
    told = {"guidance": args.guidance, "steps": args.steps, "candidates": args.candidates}
    if args.out is not None:
        args.out.write_text(json.dumps({**told, "results": results}, indent=2) + "\n")
    reached = all(row["auc"] >= GOAL for name, row in results.items() if name.endswith("generated"))
    print(f"\ngoal: {GOAL} of generated pictures in both languages, {'reached' if reached else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
