"""LAION's NSFW heads on CLIP image embeddings, when a user has their weights (MIT, Christoph Schuhmann 2022).

https://github.com/LAION-AI/CLIP-based-NSFW-Detector: `models/clip_ViT-B-32_openai_binary_nsfw_head.pth` (512 numbers, layers of 32, 32, 1) and
`clip_ViT-L-14_openai_binary_nsfw_head.pth` (768; 64, 512, 256, 1). Both are normalised inputs, layers with ReLU between them and a sigmoid
(src/models.py there): state dicts with `norm.mean`, `norm.variance`, `linear_1.weight`, `linear_1.bias` and so on. The older Keras folders
(`clip_autokeras_*`) need TensorFlow and are not read, nor is the head of ViT-H-14, which has another shape.
"""

import hashlib
import pickle
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

# Numbers of an embedding, by which a head is known: the models (open_clip's names) whose OpenAI weights it was trained on.
MODELS: Final = {512: ("ViT-B-32", "ViT-B-32-quickgelu"), 768: ("ViT-L-14", "ViT-L-14-quickgelu")}
WEIGHTS: Final = "openai"
_EPSILON: Final = 1e-10  # added to the standard deviation there


class HeadError(Exception):
    """The head cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class NsfwHead:
    """mean, variance: of the inputs. layers: (weight, bias), weights as outputs x inputs. All float64."""

    mean: np.ndarray
    variance: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """Probability of "not safe for work" of each row; NaN rows give NaN. embeddings: rows x numbers, normalised."""
        values = (embeddings - self.mean) / (np.sqrt(self.variance) + _EPSILON)
        for weight, bias in self.layers[:-1]:
            values = np.maximum(values @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        return 1 / (1 + np.exp(-np.clip(values @ weight.T + bias, -50, 50)))[:, 0]


def read_head(path: str | Path) -> NsfwHead:
    """The head in a `.pth` file. Raises HeadError."""
    import torch

    if Path(path).is_dir():
        raise HeadError(f"{path} is a folder: the Keras form of LAION's head needs TensorFlow; give the .pth of its repository's models/")
    if not Path(path).is_file():
        raise HeadError(f"{path}: no such file; give a .pth of LAION's CLIP-based-NSFW-Detector")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True) if zipfile.is_zipfile(path) else {}
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise HeadError(f"{path}: no weights that torch can read; give a .pth of LAION's CLIP-based-NSFW-Detector") from error
    count = sum(name.endswith(".weight") for name in state) if isinstance(state, dict) else 0
    names = [f"linear_{number}.{part}" for number in range(1, count + 1) for part in ("weight", "bias")]
    if not isinstance(state, dict) or not count or set(state) != {"norm.mean", "norm.variance", *names}:
        raise HeadError(f"{path}: not LAION's head of ViT-B-32 or ViT-L-14 (norm.mean, norm.variance, linear_1.weight …)")
    arrays = {name: tensor.double().numpy() for name, tensor in state.items()}
    head = NsfwHead(
        arrays["norm.mean"], arrays["norm.variance"], tuple((arrays[w], arrays[b]) for w, b in zip(names[::2], names[1::2], strict=True))
    )
    sizes = [len(head.mean), *(len(bias) for _, bias in head.layers)]
    shapes = [(out, into) for into, out in pairwise(sizes)]
    if (
        [weight.shape for weight, _ in head.layers] != shapes
        or sizes[-1] != 1
        or head.variance.shape != head.mean.shape
        or sizes[0] not in MODELS
    ):
        raise HeadError(f"{path}: its layers do not fit one another, or embeddings of {' or '.join(map(str, MODELS))} numbers")
    return head


def check_fits(path: str | Path, head: NsfwHead, model: str) -> None:
    """Raises HeadError unless the embeddings of `model`, named as policies name it ("ViT-L-14/openai"), are those that the head was trained on."""
    wanted = MODELS[len(head.mean)]
    name, _, weights = model.partition("/")
    if name not in wanted or weights != WEIGHTS:
        raise HeadError(
            f"{path} was trained on {wanted[0]}/{WEIGHTS}, and the embeddings here are of {model}; use --clip_model {wanted[0]} "
            f"--clip_checkpoint with OpenAI's weights (--clip_label {WEIGHTS} where they are a file), or leave --nsfw_head out"
        )


def head_digest(path: str | Path) -> str:
    """8 hex digits of the file's SHA-256; part of the scorer's version. Raises HeadError."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]
    except OSError as error:
        raise HeadError(f"{path}: {error.strerror}; give a .pth of LAION's CLIP-based-NSFW-Detector") from error
