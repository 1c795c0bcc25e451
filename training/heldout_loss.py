"""What a model's loss on chosen pairs is: the same noise and noise levels for every model, so that two can be compared pair by pair."""

from typing import Any

import numpy as np

from training.checkpoints import describe
from training.finetune import HeldOut, Knobs, Objective
from training.held_out import part_of
from training.reference import Pairs

_BATCH = 16


def heldout_losses(pipeline: Any, pairs: Pairs) -> list[float]:
    """The mean square error of what the denoiser of `pipeline` says of each pair, as training.finetune measures it: mean over its noise levels,
    noise drawn by uid. The pairs' index captions are what it is told. Raises ModelError for a family that finetune does not know."""
    described = describe(pipeline)
    side = described.side or 0
    objective = Objective(pipeline, described, Knobs(), pipeline.device)
    denoiser = getattr(pipeline, described.denoiser).eval()
    held = part_of(pairs.release, np.asarray(pairs.samples, np.int64))
    return HeldOut(held, objective, side=side, multiple=described.multiple, batch=_BATCH, threads=2).losses(denoiser)
