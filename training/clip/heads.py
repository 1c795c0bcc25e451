"""Trains the two projection heads on features that the frozen towers gave, so that a step costs milliseconds."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from training.clip.towers import Progress, Towers

BATCH = 2048  # pairs a step
RATE = 1.5e-3  # of AdamW
DECAY = 0.1  # its weight decay
IMAGE_DIRECTIONS = 640  # principal directions of the 1280 image features that are trained on
SHRINKAGE = 5.0
DROPOUT = 0.5  # of features, in training only: open_clip's heads have none
KOREAN = 0.5  # share of the pairs with a Korean caption that are shown with it
NEIGHBOURS = 0.5  # share of steps whose batch is made of whole categories: hard negatives


@dataclass(frozen=True)
class Features:
    """What is trained on. `images` are (views, pairs, 1280); each pair names its rows of `texts` (texts, 384) in both languages."""

    images: torch.Tensor
    texts: torch.Tensor
    english: Sequence[Sequence[int]]
    korean: Sequence[Sequence[int]]
    groups: np.ndarray  # (pairs,), equal where two pairs show the same
    categories: np.ndarray  # (pairs,), equal for neighbours


def train_heads(
    features: Features, towers: Towers, *, steps: int, seed: int, progress: Progress = lambda done, of: None
) -> dict[str, torch.Tensor]:
    """Trained tensors under open_clip's names: `visual.head.*`, `text.proj.*`, `logit_scale`. Averaged over the last steps (EMA).

    Training happens behind a whitening of the features, which is then multiplied into the heads' first layers: it converges in a tenth
    of the steps. open_clip's text head has no bias, so its features are scaled without being centred.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    centre = features.images[0].float().mean(0)
    whiten_images = _whitening(features.images[0].float() - centre, IMAGE_DIRECTIONS)
    whiten_texts = _whitening(features.texts, features.texts.shape[1])
    images = torch.stack([(view.float() - centre) @ whiten_images for view in features.images])
    texts = features.texts @ whiten_texts

    image_head, text_head = copy.deepcopy(towers.model.visual.head), copy.deepcopy(towers.model.text.proj)
    image_head.mlp.fc1 = torch.nn.Linear(images.shape[-1], image_head.mlp.fc1.out_features)
    heads = torch.nn.ModuleDict({"image": image_head, "text": text_head}).requires_grad_(True)
    for layer in heads.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    scale = torch.tensor(np.log(1 / 0.07), dtype=torch.float32, requires_grad=True)  # CLIP's start
    weights = list(heads.parameters())
    adam = torch.optim.AdamW(
        [{"params": weights, "weight_decay": DECAY}, {"params": [scale], "weight_decay": 0.0}], lr=RATE, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=RATE, total_steps=steps, pct_start=0.1)
    averaged = torch.optim.swa_utils.AveragedModel(heads, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(1 - 20 / steps))
    batches = batches_of(features.categories, draw)
    for step in range(steps):
        batch = next(batches)
        views = torch.from_numpy(draw.integers(len(images), size=len(batch)))
        chosen = [text_of(features.english[index], features.korean[index], draw) for index in batch]
        image = F.normalize(image_head(F.dropout(images[views, torch.from_numpy(batch)], DROPOUT)), dim=1)
        text = F.normalize(text_head(F.dropout(texts[chosen], DROPOUT)), dim=1)
        groups = torch.from_numpy(features.groups[batch])
        same = (groups[:, None] == groups[None, :]).float()
        loss = contrast(image @ text.T * scale.exp(), same)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        with torch.no_grad():
            scale.clamp_(max=np.log(100.0))  # CLIP's own bound
        averaged.update_parameters(heads)
        progress(step + 1, steps)
    with torch.no_grad():
        mean: Any = averaged.module
        first = mean["image"].mlp.fc1.weight @ whiten_images.T
        named = {f"visual.head.{name}": tensor for name, tensor in mean["image"].state_dict().items()}
        named |= {f"text.proj.{name}": tensor for name, tensor in mean["text"].state_dict().items()}
        named["visual.head.mlp.fc1.weight"] = first
        named["visual.head.mlp.fc1.bias"] = mean["image"].mlp.fc1.bias - first @ centre
        named["text.proj.0.weight"] = mean["text"][0].weight @ whiten_texts.T
        return named | {"logit_scale": scale.detach()}


def _whitening(features: torch.Tensor, directions: int) -> torch.Tensor:
    """(width, directions): onto the principal directions, each scaled to about one; directions of little variance stay small."""
    values, vectors = torch.linalg.eigh(features.T @ features / len(features))
    values, vectors = values[-directions:].clamp(min=0), vectors[:, -directions:]
    return vectors / (values + SHRINKAGE * values.mean()).sqrt()


def contrast(logits: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Cross entropy both ways; the targets of a row are all that show the same."""
    targets = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def text_of(english: Sequence[int], korean: Sequence[int], draw: np.random.Generator) -> int:
    texts = korean if korean and draw.random() < KOREAN else english
    return texts[int(draw.integers(len(texts)))]


def batches_of(categories: np.ndarray, draw: np.random.Generator, *, size: int = BATCH) -> Iterator[np.ndarray]:
    """Batches for ever, each pass over the pairs either shuffled or, for hard negatives, in runs of neighbours."""
    while True:
        order = draw.permutation(len(categories))
        if draw.random() < NEIGHBOURS:
            rank = draw.permutation(int(categories.max()) + 1)
            order = order[np.argsort(rank[categories[order]], kind="stable")]
        starts = draw.permutation(np.arange(0, max(1, len(order) - size + 1), size))
        yield from (order[start : start + size] for start in starts)
