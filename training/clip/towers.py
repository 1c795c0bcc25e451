"""The model being trained, as open_clip loads it, and what its frozen towers make of images and texts."""

import hashlib
import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import open_clip
import tokenizers
import torch
from PIL import Image, ImageEnhance, ImageOps

from training.clip.vocabulary import HANGUL

IMAGE_WIDTH, TEXT_WIDTH = 1280, 384  # pooled features of tf_efficientnet_lite0 and of MiniLM-L6
SPECIAL = 998  # BERT's special and unused tokens have ids up to here
WHITE = (255, 255, 255)
BATCH = 64  # images at a time
Progress = Callable[[int, int], None]


def chunks(items: Sequence, size: int) -> Iterator[Sequence]:
    """Runs of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def assemble(weights: Path, out: Path) -> Path:
    """The open_clip folder of trained `weights`, written to `out` by the program that also makes it at run time."""
    subprocess.run(
        [sys.executable, "-m", "quality.embedded_clip", "--weights", str(weights), "--out", str(out)], check=True, stdout=subprocess.DEVNULL
    )
    return out


class Towers:
    """An open_clip folder, loaded: `model` (evaluation mode, nothing requires gradients), `preprocess`, and the file's tokenizer."""

    def __init__(self, folder: Path):
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        self.model.eval().requires_grad_(False)
        self.length = open_clip.get_tokenizer(f"local-dir:{folder}").context_length
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self.vocabulary = content["model"]["vocab"]
        self.tokenizer = self._tokenizer(content)
        runs = [
            piece for piece in self.vocabulary if len(HANGUL.sub("", composed := unicodedata.normalize("NFC", piece))) + 1 < len(composed)
        ]
        content["model"]["vocab"] = {piece: index for piece, index in self.vocabulary.items() if piece not in set(runs)}
        self.by_syllable = self._tokenizer(content)

    def _tokenizer(self, content: dict) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
        tokenizer.enable_truncation(self.length)
        tokenizer.enable_padding()
        return tokenizer

    def tokens(self, texts: Sequence[str], *, by_syllable: bool = False) -> torch.Tensor:
        """Token ids, (texts, longest), 0 after the end of the shorter ones; `by_syllable` uses no Korean piece longer than a syllable."""
        tokenizer = self.by_syllable if by_syllable else self.tokenizer
        return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch([" ".join(text.split()) for text in texts])])

    def pooled(self, ids: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """MiniLM's mean-pooled output before the projection, (texts, 384). `rows` replace the last word embeddings and get gradients."""
        text = self.model.text
        mask = (ids != text.config.pad_token_id).long()
        return text.pooler(text.transformer(inputs_embeds=self._embedded(ids, rows), attention_mask=mask), mask)

    def words(self, ids: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """The mean of the texts' word embeddings, (texts, 384), [CLS], [SEP] and padding left out: no attention, no layers."""
        mask = (ids > SPECIAL).unsqueeze(-1)
        return (self._embedded(ids, rows) * mask).sum(1) / mask.sum(1).clamp(min=1)

    def _embedded(self, ids: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        text = self.model.text
        words = text.transformer.embeddings.word_embeddings(ids)
        if rows is None:
            return words
        first = text.config.vocab_size - len(rows)
        return torch.where((ids >= first).unsqueeze(-1), rows[(ids - first).clamp(min=0)], words)

    def text_features(self, texts: Sequence[str], *, batch: int = 256) -> np.ndarray:
        """Pooled features of texts, float32 (texts, 384). Texts of one length go together: padding costs as much as words."""
        features = np.empty((len(texts), TEXT_WIDTH), np.float32)
        with torch.inference_mode():
            for chunk in chunks(sorted(range(len(texts)), key=lambda index: len(texts[index])), batch):
                features[chunk] = self.pooled(self.tokens([texts[index] for index in chunk])).numpy()
        return features


class Kept:
    """Features by name, float16, in numbered parts below `folder`: what was computed once is there after a training that was stopped."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, np.ndarray] = {}
        for part in sorted(folder.glob("*.npz")):
            with np.load(part) as content:
                self.known.update(zip(content["names"].tolist(), content["features"], strict=True))

    def read(self, names: Sequence[str], compute: Callable[[Sequence[str]], np.ndarray], *, part: int, progress: Progress) -> np.ndarray:
        """The features of `names`, in their order; those that are missing come from `compute`, `part` at a time."""
        missing = [name for name in dict.fromkeys(names) if name not in self.known]
        for done, some in enumerate(chunks(missing, part)):
            features = compute(some).astype(np.float16)
            named = hashlib.sha256("\n".join(some).encode()).hexdigest()[:16]
            np.savez(self.folder / f"{named}.npz", names=np.array(some), features=features)
            self.known.update(zip(some, features, strict=True))
            progress(min((done + 1) * part, len(missing)), len(missing))
        return np.stack([self.known[name] for name in names])


class ImageNetwork:
    """The image tower before its head, or before `stage` of its stages, on the fastest fp32 engine of a CPU. Holds 128 images at most."""

    def __init__(self, corpus: Path, towers: Towers, *, stage: int | None = None):
        import openvino

        self.corpus, self.preprocess = corpus, towers.preprocess
        trunk = towers.model.visual.trunk
        network = trunk if stage is None else torch.nn.Sequential(trunk.conv_stem, trunk.bn1, *trunk.blocks[:stage])
        graph = openvino.convert_model(network, example_input=torch.zeros(1, 3, *towers.model.visual.image_size))
        self.network = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2})

    def features(self, names: Sequence[str], view: int) -> np.ndarray:
        """Pooled features of view `view` of the named images, float32 (names, 1280), or what enters the stage, (names, channels, height,
        width). View 0 is the picture as the model will see it."""

        def pixels(batch: Sequence[str]) -> np.ndarray:
            return np.stack([self.preprocess(picture(self.corpus / name, name, view)).numpy() for name in batch])

        rows = []
        with ThreadPoolExecutor(1) as thread:  # decodes the next batch while the network has this one
            batches = chunks(names, BATCH)
            ahead: Future[np.ndarray] | None = thread.submit(pixels, next(batches))
            while ahead is not None:
                ready, following = ahead.result(), next(batches, None)
                ahead = None if following is None else thread.submit(pixels, following)
                rows.append(self.network(ready)[0].copy())
        return np.concatenate(rows)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


def on_background(image: Image.Image, colour: tuple[int, int, int] = WHITE) -> Image.Image:
    """An image as RGB, what is transparent showing `colour`."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*colour, 255))
        canvas.alpha_composite(image)
        return canvas.convert("RGB")
    return image.convert("RGB")


def picture(path: Path, name: str, view: int) -> Image.Image:
    """View `view` of the image at `path`, RGB: 0 is the image on white."""
    image = opened(path)
    if view == 0:
        return on_background(image)
    draw = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{view} {name}".encode()).digest()[:8], "big"))
    kind = draw.random()
    grey, (red, green, blue) = int(draw.integers(160, 256)), (int(part) for part in draw.integers(96, 256, 3))
    colour = WHITE if kind < 0.4 else (grey, grey, grey) if kind < 0.6 else (red, green, blue)
    image = on_background(image, colour)
    if draw.random() < 0.4:
        image = ImageOps.mirror(image)
    # A window that is smaller or larger than the picture: a crop, or room around it.
    width, height = image.size
    share = draw.uniform(0.7, 1.25, 2) if draw.random() < 0.8 else np.ones(2)
    left, top = ((1 - share) * draw.uniform(0, 1, 2)) * (width, height)
    image = image.rotate(draw.uniform(-12, 12), Image.Resampling.BILINEAR, fillcolor=colour)
    window = (left, top, left + share[0] * width, top + share[1] * height)
    image = image.transform((width, height), Image.Transform.EXTENT, window, Image.Resampling.BILINEAR, fillcolor=colour)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(draw.uniform(0.75, 1.25))
    return ImageOps.grayscale(image).convert("RGB") if draw.random() < 0.08 else image


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
