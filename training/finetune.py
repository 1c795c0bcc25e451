"""Fine-tunes a text-to-image diffusion model on a release: any diffusers checkpoint of the families below, whole or as a LoRA.

    python -m training.finetune --release pigment-data --out pigment-model
    python -m training.finetune --release pigment-data --out run1 --model models/sdxl --method lora --rank 32 --precision bf16
    python -m training.finetune --config run.toml --learning_rate 5e-5          # keys of the file are the flags' names; flags win
    accelerate launch --num_processes 8 -m training.finetune --config run.toml
    Ctrl-C or SIGTERM: the step is finished and kept; the same command goes on, bit for bit as if it had not been stopped

Everything random is drawn from (seed, step, rank): noise, timesteps, dropped captions, the order of samples.
U-Nets as of Stable Diffusion, SDXL and DeepFloyd IF; transformers as of PixArt and Stable Diffusion 3. Text encoders and autoencoder
are not trained. The pairs that `held_out` keeps away are never trained on: the loss on them, before and after, says what was learned.
"""

import argparse
import contextlib
import dataclasses
import difflib
import fcntl
import hashlib
import inspect
import json
import math
import os
import platform
import re
import shutil
import signal
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, get_type_hints

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers.training_utils import cast_training_params
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from safetensors.torch import load_file, save_file

from training.card import CARD, write_card
from training.checkpoints import LORA, LORA_FILE, PIPELINE, RUN, Description, ModelError, describe, exact_size, open_pipeline, resolve
from training.command import EXIT_INTERRUPTED, EXIT_USAGE, MISTAKES, Mistake, quieten, replace, say
from training.held_out import concepts_of, first_of, hold_out, without_concepts
from training.order import Shape
from training.pictures import Cut
from training.releases import LICENSES, TrainingSet, open_release
from training.shards import Loader, batches_ahead

# ---- knobs


def knob(default: Any, told: str, *, among: Sequence[str] | None = None, split: str = ",") -> Any:
    return field(default=default, metadata={"told": told, "among": among, "split": split})


@dataclass(frozen=True)
class Knobs:
    # what is learned from
    release: str = knob("", "dataset or <dataset>/releases/<name>: a folder or a URL")
    allow_licenses: tuple[str, ...] = knob((), f"licence classes besides {', '.join(LICENSES)}; any: all of them")
    ignore_optouts: bool = knob(False, "learn from files that forbid mining, or that nobody asked, too")
    weight: str = knob("", "column of the release: how often a pair is seen in an epoch")
    held_out: float = knob(0.1, "share of the concepts never trained on, 0 to 1; not used with validation")
    validation: str = knob("", "another release to measure on; what it shows is not trained on")
    held_out_pairs: int = knob(128, "pairs that the loss is measured on, at most")
    resolution: int = knob(0, "px: squares of that side, or their area; 0: the base's own")
    largest_aspect: float = knob(1.0, "longer side over shorter, at most: above 1 batches have several shapes")
    caption_dropout: float = knob(0.1, "share of captions left empty, for classifier-free guidance, 0 to 1")
    threads: int = knob(2, "threads that decode images, per process")
    # what learns
    model: str = knob("embedded", "embedded, a diffusers folder, a folder of this command, or a hub's name")
    method: str = knob("full", "all weights of the denoiser, or a LoRA", among=("full", "lora"))
    rank: int = knob(16, "of the LoRA's matrices")
    alpha: int = knob(16, "scale of the LoRA times its rank")
    targets: tuple[str, ...] = knob(("to_q", "to_k", "to_v", "to_out.0"), "ends of the names of layers that a LoRA is put on")
    precision: str = knob("fp32", "of the arithmetic; weights that learn stay fp32", among=("fp32", "bf16", "fp16"))
    gradient_checkpointing: bool = knob(False, "less memory for activations, about a third more time")
    # how
    steps: int = knob(1000, "optimizer steps")
    batch: int = knob(16, "images per process and pass")
    accumulate: int = knob(1, "passes per step")
    learning_rate: float = knob(1e-4, "AdamW's, at its highest")
    schedule: str = knob("cosine", "of the learning rate after warm-up, to 0 but for constant", among=("constant", "linear", "cosine"))
    warmup: int = knob(50, "steps over which the learning rate rises from 0")
    beta1: float = knob(0.9, "AdamW's, of the gradient's mean, per step")
    beta2: float = knob(0.999, "AdamW's, of the gradient's square, per step")
    weight_decay: float = knob(0.01, "AdamW's, times the learning rate, per step")
    clip: float = knob(1.0, "the gradient's norm, at most; 0: any")
    min_snr: float = knob(5.0, "gamma of min-SNR weighting (Hang et al., 2023), for all but flow; 0: none")
    timesteps: str = knob("logit_normal", "density of flow's times (Esser et al., 2024)", among=("logit_normal", "uniform"))
    ema: float = knob(0.999, "decay of the averaged weights per step, which are what is kept; 0: none")
    seed: int = knob(0, "of everything random")
    # what is told and kept
    out: str = knob("", "folder to write")
    log_every: int = knob(10, "steps between writes of the log, which has every step")
    measure_every: int = knob(0, "steps between losses on held-out pairs; 0: before and after alone")
    sample_every: int = knob(500, "steps between grids of pictures; before and after too; 0: none")
    prompts: tuple[str, ...] = knob((), "of the grids, with ; between; none: eight captions of held-out pairs", split=";")
    sample_steps: int = knob(25, "denoising steps of a picture")
    guidance: float = knob(4.0, "classifier-free guidance of pictures")
    checkpoint_every: int = knob(500, "steps between checkpoints; a stop and the end make one too")
    keep: int = knob(2, "newest checkpoints that stay")


