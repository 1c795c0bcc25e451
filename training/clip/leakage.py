"""How far retrieval of held-out pairs rises when their concepts are trained on: the same heads, held-out pairs drawn by pair and by concept.

python -m training.clip.leakage --corpus DIR --work DIR [--folds 3]

One view of each picture through the towers as the wheels have them (no Korean rows, no trained stage), heads trained for the same steps. In a
fold 500 pairs of the Open Clip Art library, one of each caption, are held out: drawn pair by pair, so that "Arrow 02" may be trained on when
"arrow_3" is asked for, or concept by concept, as our splits are. All else is equal: other collections give their pairs of the split `train`.
"""

import argparse
import copy
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from training.clip.heads import Features, train_heads
from training.clip.measures import measure
from training.clip.prepare import Pair, read_corpus, trainable
from training.clip.towers import Towers, assemble
from training.clip.train import features_of, untrained
from training.splits import SPLITS

HELD_OUT = 500  # pairs
STEPS = 400  # of the heads
CLIP_ART = "openclipart"


def held_out(clip_art: Sequence[Pair], fold: int, *, by: str) -> tuple[list[Pair], set[str]]:
    """(pairs that are asked for, concepts that may not be trained on). by: "pair", where that is none, or "concept"."""

    def place(pair: Pair) -> bytes:
        return hashlib.sha256(f"{fold} {pair.file if by == 'pair' else pair.concept}".encode()).digest()

    chosen: dict[str, Pair] = {}
    for pair in sorted(clip_art, key=place):
        if len(chosen) < HELD_OUT:
            chosen.setdefault(pair.caption.casefold(), pair)
    return list(chosen.values()), {pair.concept for pair in chosen.values()} if by == "concept" else set()


def measured(
    pool: Sequence[Pair], features: Features, towers: Towers, asked: Sequence[Pair], forbidden: set[str], *, seed: int
) -> dict[str, float]:
    """Trains heads on `pool` without what is held out, and measures them on it."""
    files = {pair.file for pair in asked}
    rows = np.array([row for row, pair in enumerate(pool) if pair.file not in files and pair.concept not in forbidden])
    _, categories = np.unique(features.categories[rows], return_inverse=True)
    english, korean = ([texts[row] for row in rows] for texts in (features.english, features.korean))
    kept = Features(features.images[:, rows], features.texts, english, korean, features.groups[rows], categories)
    trained = train_heads(kept, towers, steps=STEPS, seed=seed)
    image_head, text_head = copy.deepcopy(towers.model.visual.head), copy.deepcopy(towers.model.text.proj)
    for head, prefix in ((image_head, "visual.head."), (text_head, "text.proj.")):
        head.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in trained.items() if name.startswith(prefix)})
    number = {pair.file: row for row, pair in enumerate(pool)}
    with torch.inference_mode():
        image = F.normalize(image_head(features.images[0, [number[pair.file] for pair in asked]].float()), dim=1).numpy()
        text = F.normalize(text_head(torch.from_numpy(towers.text_features([pair.caption for pair in asked]))), dim=1).numpy()
    _, groups = np.unique([pair.concept for pair in asked], return_inverse=True)
    known = {pool[row].concept for row in rows}
    return {
        "trained": len(rows),
        "known_concepts": float(np.mean([pair.concept in known for pair in asked])),
        **measure(image, text, groups),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.clip.leakage", description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder that python -m training.corpus wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder for features, which are kept")
    parser.add_argument("--folds", type=int, default=3)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    pairs = read_corpus(args.corpus)
    clip_art = [pair for split in SPLITS for pair in trainable(pairs, split=split) if pair.collection == CLIP_ART and pair.captioned]
    pool = [pair for pair in trainable(pairs) if pair.collection != CLIP_ART] + clip_art
    towers = Towers(assemble(untrained(args.work / "weights", []), args.work / "model"))
    features = features_of(pool, args.corpus, args.work, towers, views=1)
    for fold in range(args.folds):
        for by in ("pair", "concept"):
            found = measured(pool, features, towers, *held_out(clip_art, fold, by=by), seed=fold + 1)
            print(json.dumps({"fold": fold, "by": by, **{name: round(value, 3) for name, value in found.items()}}), flush=True)


if __name__ == "__main__":
    main()
