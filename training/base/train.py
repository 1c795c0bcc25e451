"""Trains the embedded base on the train split's colour drawings. What it is made of: training/base/CARD.md.

    make corpus
    python -m training.base.train --corpus DIR --work DIR
    python -m training.base.decoder --corpus DIR --work DIR
    python -m training.base.train --work DIR --export training/base/weights

The first command builds the encoder, keeps latents and texts in --work and trains the U-Net; stopped at any time, it goes on from its last
checkpoint. The second trains the decoder, the third writes what `training/base/weights/` holds.
"""

import argparse
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from training.base import encoder, model
from training.base.assemble import write_weights
from training.base.data import CLIP_ART, corpus_drawings, pictures, texts_of
from training.base.texts import encoded
from training.clip.prepare import Pair

BATCH = 32  # pictures a step
RATE = 1e-3
WARM_UP = 100  # steps
WEIGHT_DECAY = 0.01
EMA = 0.997  # at most; less in the first steps
GAMMA = 5.0  # signal-to-noise ratio from which times weigh less (min-SNR: Hang et al., arXiv 2303.09556)
DROPPED = 0.1  # of the captions, so that guidance has a picture without one
KOREAN = 0.5  # of the captions of emoji
CLIP_ART_WEIGHT = 0.4  # of a drawing against an emoji's: its captions say less of it
FLIPPED = 0.5  # of the pictures, where left and right mean nothing
SIDED = (
    "left",
    "right",
    "east",
    "west",
    "clockwise",
    "letter",
    "text",
    "sign",
    "number",
    "keycap",
    "flag",
    "button",
    "arrow",
    "clock",
    "o’clock",
)
STEPS = 7000
SAVED = 60  # seconds between checkpoints
SEED = 1
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawings:
    """What a step draws from: latents (n, 24, 8, 8) of the pictures and of their mirror images, rows of `texts` for each, and weights."""

    latents: torch.Tensor
    mirrored: torch.Tensor
    texts: np.ndarray
    english: list[list[int]]
    korean: list[list[int]]
    weights: np.ndarray
    sided: np.ndarray


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.base.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, help="folder that python -m training.corpus wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder for latents, texts, checkpoints and logs")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of training the U-Net, {BATCH} pictures each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s)")
    parser.add_argument("--export", type=Path, help="write the trained weights to this folder, and train nothing")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    if args.export is not None:
        export(args.work, args.export)
        return
    if args.corpus is None:
        parser.error("--corpus is needed to train")
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)  # products of small gradients cost a hundred times as much otherwise
    train(drawings_of(args.corpus, args.work), args.work, steps=args.steps)


def drawings_of(corpus: Path, work: Path) -> Drawings:
    """Latents and texts of all that is trained on; what `work` has is not computed again."""
    pairs = corpus_drawings(corpus)
    images = pictures(corpus, pairs, work)
    vae = built_autoencoder(images, work)
    own = [texts_of(pair) for pair in pairs]
    texts = ["", *sorted({text for languages in own for of_language in languages for text in of_language})]
    row = {text: index for index, text in enumerate(texts)}
    log.info("%d drawings, %d texts", len(pairs), len(texts) - 1)
    latents, mirrored = (latents_of(vae, pixels) for pixels in (images, images[:, :, ::-1]))
    return Drawings(
        latents=latents,
        mirrored=mirrored,
        texts=encoded(texts, work, progress=lambda done, of: log.info("texts: %d of %d", done, of)),
        english=[[row[text] for text in english] for english, _ in own],
        korean=[[row[text] for text in korean] for _, korean in own],
        weights=np.array([CLIP_ART_WEIGHT if pair.collection == CLIP_ART else 1.0 for pair in pairs]),
        sided=np.array([is_sided(pair) for pair in pairs]),
    )


def built_autoencoder(images: np.ndarray, work: Path) -> AutoencoderKL:
    """The autoencoder with its encoder built (`training/base/encoder.py`), kept in `work`; its decoder is `training.base.decoder`'s to train."""
    path = work / "vae.safetensors"
    torch.manual_seed(SEED)
    vae = model.autoencoder()
    if path.is_file():
        vae.load_state_dict(load_file(path))
    else:
        encoder.build(vae, images)
        save_file(vae.state_dict(), path)
    return vae.eval().requires_grad_(False)


@torch.inference_mode()
def latents_of(vae: AutoencoderKL, images: np.ndarray) -> torch.Tensor:
    """Latents (n, 24, 8, 8) of uint8 (n, 64, 64, 3): the posterior's mean, its spread being next to nothing."""
    parts = (vae.encode(as_tensor(images[start : start + 128])).latent_dist.mean for start in range(0, len(images), 128))
    return torch.cat(list(parts)).clone()


