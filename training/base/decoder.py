"""Trains the decoder of the embedded base's autoencoder: latents of the built encoder back to 64 px.

python -m training.base.decoder --corpus DIR --work DIR
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from training.base.data import corpus_drawings, pictures
from training.base.train import as_tensor, built_autoencoder, latents_of

STEPS = 1500
BATCH = 12  # pictures a step
RATE = 2e-3
NOISE = 0.06  # spread of what is added to latents, about 1: the U-Net's are not exact either
EDGES = 0.5  # weight of the error of neighbouring pixels' differences, which a mean error alone blurs
SAVED = 60  # seconds
SEED = 1
log = logging.getLogger(__name__)


def train(images: np.ndarray, work: Path, *, steps: int) -> None:
    """Trains for `steps` on uint8 (n, 64, 64, 3); writes `work`/vae.safetensors every minute."""
    vae = built_autoencoder(images, work)
    torch.manual_seed(SEED)
    draw = np.random.default_rng(SEED)
    taught = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    for parameter in taught:
        parameter.requires_grad_(True)
    log.info("%.2f M parameters", sum(p.numel() for p in taught) / 1e6)
    optimizer = torch.optim.AdamW(taught, RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    saved = time.monotonic()
    errors: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 50) * (0.5 + 0.5 * np.cos(np.pi * step / steps)) + 1e-6
        rows = draw.integers(0, len(images), BATCH)
        pixels = as_tensor(images[rows])
        known = latents_of(vae, images[rows])
        rebuilt = vae.decode(known + NOISE * torch.randn_like(known)).sample
        absolute = (rebuilt - pixels).abs().mean()
        edges = sum(((rebuilt.diff(dim=d) - pixels.diff(dim=d)).abs().mean() for d in (2, 3)), torch.zeros(()))
        optimizer.zero_grad()
        (absolute + EDGES * edges).backward()
        torch.nn.utils.clip_grad_norm_(taught, 1.0)
        optimizer.step()
        errors.append(float(absolute.detach()))
        if len(errors) % 50 == 0:
            log.info("step %d of %d: mean absolute error %.4f (of -1..1)", len(errors), steps, np.mean(errors[-50:]))
        if time.monotonic() - saved > SAVED:
            saved = time.monotonic()
            write(vae, work)
    write(vae, work)


def write(vae: torch.nn.Module, work: Path) -> None:
    save_file(vae.state_dict(), work / "vae.part")
    (work / "vae.part").rename(work / "vae.safetensors")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.base.decoder", description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder that python -m training.corpus wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder of training.base.train")
    parser.add_argument(
        "--steps",
        type=int,
        default=STEPS,
        help=f"of training, {BATCH} pictures each; a second run goes on from the first (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s)")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    train(pictures(args.corpus, corpus_drawings(args.corpus), args.work), args.work, steps=args.steps)


if __name__ == "__main__":
    main()
