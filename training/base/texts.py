"""The texts of what is trained on, as the pipeline's text encoder turns them into tokens' vectors. Computed once: the encoder is frozen."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from training.base.assemble import text_parts
from training.base.model import TEXT_WIDTH, TOKENS
from training.embedded_clip import embedded_clip_dir

BATCH = 128


def encoded(texts: Sequence[str], work: Path, *, progress: Callable[[int, int], None]) -> np.ndarray:
    """float16 (texts, TOKENS, TEXT_WIDTH), on disk in `work`. Padding is encoded too: `StableDiffusionPipeline` hands it on to the U-Net."""
    named = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    path = work / f"texts-{named}.npy"
    if not path.is_file():
        encoder, tokenizer = text_parts(embedded_clip_dir())
        part = path.with_suffix(".part")
        kept = np.lib.format.open_memmap(part, "w+", np.float16, (len(texts), TOKENS, TEXT_WIDTH))
        last = time.monotonic()
        for start in range(0, len(texts), BATCH):
            some = list(texts[start : start + BATCH])
            tokens = tokenizer(some, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                kept[start : start + len(some)] = encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0].numpy()
            if time.monotonic() - last > 10:
                last = time.monotonic()
                progress(start + len(some), len(texts))
        kept.flush()
        part.rename(path)
    return np.load(path, mmap_mode="r")
