"""Ranks pictures by how well they show their prompt: cosine similarity under a CLIP model."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from PIL import Image

from training.clip_model import EMBEDDED, ClipModel
from training.measures.distances import unit

_DECIMALS: Final = 4  # kept: the last bits hang on batch size and threads


class Ranker:
    """A CLIP model as training.clip_model names them. name: which one it is, for the record. Raises ClipModelError."""

    def __init__(self, model: str = EMBEDDED, *, device: str = "cpu"):
        self.clip = ClipModel(model, device=device)
        self.name = self.clip.identity
        self._texts: dict[str, np.ndarray] = {}

    def similarity(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        """Cosine of each image with its prompt, float64 (images,), -1 to 1."""
        new = [text for text in dict.fromkeys(prompts) if text not in self._texts]
        if new:
            self._texts.update(zip(new, unit(self.clip.texts(new)), strict=True))
        shown = unit(self.clip.images(torch.stack([self.clip.preprocess(image) for image in images])))
        return np.round((shown * np.stack([self._texts[text] for text in prompts])).sum(1), _DECIMALS)
