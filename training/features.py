"""What a CLIP model and PDQ see in pictures: the embedded CLIP model, or any that open_clip can load."""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import open_clip
import pdqhash
import torch
from open_clip.hf_model import HFTextEncoder
from PIL import Image

EMBEDDED: Final = "embedded"
BATCH: Final = 64  # pictures, and texts, at a time
Shown = Callable[[int, int], None]  # done, of


class FeaturesError(Exception):
    """The model cannot be loaded as named; the message says what to do."""


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


class Features:
    """A CLIP model by name: "embedded", "local-dir:FOLDER", or "ARCHITECTURE/CHECKPOINT" as in open_clip.list_pretrained, where the
    checkpoint is a tag (looked up on a hub, unless it is in the cache) or a file.

    label: how figures name it. identity: changes with its weights. Raises FeaturesError.
    """

    def __init__(self, name: str = EMBEDDED, *, device: str | None = None):
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        address, checkpoint, self.label, self.identity = _resolve(name)
        try:
            self.model, _, self.preprocess = open_clip.create_model_and_transforms(address, pretrained=checkpoint, device=self.device)
            self.tokenizer = open_clip.get_tokenizer(address)
        except (RuntimeError, ValueError, OSError, KeyError) as error:
            raise FeaturesError(
                f"--features {name}: open_clip cannot load it ({error}); give embedded, or ARCHITECTURE/CHECKPOINT"
            ) from error
        self.model.eval().requires_grad_(False)
        self._tower = self._image_tower()

    def _image_tower(self) -> Callable[[torch.Tensor], np.ndarray]:
        """Torch on a GPU. On a CPU OpenVINO, in fp32: four times torch's speed for the embedded model's EfficientNet."""
        if self.device != "cpu":
            return lambda pixels: self.model.encode_image(pixels.to(self.device)).float().cpu().numpy()
        import openvino

        graph = openvino.convert_model(self.model.visual, example_input=torch.zeros(1, 3, *_side(self.model.visual.image_size)))
        threads = torch.get_num_threads()
        network = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads})
        return lambda pixels: network(pixels.numpy())[0].copy()

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
                vectors.append(self._tower(pixels))
                hashes += hashed
                progress(len(hashes), count)
        return seen_of(np.concatenate(vectors), hashes)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, width) float32, not brought to length 1."""
        rows = []
        for start in range(0, len(texts), BATCH):
            ids = self.tokenizer(list(texts[start : start + BATCH]))
            if isinstance(getattr(self.model, "text", None), HFTextEncoder):
                ids = ids[
                    :, : int((ids != self.model.text.config.pad_token_id).sum(1).max())
                ]  # its mask makes padding worthless, and it costs
            rows.append(self.model.encode_text(ids.to(self.device)).float().cpu().numpy())
        return np.concatenate(rows)


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


def _resolve(name: str) -> tuple[str, str | None, str, str]:
    """What open_clip calls the model, its checkpoint, and how we call it, shortly and exactly."""
    if name == EMBEDDED:
        folder = _embedded_folder()
        return f"local-dir:{folder}", None, "embedded CLIP", folder.name
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not folder.is_dir():
            raise FeaturesError(f"--features {name}: there is no such folder")
        weights = sorted(folder.glob("open_clip_*"))
        digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in weights)).hexdigest()[:16]
        return name, None, f"CLIP of {folder.name}", f"{folder.name}-{digest}"
    architecture, slash, checkpoint = name.partition("/")
    if not slash:
        raise FeaturesError(f"--features {name}: give embedded, local-dir:FOLDER, or ARCHITECTURE/CHECKPOINT, such as ViT-B-32/openai")
    path = Path(checkpoint)
    if not path.is_file():
        return architecture, checkpoint, name, name.replace("/", "-")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return architecture, checkpoint, f"{architecture}/{path.stem}", f"{architecture}-{digest}"


def _embedded_folder() -> Path:
    run = subprocess.run([sys.executable, "-m", "quality.embedded_clip"], capture_output=True, text=True)
    if run.returncode:
        raise FeaturesError(f"the embedded CLIP model could not be put together: {(run.stderr.strip().splitlines() or ['no message'])[-1]}")
    return Path(run.stdout.strip().splitlines()[-1])


def _side(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _pdq(picture: np.ndarray) -> tuple[np.ndarray, int]:
    bits, quality = pdqhash.compute(np.ascontiguousarray(picture))
    return np.packbits(bits.astype(np.uint8)).view(">u8").astype(np.uint64), int(quality)
