"""What a CLIP model and PDQ see in pictures: the embedded CLIP model, or any that open_clip can load."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pdqhash
import torch
from PIL import Image

from training.clip_model import BATCH, ClipModel

Shown = Callable[[int, int], None]  # done, of


@dataclass(frozen=True)
class Seen:
    """n pictures. vectors: (n, width) float32, as the image tower gives them, not brought to length 1. pdq: (n, 4) uint64. quality: (n,)
    uint8, PDQ's, 0 to 100."""

    vectors: np.ndarray
    pdq: np.ndarray
    quality: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: np.ndarray | Sequence[int]) -> "Seen":
        return Seen(self.vectors[rows], self.pdq[rows], self.quality[rows])


class Features(ClipModel):
    """What a CLIP model and PDQ see in pictures."""

    def pictures(self, count: int, load: Callable[[int], np.ndarray], *, progress: Shown = lambda done, all_: None) -> Seen:
        """What is seen in `count` pictures, at least one; load(i) gives the i-th, (height, width, 3) uint8 RGB. Decodes ahead, holds 128 at most."""
        vectors, hashes = [], []

        def batch(start: int) -> tuple[torch.Tensor, list[tuple[np.ndarray, int]]]:
            pictures = [load(index) for index in range(start, min(start + BATCH, count))]
            return torch.stack([self.preprocess(Image.fromarray(picture)) for picture in pictures]), [_pdq(one) for one in pictures]

        starts = iter(range(0, count, BATCH))
        with ThreadPoolExecutor(1, thread_name_prefix="decode") as thread, torch.inference_mode():
            ahead: Future | None = thread.submit(batch, next(starts))
            while ahead is not None:
                pixels, hashed = ahead.result()
                start = next(starts, None)
                ahead = None if start is None else thread.submit(batch, start)
                vectors.append(self.images(pixels))
                hashes += hashed
                progress(len(hashes), count)
        return seen_of(np.concatenate(vectors), hashes)


def seen_of(vectors: np.ndarray, hashes: Sequence[tuple[np.ndarray, int]]) -> Seen:
    pdq = np.stack([one for one, _ in hashes]) if hashes else np.empty((0, 4), np.uint64)
    return Seen(vectors, pdq, np.array([quality for _, quality in hashes], np.uint8))


def kept(folder: Path, features: Features, names: Sequence[str], load: Callable[[int], np.ndarray], *, part: int, progress: Shown) -> Seen:
    """As Features.pictures, of pictures with `names`; what was seen once is in `folder`, also after a stop: `part` pictures at a time.

    A name must stand for the same pixels always. Vectors are kept in fp16 and come back as such, kept or not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known: dict[str, tuple[np.ndarray, np.ndarray, int]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as content:
            known.update(
                zip(content["names"].tolist(), zip(content["vectors"], content["pdq"], content["quality"], strict=True), strict=True)
            )
    missing = [index for index, name in enumerate(names) if name not in known]
    for start in range(0, len(missing), part):
        some = missing[start : start + part]
        seen = features.pictures(
            len(some),
            lambda place, some=some: load(some[place]),  # type: ignore[misc]
            progress=lambda done, _, start=start: progress(start + done, len(missing)),  # type: ignore[misc]
        )
        named, vectors = [names[index] for index in some], seen.vectors.astype(np.float16)
        digest = hashlib.sha256("\n".join(named).encode()).hexdigest()[:16]
        unfinished = folder / f"{digest}.unfinished"
        with unfinished.open("wb") as file:
            np.savez(file, names=np.array(named), vectors=vectors, pdq=seen.pdq, quality=seen.quality)
        unfinished.rename(folder / f"{digest}.npz")
        known.update(zip(named, zip(vectors, seen.pdq, seen.quality, strict=True), strict=True))
    rows = [known[name] for name in names]
    return seen_of(np.stack([vector for vector, _, _ in rows]).astype(np.float32), [(pdq, int(quality)) for _, pdq, quality in rows])


def _pdq(picture: np.ndarray) -> tuple[np.ndarray, int]:
    bits, quality = pdqhash.compute(np.ascontiguousarray(picture))
    return np.packbits(bits.astype(np.uint8)).view(">u8").astype(np.uint64), int(quality)
