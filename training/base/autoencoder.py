"""Trains the embedded base's autoencoder: 64 px drawings to latents of 4 x 16 x 16 and back.

python -m training.base.autoencoder --corpus DIR --work DIR
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from training.base import model
from training.base.data import corpus_drawings, pictures

MINUTES = 8.0
BATCH = 16  # crops a step: steps count for more than their size
CROP = 32  # px: a quarter of the work of a whole picture, and every edge is as sharp in it
RATE = 2e-3
KL = 3e-4  # of a latent's divergence from N(0, 1) against the mean absolute error: keeps latents smooth, costs 0.001 of it
SEED = 1
log = logging.getLogger(__name__)


def train(images: np.ndarray, *, minutes: float, out: Path) -> None:
    """Trains for `minutes` on uint8 (n, 64, 64, 3) and writes weights, half floats, to `out`."""
    torch.manual_seed(SEED)
    draw = np.random.default_rng(SEED)
    vae = model.autoencoder()
    log.info("%.2f M parameters", sum(p.numel() for p in vae.parameters()) / 1e6)
    optimizer = torch.optim.AdamW(vae.parameters(), RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    began, step = time.monotonic(), 0
    seen: list[float] = []
    while (part := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * part)) + 1e-6
        corners = draw.integers(0, model.SIDE - CROP + 1, (BATCH, 2))
        crops = np.stack(
            [images[row, y : y + CROP, x : x + CROP] for row, (y, x) in zip(draw.integers(0, len(images), BATCH), corners, strict=True)]
        )
        pixels = as_tensor(crops)
        posterior = vae.encode(pixels).latent_dist
        rebuilt = vae.decode(posterior.sample()).sample
        absolute = (rebuilt - pixels).abs().mean()
        # Edges: the error of neighbouring pixels' differences, which a mean error alone blurs.
        edges = sum(((rebuilt.diff(dim=d) - pixels.diff(dim=d)).abs().mean() for d in (2, 3)), torch.zeros(()))
        divergence = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        loss = absolute + 0.5 * edges + KL * divergence
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        seen.append(float(absolute.detach()))
        step += 1
        if step % 100 == 0:
            log.info("step %d, %.0f %%: absolute error %.4f, divergence %.2f", step, 100 * part, np.mean(seen[-100:]), float(divergence.detach()))
    save_file({name: tensor.half().contiguous() for name, tensor in vae.state_dict().items()}, out)


def as_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, 3) as float (n, 3, h, w) in -1..1, channels last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.base.autoencoder", description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder that python -m training.corpus wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures and for vae.safetensors")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training (default: %(default)s)")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    drawings = corpus_drawings(args.corpus)
    images = pictures(args.corpus, drawings, args.work)
    log.info("%d drawings", len(images))
    train(images, minutes=args.minutes, out=args.work / "vae.safetensors")


if __name__ == "__main__":
    main()