# What a run that goes on may change.
FREE: Final = {"steps", "log_every", "measure_every", "sample_every", "checkpoint_every", "keep", "threads", "out"}
TIMES: Final = 4  # noise levels at which each held-out pair is measured
FAMILIES: Final = ("UNet2DConditionModel", "PixArtTransformer2DModel", "SD3Transformer2DModel")


class KnobError(Mistake):
    """A knob that is unknown or has no sense; the message says which and what to do."""


def read_knobs(arguments: Sequence[str] | None) -> Knobs:
    """Flags over the TOML file over defaults. Raises KnobError; argparse ends the process for unknown flags and --help."""
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, metavar="TOML", help="file of knobs; run.json tells those of a run")
    types = get_type_hints(Knobs)
    for each in dataclasses.fields(Knobs):
        kind, meta = types[each.name], each.metadata
        shown = meta["split"].join(each.default) if isinstance(each.default, tuple) else each.default
        told = meta["told"] + (f" (default: {shown})" if shown not in ("", False) else "")
        more: dict[str, Any] = {"default": argparse.SUPPRESS, "help": told.replace("%", "%%")}
        if kind is bool:
            parser.add_argument(f"--{each.name}", action=argparse.BooleanOptionalAction, **more)
        elif kind in (str, int, float):
            parser.add_argument(
                f"--{each.name}", type=kind, choices=meta["among"], metavar=None if meta["among"] else kind.__name__.upper(), **more
            )
        else:
            parser.add_argument(f"--{each.name}", type=_splitter(meta["split"]), metavar=f"A{meta['split']}B", **more)
    flags = vars(parser.parse_args(arguments))
    config = flags.pop("config", None)
    knobs = Knobs(**{**({} if config is None else _read_toml(config, types)), **flags})
    _check(knobs)
    return knobs


def _splitter(sign: str) -> Any:
    return lambda text: tuple(part.strip() for part in text.split(sign) if part.strip())


def _read_toml(path: Path, types: Mapping[str, Any]) -> dict[str, Any]:
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise KnobError(f"{path}: {error}") from error
    for name, value in given.items():
        if name not in types:
            near = difflib.get_close_matches(name, types, 1)
            raise KnobError(f"{path}: no knob is named {name!r}" + (f"; did you mean {near[0]!r}?" if near else "; --help lists them"))
        kind = types[name]
        if kind is float and type(value) is int:
            given[name] = float(value)
        elif kind not in (str, int, float, bool):
            if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
                raise KnobError(f"{path}: {name} is {value!r}; it must be a list of texts")
            given[name] = tuple(value)
        elif type(value) is not kind:
            raise KnobError(f"{path}: {name} is {value!r}; it must be of type {kind.__name__}")
    return given


def _check(knobs: Knobs) -> None:
    if not knobs.release or not knobs.out:
        raise KnobError("--release and --out are needed; --help shows examples")
    for each in dataclasses.fields(Knobs):
        value, among = getattr(knobs, each.name), each.metadata["among"]
        if among is not None and value not in among:
            raise KnobError(f"{each.name} is {value!r}; it must be one of {', '.join(among)}")
        if isinstance(value, (int, float)) and each.name != "seed" and not value >= 0:
            raise KnobError(f"{each.name} is {value}; it must be 0 or more")
    for name in ("steps", "batch", "accumulate", "threads", "rank", "log_every", "checkpoint_every", "keep", "sample_steps"):
        if getattr(knobs, name) < 1:
            raise KnobError(f"{name} is {getattr(knobs, name)}; it must be 1 or more")
    for name in ("held_out", "caption_dropout", "ema", "beta1", "beta2"):
        if getattr(knobs, name) >= 1:
            raise KnobError(f"{name} is {getattr(knobs, name)}; it must be below 1")
    if knobs.largest_aspect < 1:
        raise KnobError(f"largest_aspect is {knobs.largest_aspect}; 1 means squares alone")


# ---- what is random


