"""What the embedded base is trained on: colour drawings of the train split, 64 px, and the texts that each is asked for with."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from training.base.model import SIDE
from training.clip.prepare import Pair, english_texts, korean_texts, read_corpus, trainable
from training.clip.towers import on_background, opened

EMOJI = ("emojione", "fluent-emoji", "fluent-emoji-flat", "noto", "noto-v1", "twemoji")
CLIP_ART = "openclipart"
# Game icons and high contrast emoji are black shapes: no word of a prompt says so, and they would come up for any.
COLLECTIONS = (*EMOJI, CLIP_ART)


def colour_drawings(pairs: Sequence[Pair], *, split: str = "train") -> list[Pair]:
    """The pairs of `split` that training may see and that are coloured drawings with a caption of their own."""
    return [pair for pair in trainable(pairs, split=split) if pair.collection in COLLECTIONS and pair.captioned]


def texts_of(pair: Pair) -> tuple[list[str], list[str]]:
    """(English, Korean) texts: an emoji's name, and its name with keywords, of its concept and not of the set that drew it; a drawing of
    the clip art has one of the two. Encoding texts takes a good part of all the work, hence so few."""
    if pair.collection == CLIP_ART:
        both = _named(english_texts(pair), pair.caption)
        return both[hashlib.sha256(pair.file.encode()).digest()[0] % len(both) :][:1], []
    shared = replace(pair, file=pair.concept, collection="emoji")
    return _named(english_texts(shared), pair.caption), _named(korean_texts(shared), pair.caption_ko or "")


def _named(texts: Sequence[str], caption: str) -> list[str]:
    return [text for text in texts if text == caption or text.startswith(f"{caption}, ")]


def picture64(path: Path) -> np.ndarray:
    """The image at `path` on white, whole, in the middle of 64 x 64 px, uint8 (64, 64, 3)."""
    image = on_background(opened(path))
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3)
    if image.size != (SIDE, SIDE):
        scale = SIDE / max(image.size)
        image = image.resize([max(1, round(edge * scale)) for edge in image.size], Image.Resampling.LANCZOS)
        canvas = Image.new("RGB", (SIDE, SIDE), "white")
        canvas.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
        image = canvas
    return np.asarray(image)


def pictures(corpus: Path, pairs: Sequence[Pair], work: Path) -> np.ndarray:
    """All pictures, uint8 (pairs, 64, 64, 3), kept in `work` by the names of the files."""
    named = hashlib.sha256("\n".join(pair.file for pair in pairs).encode()).hexdigest()[:16]
    path = work / f"pictures-{named}.npy"
    if not path.is_file():
        work.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npy")
        np.save(part, np.stack([picture64(corpus / pair.file) for pair in pairs]))
        part.rename(path)
    return np.load(path)


def corpus_drawings(corpus: Path, *, split: str = "train") -> list[Pair]:
    return colour_drawings(read_corpus(corpus), split=split)
