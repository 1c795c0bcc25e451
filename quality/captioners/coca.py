"""CoCa of open_clip, written out greedily: its own `generate` asks for parts of transformers that version 5 has no more."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from PIL import Image

from quality.captioners.protocol import CaptionerError, Settings
from schemas.digest import digest_of_file


def is_coca(model: str) -> bool:
    """Whether a name is an architecture of open_clip's that writes captions: coca_ViT-B-32, coca_ViT-L-14."""
    return model.startswith("coca_")


class Coca:
    """model: an architecture. checkpoint: a file of its weights. Raises CaptionerError."""

    def __init__(self, model: str, checkpoint: Path, settings: Settings, *, device: str = "cpu"):
        import open_clip
        import torch

        if settings.beams != 1 or settings.prompt is not None or settings.dtype != "float32":
            raise CaptionerError(f"{model} is written out greedily, in fp32 and without a prompt: leave --beams, --prompt and --dtype out")
        try:
            opened, _, self._prepare = open_clip.create_model_and_transforms(model, pretrained=str(checkpoint), device=device)
        except (RuntimeError, ValueError, OSError, UnpicklingError) as error:
            raise CaptionerError(f"{checkpoint}: open_clip cannot open it as {model}: {str(error).splitlines()[0]}") from error
        self.name, self.weights, self.settings, self._device = model, digest_of_file(checkpoint), settings, device
        self._model: Any = opened.eval()
        self._tokenizer = open_clip.get_tokenizer(model)
        self._first, self._last = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        self._most = min(settings.tokens, self._model.context_length - 1)
        self._torch = torch

    def write(self, images: Sequence[np.ndarray]) -> list[str]:
        torch = self._torch
        with torch.inference_mode():
            pixels = torch.stack([self._prepare(Image.fromarray(image)) for image in images]).to(self._device)
            seen = self._model(pixels)
            tokens = torch.full((len(images), 1), self._first, dtype=torch.long, device=self._device)
            done = torch.zeros(len(images), dtype=torch.bool, device=self._device)
            for _ in range(self._most):
                told = self._model(pixels, tokens, image_latent=seen["image_features"], image_embs=seen["image_embs"], output_labels=False)
                following = told["logits"][:, -1].argmax(-1).masked_fill(done, self._last)
                tokens = torch.cat([tokens, following[:, None]], 1)
                done |= following == self._last
                if bool(done.all()):
                    break
        return [self._text(row) for row in tokens.tolist()]

    def _text(self, tokens: list[int]) -> str:
        words = tokens[1:]
        return self._tokenizer.decode(words[: words.index(self._last)] if self._last in words else words).strip()