def drawn_from(*words: int | str) -> torch.Generator:
    """A generator of its own for that purpose: nothing random hangs on what ran before."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


# ---- the objective: from images and captions to a loss by sample


class Objective:
    """What the denoiser of a pipeline is trained to say, in which space, told what."""

    def __init__(self, pipeline: Any, described: Description, knobs: Knobs, device: torch.device):
        self.pipeline, self.described, self.knobs, self.device = pipeline, described, knobs, device
        denoiser = getattr(pipeline, described.denoiser)
        if type(denoiser).__name__ not in FAMILIES:
            raise ModelError(f"{type(denoiser).__name__} is of no family that can be fine-tuned here: {', '.join(FAMILIES)}")
        self.config = denoiser.config
        self.scheduler = pipeline.scheduler.config
        if described.prediction != "flow":
            self.signal = pipeline.scheduler.alphas_cumprod.to(device, torch.float32)  # share of the image in the variance, by timestep
        self._encode = set(inspect.signature(pipeline.encode_prompt).parameters)

    @torch.no_grad()
    def clean(self, images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        """(n, 3, h, w) uint8 to what is denoised: pixels of -1..1, or latents as the denoiser sees them."""
        pixels = images.to(self.device).float().div_(127.5).sub_(1)
        if self.described.space == "pixel":
            return pixels
        vae = self.pipeline.vae
        encoded = vae.encode(pixels.to(vae.dtype))
        latents = encoded.latent_dist.sample(draw).float() if hasattr(encoded, "latent_dist") else encoded.latent.float()
        mean, deviation = vae.config.get("latents_mean"), vae.config.get("latents_std")
        if mean is not None and deviation is not None:
            of = torch.tensor([mean, deviation], device=self.device).view(2, 1, -1, 1, 1)
            return (latents - of[0]) / of[1] * vae.config.scaling_factor
        return (latents - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor

    @torch.no_grad()
    def told(self, captions: Sequence[str], cuts: Sequence[Cut], shape: Shape) -> dict[str, Any]:
        """The denoiser's arguments besides image and time: the pipeline's own encoding of the captions, and where each picture was cut."""
        options = {
            "prompt": list(captions), "prompt_2": None, "prompt_3": None, "device": self.device, "num_images_per_prompt": 1,
            "do_classifier_free_guidance": False,
        }  # fmt: skip
        encoded = self.pipeline.encode_prompt(**{name: value for name, value in options.items() if name in self._encode})
        hidden, *others = [part for part in encoded if part is not None]
        mask = next((part for part in others if part.shape == hidden.shape[:2] and not part.is_floating_point()), None)
        pooled = next((part for part in others if part.ndim == 2 and part.is_floating_point()), None)
        if self.pipeline.config.get("force_zeros_for_empty_prompt"):  # as SDXL's pipeline says nothing
            said = torch.tensor([bool(caption) for caption in captions], device=self.device)
            hidden = hidden * said[:, None, None]
            pooled = None if pooled is None else pooled * said[:, None]
        told: dict[str, Any] = {"encoder_hidden_states": hidden}
        if mask is not None:
            told["encoder_attention_mask"] = mask
        if self.config.get("pooled_projection_dim"):
            told["pooled_projections"] = pooled
        if self.config.get("addition_embed_type") == "text_time":
            ids = [[cut.height, cut.width, cut.top, cut.left, shape.height, shape.width] for cut in cuts]
            told["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": torch.tensor(ids, device=self.device, dtype=hidden.dtype)}
        if "PixArt" in self.pipeline.__class__.__name__:
            size = torch.tensor([[shape.height, shape.width]] * len(captions), device=self.device, dtype=hidden.dtype)
            large = self.config.sample_size == 128  # those alone are told of sizes
            told["added_cond_kwargs"] = {
                "resolution": size if large else None,
                "aspect_ratio": size[:, :1] / size[:, 1:] if large else None,
            }
        return told

    def losses(self, denoiser: Any, clean: torch.Tensor, noise: torch.Tensor, place: torch.Tensor, told: dict[str, Any], *, plain: bool):
        """(n,) losses, mean square errors of what was to be said. place: (n,) from 0 to 1, which noise level.

        plain: noise levels evenly, all with one weight, as a measure; else with the densities and weights that training uses.
        """
        rows = (-1, 1, 1, 1)
        if self.described.prediction == "flow":
            sigma = place if plain or self.knobs.timesteps == "uniform" else torch.special.ndtri(place).sigmoid()
            shift = self.scheduler.get("shift") or self.scheduler.get("flow_shift") or 1.0
            sigma = shift * sigma / (1 + (shift - 1) * sigma)
            times = sigma * self.scheduler.num_train_timesteps
            noisy = (1 - sigma).view(rows) * clean + sigma.view(rows) * noise
            wanted, weights = noise - clean, torch.ones_like(sigma)
        else:
            times = (place * len(self.signal)).long().clamp(max=len(self.signal) - 1)
            of = self.signal[times]
            image, other = of.sqrt().view(rows), (1 - of).sqrt().view(rows)
            noisy = image * clean + other * noise
            wanted = {"epsilon": noise, "sample": clean, "v_prediction": image * noise - other * clean}[self.described.prediction]
            weights = torch.ones_like(of) if plain else self._weights(of)
        said = denoiser(noisy, timestep=times, **told, return_dict=False)[0]
        if said.shape[1] == 2 * wanted.shape[1]:
            said = said.chunk(2, 1)[0]  # the other half is the variance, which stays what it was
        return (said.float() - wanted).square().flatten(1).mean(1) * weights

    def _weights(self, of: torch.Tensor) -> torch.Tensor:
        """Min-SNR weighting: Hang et al. (2023), equation 4 and its forms for the other predictions."""
        if not self.knobs.min_snr:
            return torch.ones_like(of)
        ratio = (of / (1 - of).clamp(min=1e-8)).clamp(min=1e-8)
        capped = ratio.clamp(max=self.knobs.min_snr)
        return {"epsilon": capped / ratio, "v_prediction": capped / (ratio + 1), "sample": capped}[self.described.prediction]


# ---- what is measured


class HeldOut:
    """Pairs that are not trained on, with their noise, at fixed noise levels: what differs between two losses is the model alone."""

    def __init__(self, pairs: TrainingSet, objective: Objective, *, side: int, multiple: int, batch: int, threads: int):
        self.captions = pairs.samples.captions.to_pylist()
        self.uids = [pairs.samples.uid_of(sample) for sample in range(len(pairs.samples))]
        self.objective, self.parts = objective, list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]]()
        if not self.uids:
            return
        loader = Loader(pairs, size=side, batch=1, largest_aspect=1.0, multiple=multiple, threads=threads)
        found = {taken.uids[0]: taken for taken, _ in zip(loader, self.uids, strict=False)}
        for start in range(0, len(self.uids), batch):
            uids = self.uids[start : start + batch]
            of = [found[uid] for uid in uids]
            draws = [drawn_from("held out", uid) for uid in uids]
            clean = torch.cat([objective.clean(one.images, draw) for one, draw in zip(of, draws, strict=True)])
            noise = torch.stack([torch.randn(clean.shape[1:], generator=draw) for draw in draws]).to(clean.device)
            shift = torch.stack([torch.rand((), generator=draw) for draw in draws]).to(clean.device)
            told = objective.told([one.captions[0] for one in of], [one.cuts[0] for one in of], Shape(side, side))
            self.parts.append((clean, noise, shift, told))

    @torch.no_grad()
    def losses(self, denoiser: Any) -> list[float]:
        """The mean square error of each pair, over TIMES noise levels spread evenly from where its own shift begins."""
        found: list[float] = []
        for clean, noise, shift, told in self.parts:
            levels = [self.objective.losses(denoiser, clean, noise, (shift + level) / TIMES, told, plain=True) for level in range(TIMES)]
            found += torch.stack(levels).mean(0).tolist()
        return found


def compared(before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    """Means, and the mean of the pairs' differences with the half width of its 95 % interval (normal)."""
    first, last = np.array(before), np.array(after)
    gap = last - first
    half = 1.96 * gap.std(ddof=1) / math.sqrt(len(gap)) if len(gap) > 1 else float("nan")
    return {"before": first.mean(), "after": last.mean(), "difference": gap.mean(), "interval": half}


