"""An image-to-text model of transformers in a folder: BLIP, BLIP-2, GIT, LLaVA and others that AutoModelForImageTextToText opens."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from quality.captioners.protocol import CaptionerError, Settings
from schemas.digest import digest_of_file, digest_of_json

_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")
_COUNTS: Final = (".json", ".safetensors", ".bin", ".model", ".txt", ".jinja")  # endings of files that fix what a model says


class ImageToText:
    """model: a folder, or a hub's name. Code that lies in a folder is not run. Raises CaptionerError."""

    def __init__(self, model: str, settings: Settings, *, device: str = "cpu"):
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        folder = _folder_of(model)
        self.name = folder.resolve().name if Path(model).is_dir() else model
        self.settings, self._device = settings, device
        self.weights = _digest_of(folder)
        try:
            self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            opened = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=getattr(torch, settings.dtype))
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise CaptionerError(f"{model}: transformers cannot open it as an image-to-text model: {error}") from error
        if not hasattr(self._processor, "batch_decode"):
            raise CaptionerError(f"{model}: its processor has no tokenizer; give the folder that save_pretrained of both has written")
        self._model = opened.eval().to(device)

    def write(self, images: Sequence[np.ndarray]) -> list[str]:
        import torch

        inputs = self._inputs([Image.fromarray(image) for image in images])
        with torch.inference_mode():
            told = self._model.generate(
                **inputs, do_sample=False, num_beams=self.settings.beams, max_new_tokens=self.settings.tokens, num_return_sequences=1
            )
        # Most models begin with what they were asked.
        asked = "" if "input_ids" not in inputs else self._texts(inputs["input_ids"][:1])[0]
        return [text.removeprefix(asked).strip() for text in self._texts(told)]

    def _texts(self, tokens: Any) -> list[str]:
        return self._processor.batch_decode(tokens, skip_special_tokens=True)

    def _inputs(self, images: list[Image.Image]) -> dict[str, Any]:
        prompt = self.settings.prompt
        if prompt is None:
            made = self._processor(images=images, return_tensors="pt")
        else:
            texts = [self._asked(prompt)] * len(images)
            made = self._processor(images=images, text=texts, return_tensors="pt", padding=True)
            made.pop("token_type_ids", None)  # tokenizers of BERT's kind give them, and no model here takes them
            if self._model.config.model_type == "git":  # it goes on from its prompt as it stands: without the token that ends a text
                made["input_ids"], made["attention_mask"] = made["input_ids"][:, :-1], made["attention_mask"][:, :-1]
        dtype = next(self._model.parameters()).dtype
        return {
            name: value.to(self._device, dtype) if value.is_floating_point() else value.to(self._device) for name, value in made.items()
        }

    def _asked(self, prompt: str) -> str:
        """The prompt as a model that chats wants it."""
        if not getattr(self._processor, "chat_template", None):
            return prompt
        said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
        return self._processor.apply_chat_template(said, add_generation_prompt=True, tokenize=False)


def _folder_of(model: str) -> Path:
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CaptionerError(f"{path}: no config.json there; give a folder that save_pretrained of transformers has written")
        return path
    if path.exists() or not _HUB_NAME.fullmatch(model):
        raise CaptionerError(f"{model}: no such folder; give one of transformers', a hub's name like owner/model, or coca_ViT-B-32")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=[f"*{ending}" for ending in _COUNTS]))
    except (OSError, ValueError) as error:
        raise CaptionerError(f"{model}: no such folder, and not to be had from a hub: {error}") from error


def _digest_of(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in _COUNTS and path.is_file())
    return digest_of_json({path.name: digest_of_file(path) for path in files})
