"""Trains the last stage of the image tower and both heads together, on the maps that the stages before it gave.

The heads alone can only turn what ImageNet taught; drawings want other features. The last stage, three tenths of the tower's weights, costs 0.3
GFLOP a picture and step on kept maps, where the whole tower would cost eight times that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F

from training.clip.heads import Features, batches_of, contrast, text_of
from training.clip.towers import Progress, Towers

BATCH: Final = 1024  # pairs a step
DECAY: Final = 0.1  # AdamW's weight decay
DROPOUT: Final = 0.5  # of pooled features, in training only, as for the heads
STAGE: Final = 6  # of tf_efficientnet_lite0, from 0: the last
MAP: Final = (192, 7, 7)  # what enters it
# With AVX2 alone bfloat16 is emulated: the steps of a test took minutes where floats take seconds.
_FAST_BFLOAT16: Final = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
TRAINED: Final = (f"visual.trunk.blocks.{STAGE}.", "visual.trunk.conv_head.", "visual.trunk.bn2.")


@dataclass(frozen=True)
class Cycle:
    """steps of one schedule that ends at no rate; rates: the highest of the stage's and of the heads'. The next begins where it ended."""

    steps: int
    stage_rate: float
    head_rate: float


CYCLES: Final = (Cycle(160, 3e-4, 5e-4), Cycle(240, 4e-4, 1e-3))  # warm restarts (Loshchilov, Hutter 2017, arXiv 1608.03983)


class Top(torch.nn.Module):
    """What is trained: the image tower from the last stage's input on, and the text tower's projection."""

    def __init__(self, towers: Towers):
        super().__init__()
        trunk: Any = towers.model.visual.trunk
        self.stage, self.conv_head, self.norm = trunk.blocks[STAGE], trunk.conv_head, trunk.bn2
        self.image_head, self.text_head = towers.model.visual.head, towers.model.text.proj
        self.scale = torch.nn.Parameter(towers.model.logit_scale.detach().clone())

    def images(self, maps: torch.Tensor) -> torch.Tensor:
        """Unit vectors (n, width) of maps (n, 192, 7, 7)."""
        pooled = self.norm(self.conv_head(self.stage(maps))).mean((2, 3)).float()
        return F.normalize(self.image_head(F.dropout(pooled, DROPOUT, self.training)).float(), dim=1)

    def texts(self, features: torch.Tensor) -> torch.Tensor:
        """Unit vectors (n, width) of MiniLM's pooled features (n, 384)."""
        return F.normalize(self.text_head(F.dropout(features, DROPOUT, self.training)), dim=1)


def tune(
    maps: Sequence[np.ndarray],
    features: Features,
    towers: Towers,
    *,
    cycles: Sequence[Cycle] = CYCLES,
    seed: int,
    progress: Progress = lambda done, of: None,
) -> dict[str, torch.Tensor]:
    """Trained tensors under open_clip's names: those of TRAINED, `visual.head.*`, `text.proj.*`, `logit_scale`.

    maps: of each view (pairs, 192, 7, 7), float16, read a batch at a time. features: its texts, groups and categories. towers: with trained
    heads; its weights are changed. Statistics of batch norms stay ImageNet's. Multiplies in bfloat16 where the
    processor can.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    top = Top(towers).to(memory_format=torch.channels_last).requires_grad_(True)
    for number, cycle in enumerate(cycles):
        before, total = sum(each.steps for each in cycles[:number]), sum(each.steps for each in cycles)
        top = _trained(top, cycle, maps, features, draw, partial(_shifted, progress, before, total))
    model: Any = towers.model
    for place, module in ((f"blocks.{STAGE}", top.stage), ("conv_head", top.conv_head), ("bn2", top.norm)):
        model.visual.trunk.get_submodule(place).load_state_dict(module.state_dict())
    model.visual.head.load_state_dict(top.image_head.state_dict())
    model.text.proj.load_state_dict(top.text_head.state_dict())
    kept = (*TRAINED, "visual.head.", "text.proj.")
    named = {name: tensor.detach().contiguous() for name, tensor in model.named_parameters() if name.startswith(kept)}
    return named | {"logit_scale": top.scale.detach()}


def _trained(top: Top, cycle: Cycle, maps: Sequence[np.ndarray], features: Features, draw: np.random.Generator, progress: Progress) -> Top:
    """The average of `top` over the last steps (EMA) of one cycle."""
    heads = [*top.image_head.parameters(), *top.text_head.parameters()]
    stage = [parameter for module in (top.stage, top.conv_head, top.norm) for parameter in module.parameters()]
    groups = [
        {"params": stage, "weight_decay": DECAY},
        {"params": heads, "weight_decay": DECAY},
        {"params": [top.scale], "weight_decay": 0.0},
    ]
    rates = [cycle.stage_rate, cycle.head_rate, cycle.head_rate]
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=rates, total_steps=cycle.steps, pct_start=0.1)
    averaged = torch.optim.swa_utils.AveragedModel(
        top, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(max(0.0, 1 - 20 / cycle.steps))
    )
    batches = batches_of(features.categories, draw, size=BATCH)
    for step in range(cycle.steps):
        batch = np.sort(next(batches))  # in order: the maps lie on a disk
        views = draw.integers(len(maps), size=len(batch))
        chosen = np.empty((len(batch), *maps[0].shape[1:]), np.float16)
        for number, view in enumerate(maps):
            chosen[views == number] = view[batch[views == number]]
        texts = [text_of(features.english[pair], features.korean[pair], draw) for pair in batch]
        _training(top)
        with torch.autocast("cpu", torch.bfloat16, enabled=_FAST_BFLOAT16):
            images = top.images(torch.from_numpy(chosen).float().contiguous(memory_format=torch.channels_last))
        same = torch.from_numpy(features.groups[batch])
        loss = contrast(images @ top.texts(features.texts[texts]).T * top.scale.exp(), (same[:, None] == same[None, :]).float())
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        with torch.no_grad():
            top.scale.clamp_(max=math.log(100.0))  # CLIP's own bound
        averaged.update_parameters(top)
        progress(step + 1, cycle.steps)
    found: Any = averaged.module
    return found


def _shifted(progress: Progress, before: int, total: int, done: int, of: int) -> None:
    progress(before + done, total)


def _training(top: Top) -> None:
    """Dropout on, batch norms as they were: their statistics are of a million photographs, a batch's of a few hundred drawings."""
    top.train()
    for module in top.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
