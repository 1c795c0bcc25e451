"""The fine-tuning step fed by the loader against the same step on batches already in memory, in turns.

    python -m tests.bench.step [--steps 20] [--rounds 3] [--json]

The embedded base's architecture (random weights suffice: the time is the same), its own text encoder left out, a batch of 16, forward,
backward and AdamW, on JPEGs of 768 x 576. The loader runs as `training.finetune` has it on a CPU.
Both read the same samples; rounds take turns, the ratio is of the medians.
On a GPU the comparison with the diffusers example script at equal settings is to be made by hand; it is not part of this.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel

from tests.bench.convert import photo_like
from tests.bench.loader import DISTINCT, IMAGE_BYTES, SIDES, make_release
from training.releases import open_release
from training.shards import Batch, Loader, batches_ahead

BATCH: Final = 16
SIDE: Final = 64  # px
GOAL: Final = 0.97
UNET: Final = {
    "sample_size": 16, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (64, 96, 160), "norm_num_groups": 16,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": 4, "cross_attention_dim": 384,
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip


def seconds(unet: Any, optimizer: torch.optim.Optimizer, batches: Iterator[Batch], steps: int) -> float:
    """Of a step, waiting for its batch included."""
    next(batches)  # the threads have begun
    began = time.perf_counter()
    for batch in itertools.islice(batches, steps):
        latents = torch.nn.functional.avg_pool2d(batch.images.float() / 127.5 - 1, 4)
        latents = torch.cat([latents, latents.mean(1, keepdim=True)], 1)  # stands for the autoencoder, at no cost worth naming
        said = unet(latents, torch.full((len(latents),), 500), encoder_hidden_states=torch.zeros(len(latents), 24, 384)).sample
        (said - latents).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - began) / steps


def measure(steps: int, rounds: int) -> dict[str, Any]:
    images = [photo_like(seed, SIDES, IMAGE_BYTES) for seed in range(DISTINCT)]
    unet = UNet2DConditionModel(**UNET)
    optimizer = torch.optim.AdamW(unet.parameters(), 1e-4)
    with tempfile.TemporaryDirectory() as folder:
        training = open_release(make_release(Path(folder, "release"), images, samples=2000, shards=4), optouts=False)

        def loaded() -> Iterator[Batch]:
            return iter(Loader(training, size=SIDE, batch=BATCH, largest_aspect=1.0, ahead=batches_ahead("cpu")))

        held = list(itertools.islice(loaded(), steps + 1))
        seconds(unet, optimizer, iter(held), 2)
        found: dict[str, list[float]] = {"loader": [], "memory": []}
        for _ in range(rounds):
            found["memory"].append(seconds(unet, optimizer, iter(held), steps))
            found["loader"].append(seconds(unet, optimizer, loaded(), steps))
    medians = {name: statistics.median(times) for name, times in found.items()}
    return {f"{name}_ms": round(1000 * value, 1) for name, value in medians.items()} | {
        "ratio": round(medians["memory"] / medians["loader"], 3),
        "goal": GOAL,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each (default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.steps, args.rounds)
    if args.json:
        print(json.dumps(found))
        return
    print(f"a step on {BATCH} images of {SIDE} px: {found['loader_ms']} ms from the loader, {found['memory_ms']} ms from memory")
    print(f"speed of the first over the second: {found['ratio']}   at least {GOAL}")


if __name__ == "__main__":
    main()