def as_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, 3) as float (n, 3, h, w) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def is_sided(pair: Pair) -> bool:
    """Whether a mirror image of the picture would show something else: writing, flags, arrows, clocks."""
    said = f"{pair.caption} {' '.join(pair.keywords)} {pair.category}".casefold().replace(",", " ").split()
    return any(word.startswith(SIDED) for word in said)


def train(drawings: Drawings, work: Path, *, steps: int) -> None:
    """Trains the U-Net for `steps`, over all runs; a checkpoint a minute. A run that was stopped ends in the weights of one that was not."""
    torch.manual_seed(SEED)
    unet = model.unet().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(unet.parameters(), RATE, betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY)
    average = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    first, losses = 0, list[float]()
    path = work / "checkpoint.pt"
    if path.is_file():
        kept = torch.load(path, weights_only=True)
        unet.load_state_dict(kept["unet"])
        optimizer.load_state_dict(kept["optimizer"])
        average, first = kept["average"], kept["step"]
        log.info("goes on from step %d", first)
    log.info("%.2f M parameters", sum(p.numel() for p in unet.parameters()) / 1e6)
    schedule = model.scheduler()
    began = saved = time.monotonic()
    for step in range(first, steps):
        rate = RATE * min(1, (step + 1) / WARM_UP) * max(0.02, 0.5 + 0.5 * math.cos(math.pi * step / steps))  # a plain float: it is saved
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(unet, schedule, drawings, np.random.default_rng([SEED, step]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        decay = min(EMA, (2 + step) / (11 + step))
        with torch.no_grad():
            for name, tensor in unet.state_dict().items():
                average[name].lerp_(tensor, 1 - decay)
        losses.append(float(loss.detach()))
        done, now = step + 1, time.monotonic()
        if done % 25 == 0:
            line = {"step": done, "loss": round(float(np.mean(losses[-25:])), 4), "rate": round(rate, 6)}
            log.info("%s of %d, %.0f pictures a second", line, steps, (done - first) * BATCH / (now - began))
            with open(work / "train.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
        if now - saved > SAVED or done == steps:
            saved = now
            state = {"unet": unet.state_dict(), "optimizer": optimizer.state_dict(), "average": average, "step": done}
            torch.save(state, path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)


def loss_of(unet: UNet2DConditionModel, schedule: DDIMScheduler, drawings: Drawings, draw: np.random.Generator) -> torch.Tensor:
    """Error of the predicted velocity, of one random batch; times of little noise weigh less, as in min-SNR."""
    rows = draw.choice(len(drawings.weights), BATCH, p=drawings.weights / drawings.weights.sum())
    flipped = (draw.random(BATCH) < FLIPPED) & ~drawings.sided[rows]
    latents = torch.where(torch.from_numpy(flipped)[:, None, None, None], drawings.mirrored[rows], drawings.latents[rows])
    texts = torch.from_numpy(drawings.texts[captions(rows, drawings, draw)].astype(np.float32))
    # One time of each of BATCH equal spans: less noise in the loss than independent ones.
    times = torch.from_numpy(((np.arange(BATCH) + draw.random(BATCH)) / BATCH * len(schedule.alphas_cumprod)).astype(np.int64))
    noise = torch.from_numpy(draw.standard_normal(latents.shape, dtype=np.float32))
    noisy = schedule.add_noise(latents, noise, times)
    wanted = schedule.get_velocity(latents, noise, times)
    found = unet(noisy.contiguous(memory_format=torch.channels_last), times, texts).sample
    alphas = schedule.alphas_cumprod[times]
    # Below a ratio of GAMMA all times weigh the same: what a prompt decides is decided in the noisiest ones, which min-SNR would take from it.
    weight = ((GAMMA + 1) * (1 - alphas)).clamp(max=1)
    return ((found - wanted).square().mean((1, 2, 3)) * weight).mean()


def captions(rows: np.ndarray, drawings: Drawings, draw: np.random.Generator) -> list[int]:
    """A text for each row, in either language, or none (row 0 of the texts)."""
    chosen = []
    for row in rows.tolist():
        korean = drawings.korean[row] and draw.random() < KOREAN
        texts = drawings.korean[row] if korean else drawings.english[row]
        chosen.append(0 if draw.random() < DROPPED else int(draw.choice(texts)))
    return chosen


def export(work: Path, out: Path) -> None:
    """Writes the average of the U-Net and the autoencoder as they are stored."""
    unet, vae = model.unet(), model.autoencoder()
    unet.load_state_dict(torch.load(work / "checkpoint.pt", weights_only=True)["average"])
    vae.load_state_dict(load_file(work / "vae.safetensors"))
    write_weights(out, unet, vae)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    print(f"{out}: {sizes}, {sum(sizes.values()):,} bytes; next: python -m training.base.evaluate --corpus DIR")


if __name__ == "__main__":
    main()
