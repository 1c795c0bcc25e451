"""Measures the embedded CLIP model on pairs it was not trained on, through open_clip as its users load it.

python -m training.clip.evaluate --corpus DIR [--weights DIR] [--json] [--out FILE]
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F

from training.clip.measures import measure, mismatched
from training.clip.prepare import HELD_OUT_DRAWINGS, Pair, read_corpus
from training.clip.towers import assemble, chunks, on_background, opened, write_json

CLIP_ART = 500  # held-out pairs of the Open Clip Art library
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
KEPT = 0.95  # share of matched pairs above the suggested cut
HEADINGS = ("pairs", "auc", "text_to_image_r1", "text_to_image_r10", "image_to_text_r1", "image_to_text_r10")


@dataclass(frozen=True)
class Question:
    """Something to measure: `pairs` with the captions in one language."""

    name: str
    pairs: Sequence[Pair]
    korean: bool = False

    @property
    def captions(self) -> list[str]:
        return [(pair.caption_ko or "") if self.korean else pair.caption for pair in self.pairs]


class Encoder:
    """Unit vectors by the open_clip folder, each image and text encoded once."""

    def __init__(self, folder: Path, corpus: Path):
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        self.corpus = corpus
        self.known: dict[str, np.ndarray] = {}

    @torch.inference_mode()
    def images(self, files: Sequence[str]) -> np.ndarray:
        for batch in chunks([file for file in files if file not in self.known], 32):
            pixels = torch.stack([self.preprocess(on_background(opened(self.corpus / file))) for file in batch])
            self.known.update(zip(batch, self.model.encode_image(pixels, normalize=True).numpy(), strict=True))
        return np.stack([self.known[file] for file in files])

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> np.ndarray:
        vectors = []
        for batch in chunks(texts, 64):
            ids = self.tokenizer(list(batch))
            ids = ids[:, : int((ids != 0).sum(1).max())]  # the mask makes padding worthless, and costly all the same
            vectors.append(F.normalize(self.model.encode_text(ids), dim=1).numpy())
        return np.concatenate(vectors)


def questions(pairs: Sequence[Pair]) -> list[Question]:
    """What is asked of the model, on pairs of the held-out split or of the held-out drawings."""
    clip_art = _by_hash([pair for pair in pairs if pair.collection == "openclipart" and pair.split == "heldout"])
    drawings = [pair for pair in pairs if pair.collection == HELD_OUT_DRAWINGS and pair.caption_ko is not None and not pair.toned]
    unseen = [pair for pair in drawings if pair.split == "heldout"]
    once = list({pair.caption.casefold(): pair for pair in reversed(clip_art)}.values())[::-1]
    return [
        Question(f"Open Clip Art, heldout, {min(CLIP_ART, len(once))} of one caption each", once[:CLIP_ART]),
        Question("Open Clip Art, heldout, all, English", clip_art),
        Question("OpenMoji, all named drawings, English", drawings),
        Question("OpenMoji, all named drawings, Korean", drawings, korean=True),
        Question("OpenMoji, heldout concepts only, English", unseen),
        Question("OpenMoji, heldout concepts only, Korean", unseen, korean=True),
    ]


def answer(question: Question, encoder: Encoder) -> dict[str, float]:
    """The measures of one question; pairs of one concept or caption are no mismatches of each other."""
    image, text = encoder.images([pair.file for pair in question.pairs]), encoder.texts(question.captions)
    return measure(image, text, _groups(question))


def calibration(pairs: Sequence[Pair], encoder: Encoder) -> dict[str, object]:
    """Similarities on the validation split: quantiles of matched and mismatched pairs, and the bound that keeps KEPT of the matched."""
    validation = [pair for pair in pairs if pair.split == "validation" and not pair.toned]
    asked = {
        "Open Clip Art": Question("", [pair for pair in validation if pair.collection == "openclipart" and pair.captioned]),
        "icons, English": Question("", [pair for pair in validation if pair.collection not in ("openclipart", HELD_OUT_DRAWINGS)]),
        "emoji, Korean": Question(
            "", [pair for pair in validation if pair.collection != HELD_OUT_DRAWINGS and pair.caption_ko is not None], korean=True
        ),
    }
    found: dict[str, object] = {"split": "validation", "quantiles": list(QUANTILES)}
    for name, question in asked.items():
        similarity = encoder.texts(question.captions) @ encoder.images([pair.file for pair in question.pairs]).T
        own, others = similarity.diagonal(), mismatched(similarity, _groups(question))
        cuts = {
            f"keeps {share:.0%} of matched": {
                "min": round(float(np.quantile(own, 1 - share)), 3),
                "drops_mismatched": float((others < np.quantile(own, 1 - share)).mean()),
            }
            for share in (0.9, KEPT)
        }
        found[name] = {
            "pairs": len(own),
            "matched": np.quantile(own, QUANTILES).round(3).tolist(),
            "mismatched": np.quantile(others, QUANTILES).round(3).tolist(),
            **cuts,
        }
    return found


def evaluate(corpus: Path, weights: Path) -> dict[str, Any]:
    """All measures and the calibration of `weights`."""
    pairs = read_corpus(corpus)
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder(assemble(weights, Path(folder)), corpus)
        results = {question.name: answer(question, encoder) for question in questions(pairs)}
        return {"results": results, "calibration": calibration(pairs, encoder)}


def table(results: dict[str, dict[str, float]]) -> str:
    """The measures as a Markdown table."""
    lines = ["| pairs of | pairs | AUC | text to image R@1 | R@10 | image to text R@1 | R@10 |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {found['pairs']:,} | " + " | ".join(f"{found[key]:.3f}" for key in HEADINGS[1:]) + " |"
        for name, found in results.items()
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.clip.evaluate", description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder that python -m training.corpus wrote")
    parser.add_argument("--weights", type=Path, default=Path("quality/embedded"), help="trained weights (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file to write the figures to, as JSON")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    args = parser.parse_args(argv)
    found = evaluate(args.corpus, args.weights)
    if args.out is not None:
        write_json(args.out, found)
    print(json.dumps(found, ensure_ascii=False) if args.json else table(found["results"]))


def _groups(question: Question) -> np.ndarray:
    """A number for each pair, equal for pairs that share concept or caption."""
    first: dict[str, int] = {}
    groups = []
    for index, (pair, caption) in enumerate(zip(question.pairs, question.captions, strict=True)):
        group = min(first.get(f"concept {pair.concept}", index), first.get(f"caption {caption}", index))
        first[f"concept {pair.concept}"] = first[f"caption {caption}"] = group
        groups.append(group)
    return np.array(groups)


def _by_hash(pairs: Sequence[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: hashlib.sha256(pair.file.encode()).digest())


if __name__ == "__main__":
    main()
