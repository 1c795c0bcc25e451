"""A CLIP model by name, for what ranks and measures pictures: the embedded one, or any that open_clip can load."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import open_clip
import torch
from open_clip.hf_model import HFTextEncoder

from training.embedded_clip import ClipModelError, embedded_clip_dir
from training.generation.index import model_digest

EMBEDDED: Final = "embedded"
BATCH: Final = 64  # pictures, and texts, at a time
_LOCAL: Final = "local-dir:"
_KNOWN: Final = "give embedded, local-dir:FOLDER, or ARCHITECTURE/CHECKPOINT, such as ViT-B-32/openai"


class ClipModel:
    """`embedded`, `local-dir:FOLDER`, or `ARCHITECTURE/CHECKPOINT` as in open_clip.list_pretrained, where the checkpoint is a tag (looked up on a
    hub, unless it is in the cache) or a file.

    label: how figures name it. identity: changes with its weights, and has no path in it. Raises ClipModelError.
    """

    def __init__(self, name: str = EMBEDDED, *, device: str = "cpu"):
        self.device = device
        address, checkpoint, self.label, self.identity = _resolve(name)
        try:
            self.model, _, self.preprocess = open_clip.create_model_and_transforms(address, pretrained=checkpoint, device=device)
            self.tokenizer = open_clip.get_tokenizer(address)
        except (RuntimeError, ValueError, OSError, KeyError) as error:  # open_clip's for names, files and shapes that do not fit
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ClipModelError(f"CLIP model {name}: open_clip cannot load it ({reason}); {_KNOWN}") from error
        self.model.eval().requires_grad_(False)
        if not self.identity:
            self.identity = f"{name.replace('/', '-')}-{model_digest({'clip': self.model})}"
        self._tower = self.on_openvino() if device == "cpu" else self.on_torch

    def images(self, pixels: torch.Tensor) -> np.ndarray:
        """(n, width) float32 of what `preprocess` made, (n, 3, height, width); not brought to length 1."""
        return self._tower(pixels)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, width) float32, not brought to length 1."""
        rows = []
        for start in range(0, len(texts), BATCH):
            ids = self.tokenizer(list(texts[start : start + BATCH]))
            if isinstance(getattr(self.model, "text", None), HFTextEncoder):  # its mask makes padding worthless, and it costs
                ids = ids[:, : int((ids != self.model.text.config.pad_token_id).sum(1).max())]
            rows.append(self.model.encode_text(ids.to(self.device)).float().cpu().numpy())
        return np.concatenate(rows)

    @torch.inference_mode()
    def on_torch(self, pixels: torch.Tensor) -> np.ndarray:
        return self.model.encode_image(pixels.to(self.device)).float().cpu().numpy()

    def on_openvino(self) -> Callable[[torch.Tensor], np.ndarray]:
        """The image tower in fp32, for a CPU: several times torch's rate for the embedded model's EfficientNet (tests.bench.generate)."""
        # Importing openvino reports to a server when this package can be imported; when not, it uses its own stub.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        graph = openvino.convert_model(self.model.visual, example_input=torch.zeros(1, 3, *_sides(self.model.visual.image_size)))
        threads = torch.get_num_threads()
        network = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads})
        return lambda pixels: network(pixels.numpy())[0].copy()


def _resolve(name: str) -> tuple[str, str | None, str, str]:
    """What open_clip calls the model, its checkpoint, and how we call it, shortly and exactly: "" where only the loaded weights tell."""
    if name == EMBEDDED:
        folder = embedded_clip_dir()
        return f"{_LOCAL}{folder}", None, "embedded CLIP", folder.name
    if name.startswith(_LOCAL):
        folder = Path(name.removeprefix(_LOCAL))
        if not folder.is_dir():
            raise ClipModelError(f"CLIP model {name}: there is no such folder; {_KNOWN}")
        return name, None, f"CLIP of {folder.name}", f"{folder.name}-{_digest(*sorted(folder.glob('open_clip_*')))}"
    architecture, slash, checkpoint = name.partition("/")
    if not slash or not checkpoint:
        raise ClipModelError(f"CLIP model {name}: {_KNOWN}")
    path = Path(checkpoint)
    if not path.is_file():
        return architecture, checkpoint, name, ""
    return architecture, checkpoint, f"{architecture}/{path.stem}", f"{architecture}-{_digest(path)}"


def _digest(*files: Path) -> str:
    """16 hex digits of SHA-256 over the files' SHA-256."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _sides(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
