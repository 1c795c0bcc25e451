"""Ranks pictures by how well they show their prompt: cosine similarity under an open_clip model."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import open_clip
import torch
from PIL import Image

from training.generation.index import model_digest

EMBEDDED: Final = "embedded"
_LOCAL: Final = "local-dir:"
_DECIMALS: Final = 4  # kept: the last bits hang on batch size and threads


class RankerError(ValueError):
    """The model that ranks cannot be had; the message says why, and what can."""


class Ranker:
    """An open_clip model: `embedded`, NAME/CHECKPOINT (a name of open_clip's, or a file) or `local-dir:FOLDER`. Raises RankerError.

    name: which model it is, for the record, with the digest of its weights and without the path of its file.
    """

    def __init__(self, model: str = EMBEDDED, *, device: str = "cpu"):
        name, checkpoint = (f"{_LOCAL}{embedded_clip_dir()}", None) if model == EMBEDDED else _parts(model)
        try:
            self._model, _, self._preprocess = open_clip.create_model_and_transforms(name, pretrained=checkpoint, device=device)
            self._tokens = open_clip.get_tokenizer(name)
        except (RuntimeError, ValueError, OSError, KeyError) as error:  # open_clip's for names, files and shapes that do not fit
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RankerError(
                f"ranker {model}: {reason}; give embedded, none, NAME/CHECKPOINT (as in ViT-B-32/openai) or local-dir:FOLDER"
            ) from error
        self._model.eval().requires_grad_(False)
        # The embedded model's folder is named by its digest.
        known = name if checkpoint is None else f"{name}/{Path(checkpoint).name}"
        self.name = Path(name).name if model == EMBEDDED else f"{_short(known)} {model_digest({'clip': self._model})}"
        self._device = device
        self._encode: Callable[[np.ndarray], np.ndarray] = (
            _on_openvino(self._model) if model == EMBEDDED and device == "cpu" else self._on_torch
        )
        self._texts: dict[str, np.ndarray] = {}

    def similarity(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        """Cosine of each image with its prompt, float64 (images,), -1 to 1."""
        new = [text for text in dict.fromkeys(prompts) if text not in self._texts]
        if new:
            with torch.no_grad():
                features = self._model.encode_text(self._tokens(new).to(self._device)).float().cpu().numpy()
            self._texts.update(zip(new, _unit(features), strict=True))
        pixels = np.stack([self._preprocess(image).numpy() for image in images])
        shown = _unit(self._encode(pixels))
        return np.round((shown * np.stack([self._texts[text] for text in prompts])).sum(1).astype(np.float64), _DECIMALS)

    def _on_torch(self, pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self._model.encode_image(torch.from_numpy(pixels).to(self._device)).float().cpu().numpy()


def embedded_clip_dir() -> Path:
    """The open_clip folder of the embedded CLIP model, put together, once a machine, by the program that does so at run time. Raises RankerError."""
    run = subprocess.run([sys.executable, "-m", "quality.embedded_clip"], capture_output=True, text=True)
    if run.returncode:
        raise RankerError(f"the embedded CLIP model could not be assembled: {(run.stderr.strip().splitlines() or ['no message'])[-1]}")
    return Path(run.stdout.strip())


def _parts(model: str) -> tuple[str, str | None]:
    if model.startswith((_LOCAL, "hf-hub:")):
        return model, None
    name, slash, checkpoint = model.partition("/")
    if not slash or not checkpoint:
        raise RankerError(f"ranker {model}: give embedded, none, NAME/CHECKPOINT (as in ViT-B-32/openai) or local-dir:FOLDER")
    return name, checkpoint


def _short(name: str) -> str:
    return Path(name.removeprefix(_LOCAL)).name if name.startswith(_LOCAL) else name


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _on_openvino(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The image tower on OpenVINO, fp32: ten times torch's rate for this network on a CPU (tests.bench.engines)."""
    # Importing openvino reports to a server when this package can be imported; when not, it uses its own stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    side = model.visual.image_size
    sides = (side, side) if isinstance(side, int) else tuple(side)
    graph = openvino.convert_model(model.visual, example_input=torch.zeros(1, 3, *sides))
    network = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pixels: network(pixels)[0]