@torch.no_grad()
def grid(pipeline: Any, knobs: Knobs, prompts: Sequence[str], side: int) -> Image.Image:
    """One picture a prompt, always of the same noise, in rows of four."""
    pipeline.set_progress_bar_config(disable=True)
    device = pipeline._execution_device
    drawn = []
    for number, prompt in enumerate(prompts):
        draw = drawn_from(knobs.seed, "picture", number)
        options = {"height": side, "width": side, "num_inference_steps": knobs.sample_steps, "guidance_scale": knobs.guidance}
        with torch.autocast(device.type, enabled=knobs.precision != "fp32", dtype=_dtype(knobs)):
            drawn.append(pipeline(prompt, generator=draw, **options, **exact_size(pipeline)).images[0])
    columns = min(4, len(drawn))
    sheet = Image.new("RGB", (columns * side, -(-len(drawn) // columns) * side), "white")
    for number, picture in enumerate(drawn):
        sheet.paste(picture, (number % columns * side, number // columns * side))
    return sheet


# ---- what is kept on disk


class Out:
    """The folder of a run. Whatever is there is whole: it is made under another name first."""

    def __init__(self, root: Path):
        self.root, self.checkpoints, self.log_path = root, root / "checkpoints", root / "log.jsonl"
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        (root / "samples").mkdir(exist_ok=True)

    def lock(self) -> None:
        """Held as long as this object or the process lives. Raises KnobError when another one writes here."""
        self._lock = open(self.root / ".lock", "w")  # noqa: SIM115  closed with this object
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise KnobError(f"{self.root}: another fine-tuning is writing here; give another --out") from error
        for part in self.root.glob("**/*.part"):
            shutil.rmtree(part, ignore_errors=True)  # of a run that was killed

    def newest(self) -> Path | None:
        found = [path for path in self.checkpoints.iterdir() if re.fullmatch(r"step-\d+", path.name)]
        return max(found, key=lambda path: int(path.name[5:]), default=None)

    @contextlib.contextmanager
    def folder(self, path: Path) -> Iterator[Path]:
        part = path.with_name(f"{path.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)

    def put_json(self, name: str, value: Any) -> None:
        replace(self.root / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def run(self) -> dict[str, Any] | None:
        path = self.root / RUN
        return json.loads(path.read_text("utf-8")) if path.is_file() else None

    def cut_log(self, step: int) -> None:
        """Takes away what was logged after `step`, for it is done again."""
        rows = self.log_path.read_text("utf-8").splitlines(keepends=True) if self.log_path.is_file() else []
        replace(self.log_path, "".join(row for row in rows if row.endswith("\n") and json.loads(row)["step"] <= step))

    def keep_newest(self, count: int) -> None:
        found = sorted(self.checkpoints.glob("step-*[0-9]"), key=lambda path: int(path.name[5:]))
        for path in found[:-count]:
            shutil.rmtree(path)


class Log:
    """Every step's numbers as a line of log.jsonl and in TensorBoard. Rows wait until `write`, so that no step waits for the GPU."""

    def __init__(self, out: Out, step: int):
        from torch.utils.tensorboard import SummaryWriter

        out.cut_log(step)
        self.file = out.log_path.open("a", encoding="utf-8")
        self.board = SummaryWriter(str(out.root / "tensorboard"), purge_step=step + 1)
        self.waiting: list[dict[str, Any]] = []

    def put(self, **row: Any) -> None:
        self.waiting.append(row)

    def write(self) -> list[dict[str, Any]]:
        """Returns the rows that are now on disk. Raises FloatingPointError when a loss is no number."""
        rows = [{name: value.item() if isinstance(value, torch.Tensor) else value for name, value in row.items()} for row in self.waiting]
        self.waiting.clear()
        for row in rows:
            if not math.isfinite(row.get("loss", 0.0)):
                raise FloatingPointError(
                    f"the loss of step {row['step']} is {row['loss']}: lower --learning_rate, or give --precision bf16 or fp32"
                )
            self.file.write(json.dumps(row, ensure_ascii=False) + "\n")
            for name, value in row.items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, row["step"])
        self.file.flush()
        return rows


class Stop:
    """Ctrl-C and SIGTERM: asked once, the step is finished; asked again, the process ends as it would have."""

    def __init__(self) -> None:
        self.asked = False
        self._before = {name: signal.signal(name, self._ask) for name in (signal.SIGINT, signal.SIGTERM)}

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        self.back()
        print("\nStopping after this step; once more: at once.", file=sys.stderr, flush=True)

    def back(self) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)


# ---- small parts of the loop


def rate_at(step: int, knobs: Knobs) -> float:
    """The learning rate of a step, from 0."""
    rising = min(1.0, (step + 1) / max(1, knobs.warmup))
    part = min(1.0, max(0.0, (step - knobs.warmup) / max(1, knobs.steps - knobs.warmup)))
    falling = {"constant": 1.0, "linear": 1 - part, "cosine": 0.5 + 0.5 * math.cos(math.pi * part)}[knobs.schedule]
    return knobs.learning_rate * rising * falling


@torch.no_grad()
def average(ema: Mapping[str, torch.Tensor], trained: Mapping[str, torch.Tensor], decay: float, step: int) -> None:
    """Moves the averaged weights; in the first steps faster, as TensorFlow's ExponentialMovingAverage does with num_updates."""
    torch._foreach_lerp_(list(ema.values()), [trained[name] for name in ema], 1 - min(decay, (1 + step) / (10 + step)))


@contextlib.contextmanager
def put_in(trained: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """For a while the model has other weights."""
    own = {name: tensor.detach().clone() for name, tensor in trained.items()} if others else {}
    with torch.no_grad():
        for name, tensor in others.items():
            trained[name].copy_(tensor)
        yield
        for name, tensor in own.items():
            trained[name].copy_(tensor)


def _dtype(knobs: Knobs) -> torch.dtype:
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[knobs.precision]


def add_new_lora(denoiser: Any, knobs: Knobs) -> None:
    if not hasattr(denoiser, "add_adapter"):
        raise ModelError(f"diffusers has no LoRA for {type(denoiser).__name__}; give --method full")
    try:
        denoiser.add_adapter(
            LoraConfig(r=knobs.rank, lora_alpha=knobs.alpha, target_modules=list(knobs.targets), init_lora_weights="gaussian")
        )
    except ValueError as error:
        raise KnobError(f"targets {','.join(knobs.targets)}: {error}") from error


# ---- the run


def finetune(knobs: Knobs) -> int:
    """Returns the exit code: 0 done, 130 stopped and ready to go on. Raises KnobError, ReleaseError, ModelError, FloatingPointError."""
    began = time.monotonic()
    stop = Stop()
    try:
        return _finetune(knobs, stop, began)
    finally:
        stop.back()


def _finetune(knobs: Knobs, stop: Stop, began: float) -> int:
    # Data.
    licenses = None if "any" in knobs.allow_licenses else (*LICENSES, *knobs.allow_licenses)
    whole = open_release(knobs.release, licenses=licenses, optouts=not knobs.ignore_optouts, weight=knobs.weight or None)
    if knobs.validation:
        held = open_release(knobs.validation, licenses=licenses, optouts=not knobs.ignore_optouts)
        training = without_concepts(whole, concepts_of(held))
    else:
        training, held = hold_out(whole, knobs.held_out)
    held = first_of(held, knobs.held_out_pairs)

    # Model. Weights that learn are fp32; what is frozen has the precision of the arithmetic, but autoencoders overflow in fp16.
    if knobs.precision == "fp16" and not torch.cuda.is_available():
        raise KnobError("precision fp16 needs a GPU; give bf16 or fp32")
    accelerator = Accelerator(mixed_precision={"fp32": "no"}.get(knobs.precision, knobs.precision))
    device, first, ranks = accelerator.device, accelerator.is_main_process, accelerator.num_processes
    folder, below = resolve(knobs.model)
    if below is not None:
        raise ModelError(f"{knobs.model} is a LoRA; give its base as --model")
    learning = torch.float32 if knobs.method == "full" else _dtype(knobs)
    dtypes = {"default": _dtype(knobs), "vae": torch.float32, "unet": learning, "transformer": learning}
    pipeline: Any = open_pipeline(folder, dtype=torch.float32 if knobs.precision == "fp32" else dtypes, device=device)
    described = describe(pipeline)
    side = knobs.resolution or described.side
    if not side or side % described.multiple:
        raise KnobError(f"resolution {side}: give px, a multiple of {described.multiple} for this model")
    denoiser = getattr(pipeline, described.denoiser)
    for name, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            module.requires_grad_(name == described.denoiser and knobs.method == "full").eval()
    set_seed(knobs.seed)  # of a LoRA's first weights
    if knobs.method == "lora":
        add_new_lora(denoiser, knobs)
        cast_training_params(denoiser)
    if knobs.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    trained = {name: parameter for name, parameter in denoiser.named_parameters() if parameter.requires_grad}
    ema = {name: parameter.detach().clone() for name, parameter in trained.items()} if knobs.ema else {}
    optimizer: Any = torch.optim.AdamW(
        trained.values(), lr=knobs.learning_rate, betas=(knobs.beta1, knobs.beta2), weight_decay=knobs.weight_decay
    )
    model, optimizer = accelerator.prepare(denoiser, optimizer)
    objective = Objective(pipeline, described, knobs, device)
    try:
        loader = Loader(
            training,
            size=side,
            batch=knobs.batch,
            seed=knobs.seed,
            rank=accelerator.process_index,
            ranks=ranks,
            multiple=described.multiple,
            largest_aspect=knobs.largest_aspect,
            threads=knobs.threads,
            ahead=batches_ahead(device.type),
        )
    except ValueError as error:  # of too few samples for a batch
        raise KnobError(str(error)) from error

    # Where a stopped run goes on.
    out = Out(Path(knobs.out))
    if first:
        out.lock()
    accelerator.wait_for_everyone()
    told = {**dataclasses.asdict(knobs), "ranks": ranks, "release_digest": whole.manifest["digest"]}
    standing = out.run()
    if standing is not None:
        _check_same(json.loads(json.dumps(told)), standing["knobs"], out)
    step, seen, seconds, before = 0, 0, 0.0, list[float]()
    newest = out.newest()
    if newest is not None:
        state = json.loads((newest / "state.json").read_text("utf-8"))
        step, seen, seconds, before = state["step"], state["samples"], state["seconds"], state["held_out_before"]
        loader.restore(state["loader"])
        with torch.no_grad():
            for kept, file in ((trained, "weights.safetensors"), (ema, "ema.safetensors")):
                tensors = load_file(newest / file) if kept else {}
                for name, tensor in kept.items():
                    tensor.copy_(tensors[name])
        saved = torch.load(newest / "optimizer.pt", map_location=device, weights_only=True)
        optimizer.load_state_dict(saved["optimizer"])
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(saved["scaler"])
    if standing is not None and standing.get("finished") and standing["steps"] == step >= knobs.steps:
        if first:
            print(f"{out.root}: done already, {step:,} steps. For more of them give --steps; for another run another --out.")
        return 0
    run = {
        "base": str(Path(knobs.model).absolute()) if Path(knobs.model).exists() else knobs.model,
        "method": knobs.method,
        "model": {**dataclasses.asdict(described), "pipeline": type(pipeline).__name__, "resolution": side},
        "parameters": {"trained": sum(map(torch.numel, trained.values())), "denoiser": sum(map(torch.numel, denoiser.parameters()))},
        "release": {
            "path": knobs.release,
            "name": whole.release.name,
            "digest": whole.manifest["digest"],
            "licenses": whole.manifest.get("licenses"),
            "pairs": {"all": len(whole.samples), "trained_on": len(training.samples), "measured": len(held.samples)},
            "overridden": [name for name in ("allow_licenses", "ignore_optouts") if getattr(knobs, name)],
        },
        "versions": {name: version(name) for name in ("pigment", "torch", "diffusers", "transformers", "peft", "accelerate")}
        | {"python": platform.python_version()},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()}, {torch.get_num_threads()} threads",
        "knobs": told,
        "finished": False,
    }
    measured = HeldOut(held, objective, side=side, multiple=described.multiple, batch=knobs.batch, threads=knobs.threads) if first else None
    prompts = knobs.prompts or tuple(dict.fromkeys(measured.captions if measured else ()))[:8] or ("a drawing of a cat", "고양이 그림")
    log = Log(out, step) if first else None

    def clock() -> float:
        return seconds + time.monotonic() - began

    def measure() -> list[float]:
        assert measured is not None and log is not None
        denoiser.eval()
        with put_in(trained, ema), accelerator.autocast():
            losses = measured.losses(denoiser)
        if losses:
            log.put(step=step, held_out_loss=float(np.mean(losses)), held_out=losses)
        return losses

    def draw_grid() -> None:
        denoiser.eval()
        with put_in(trained, ema):
            grid(pipeline, knobs, prompts, side).save(out.root / "samples" / f"step-{step:06d}.png")

    def checkpoint() -> None:
        with out.folder(out.checkpoints / f"step-{step:06d}") as part:
            save_file({name: tensor.detach().contiguous() for name, tensor in trained.items()}, part / "weights.safetensors")
            save_file({name: tensor.contiguous() for name, tensor in ema.items()}, part / "ema.safetensors")
            scaler = None if accelerator.scaler is None else accelerator.scaler.state_dict()
            torch.save({"optimizer": optimizer.state_dict(), "scaler": scaler}, part / "optimizer.pt")
            state = {"step": step, "samples": seen, "seconds": clock(), "loader": loader.state(), "held_out_before": before}
            (part / "state.json").write_text(json.dumps(state), "utf-8")
        out.keep_newest(knobs.keep)

    if first:
        out.put_json(RUN, run)
        if step:
            say(f"{out.root}: going on at step {step:,} of {knobs.steps:,}")
        else:
            before = measure()
            if knobs.sample_every:
                draw_grid()

    # The loop.
    batches = iter(loader)
    shown, shown_at, since = time.monotonic(), step, list[float]()
    stopped = False
    while step < knobs.steps:
        stopped = _agreed(stop.asked, accelerator)
        if stopped:
            break
        model.train()
        rate = rate_at(step, knobs)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = torch.zeros((), device=device)
        for number in range(knobs.accumulate):
            batch = next(batches)
            draw = drawn_from(knobs.seed, "step", step, number, accelerator.process_index)
            torch.manual_seed(draw.initial_seed())  # of dropout inside the model, if it has any
            shape = Shape(batch.images.shape[3], batch.images.shape[2])
            clean = objective.clean(batch.images, draw)
            noise = torch.randn(clean.shape, generator=draw).to(device)
            place = torch.rand(len(clean), generator=draw).clamp(1e-4, 1 - 1e-4).to(device)
            dropped = (torch.rand(len(clean), generator=draw) < knobs.caption_dropout).tolist()
            captions = ["" if none else caption for none, caption in zip(dropped, batch.captions, strict=True)]
            last = number + 1 == knobs.accumulate
            with contextlib.nullcontext() if last else accelerator.no_sync(model):
                with accelerator.autocast():
                    of = objective.losses(model, clean, noise, place, objective.told(captions, batch.cuts, shape), plain=False)
                part = of.mean() / knobs.accumulate
                accelerator.backward(part)
            loss += part.detach()
        norm = accelerator.clip_grad_norm_(list(trained.values()), knobs.clip or math.inf)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        seen += knobs.batch * knobs.accumulate * ranks
        if ema:
            average(ema, trained, knobs.ema, step)
        loss = accelerator.reduce(loss, "mean")
        if log is not None:
            log.put(step=step, loss=loss, learning_rate=rate, gradient_norm=norm, epoch=batch.epoch, seconds=round(clock(), 2))
            if step % knobs.log_every == 0 or step == knobs.steps:
                since += [row["loss"] for row in log.write() if "loss" in row]
            if (now := time.monotonic()) - shown > 10 and since:
                speed = (step - shown_at) / (now - shown)
                left = (knobs.steps - step) / speed
                images = speed * knobs.batch * knobs.accumulate * ranks
                say(f"step {step:,} of {knobs.steps:,}   loss {np.mean(since):.4f}   {images:.1f} images/s   {left / 60:.1f} min left")
                shown, shown_at, since = now, step, []
            if knobs.measure_every and step % knobs.measure_every == 0 and step < knobs.steps:
                measure()
            if knobs.sample_every and step % knobs.sample_every == 0 and step < knobs.steps:
                draw_grid()
            if step % knobs.checkpoint_every == 0 or step == knobs.steps:
                log.write()
                checkpoint()
        accelerator.wait_for_everyone()

    if stopped:
        if log is not None:
            log.write()
            checkpoint()
            say(f"Stopped after step {step:,} of {knobs.steps:,}. The same command goes on from here.")
        accelerator.end_training()
        return EXIT_INTERRUPTED

    # The result.
    if log is not None and measured is not None:
        after = measure()
        if knobs.sample_every:
            draw_grid()
        log.write()
        with put_in(trained, ema):
            keep_result(pipeline, described, denoiser, knobs, folder, out)
        result = compared(before, after) if after and before else None
        run |= {"finished": True, "steps": step, "samples_seen": seen, "seconds": round(clock(), 1), "held_out_loss": result}
        out.put_json(RUN, run)
        write_card(out.root, manifest=whole.manifest)
        print(summary(out, knobs, run))
    accelerator.end_training()
    return 0


def _agreed(asked: bool, accelerator: Accelerator) -> bool:
    """Whether any process was asked to stop: all stop after the same step."""
    if accelerator.num_processes == 1:
        return asked
    return bool(accelerator.reduce(torch.tensor(float(asked), device=accelerator.device), "sum").item())


def _check_same(now: Mapping[str, Any], then: Mapping[str, Any], out: Out) -> None:
    """Raises KnobError where a run that goes on would not be the one that began."""
    others = [name for name in now if name not in FREE and now[name] != then.get(name)]
    if others:
        told = ", ".join(f"{name} {then.get(name)!r} and now {now[name]!r}" for name in others)
        raise KnobError(f"{out.root} holds a run with {told}; give another --out, or the same knobs to go on")


def keep_result(pipeline: Any, described: Description, denoiser: Any, knobs: Knobs, base: str, out: Out) -> None:
    """OUT/pipeline, a whole diffusers folder, or OUT/lora, for load_lora_weights."""
    if knobs.method == "full":
        kept = pipeline
        if knobs.precision != "fp32":  # what was frozen is kept as exact as the base has it
            kept = open_pipeline(base)
            getattr(kept, described.denoiser).load_state_dict(denoiser.state_dict())
        with out.folder(out.root / PIPELINE) as part:
            kept.save_pretrained(part)
        return
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(denoiser))
    metadata = {f"{described.denoiser}_lora_adapter_metadata": denoiser.peft_config["default"].to_dict()}
    with out.folder(out.root / LORA) as part:
        type(pipeline).save_lora_weights(part, **{f"{described.denoiser}_lora_layers": layers}, weight_name=LORA_FILE, **metadata)


def summary(out: Out, knobs: Knobs, run: Mapping[str, Any]) -> str:
    loss, pairs = run["held_out_loss"], run["release"]["pairs"]
    lines = [
        f"{run['steps']:,} steps, {run['samples_seen']:,} samples seen of {pairs['trained_on']:,} pairs, {run['seconds'] / 60:.1f} min; "
        f"{run['parameters']['trained']:,} weights trained",
        "held-out loss  not measured: no pairs were held out"
        if loss is None
        else f"held-out loss  {loss['before']:.4f} before, {loss['after']:.4f} after: {loss['difference']:+.4f} ± {loss['interval']:.4f} "
        f"(95 %, paired, {pairs['measured']:,} pairs)",
        f"model          {out.root / (PIPELINE if knobs.method == 'full' else LORA)}",
        f"pictures       {out.root / 'samples'}" if knobs.sample_every else "pictures       none: --sample_every 0",
        f"log            {out.log_path}, tensorboard --logdir {out.root / 'tensorboard'}",
        f"what was run   {out.root / RUN}, and for who gets the model {out.root / CARD}",
        f"next           python -m training.generate --model {out.root}",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 the training diverged, 2 wrong use, 130 interrupted."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the loader has threads of its own
    quieten()  # a prompt that is cut is told for every batch
    try:
        return finetune(read_knobs(arguments))
    except MISTAKES as error:
        return say(f"error: {error}", EXIT_USAGE)
    except FloatingPointError as error:
        return say(f"error: {error}", 1)


if __name__ == "__main__":
    sys.exit(main())
