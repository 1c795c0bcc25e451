"""Pictures from prompts by any diffusers pipeline: candidates of each prompt, ranked, the best kept; the same picture whatever the batch size."""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from training.checkpoints import describe, exact_size
from training.command import Mistake
from training.generation.samplers import AUTO, chosen, scheduler_of, steps_of

Size = tuple[int, int]  # width, height, pixels


class GenerationError(Mistake):
    """A pipeline cannot do what it is asked for; the message says what."""


class Ranks(Protocol):
    """What ranks candidates; training.generation.ranking.Ranker is one."""

    def similarity(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        """One number a pair of image and prompt, higher is better."""
        ...


@dataclass(frozen=True)
class Settings:
    """How pictures are drawn, nothing left open. guidance: None where the pipeline knows none. size: None for the pipeline's own."""

    seed: int
    steps: int
    guidance: float | None
    negative: str | None
    sampler: str
    size: Size | None
    candidates: int
    keep: int


@dataclass(frozen=True)
class Picture:
    """A candidate that was kept.

    number: of its prompt. kept: how many of that prompt's candidates were. score: its similarity to the prompt, scores: those of all
    candidates in their order; None where nothing ranked them, and in `scores` for candidates that the pipeline's safety checker blanked.
    """

    number: int
    candidate: int
    prompt: str
    image: Image.Image
    score: float | None
    scores: tuple[float | None, ...]
    kept: int


def settings_of(
    pipeline: DiffusionPipeline,
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    negative: str | None = None,
    sampler: str = AUTO,
    size: Size | None = None,
    candidates: int = 1,
    keep: int = 1,
) -> Settings:
    """The settings with the pipeline's and the sampler's defaults in the place of None. Raises GenerationError, SamplerError."""
    takes = inspect.signature(pipeline.__call__).parameters
    if not 1 <= keep <= candidates:
        raise GenerationError(f"keep {keep} of {candidates} candidates: keep at least 1 and at most all")
    if steps is not None and steps < 1:
        raise GenerationError(f"{steps} steps: take at least 1")
    if "prompt" not in takes:
        raise GenerationError(f"{type(pipeline).__name__} takes no prompt: it is no text-to-image pipeline")
    if guidance is not None and "guidance_scale" not in takes:
        raise GenerationError(f"{type(pipeline).__name__} knows no guidance")
    if negative and ("negative_prompt" not in takes or "true_cfg_scale" in takes):
        raise GenerationError(f"{type(pipeline).__name__} takes no negative prompt beside its guidance: it was distilled to do without")
    if negative and guidance is not None and guidance <= 1:
        raise GenerationError(f"a negative prompt does nothing with guidance {guidance:g}: take more than 1")
    if size is not None and not {"height", "width"} <= takes.keys():
        raise GenerationError(f"{type(pipeline).__name__} draws in its own size alone")
    grain = 1 if size is None else describe(pipeline).multiple
    if size is not None and any(side < grain or side % grain for side in size):
        raise GenerationError(f"size {size[0]}x{size[1]}: this {type(pipeline).__name__} draws sides that {grain} divides")
    fits = chosen(pipeline, sampler)
    if guidance is None and "guidance_scale" in takes:
        guidance = float(takes["guidance_scale"].default)
    return Settings(seed, steps or steps_of(fits), guidance, negative or None, fits, size, candidates, keep)


def pictures(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    negative: str | None = None,
    sampler: str = AUTO,
    size: Size | None = None,
    batch: int = 16,
    candidates: int = 1,
    keep: int = 1,
    ranker: Ranks | None = None,
    numbers: Sequence[int] | None = None,
    drawn: Callable[[int], None] = lambda count: None,
) -> Iterator[Picture]:
    """The best `keep` of `candidates` pictures of each prompt: prompts in their order, the best of each first.

    Without a ranker the first candidates are the best. steps, guidance, size: None for the sampler's and the pipeline's own.
    numbers: of the prompts that are to be drawn, None for all. drawn: is told after each batch how many candidates it had.

    A candidate's noise comes from `seed`, the number of its prompt and its own, and is drawn on the CPU: neither batch nor device nor
    what else is drawn changes it. What batches change is the order in which floats are summed, which moves few pixels by one level of 255.
    The pipeline is as it was when the iterator ends. Fewer than `keep` come, perhaps none, where the pipeline's safety checker blanked the others.
    Raises GenerationError, SamplerError before anything is drawn.
    """
    asked = settings_of(
        pipeline, seed=seed, steps=steps, guidance=guidance, negative=negative, sampler=sampler, size=size, candidates=candidates, keep=keep
    )
    return _pictures(pipeline, prompts, asked, batch, ranker, range(len(prompts)) if numbers is None else numbers, drawn)


def noise_seed(seed: int, number: int, candidate: int) -> int:
    """The seed of one candidate's generator: 63 bits of SHA-256."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number} {candidate}".encode()).digest()[:8], "big") >> 1


def _pictures(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    settings: Settings,
    batch: int,
    ranker: Ranks | None,
    numbers: Sequence[int],
    drawn: Callable[[int], None],
) -> Iterator[Picture]:
    """A batch has whole prompts, or a part of one's candidates: its texts are encoded once a prompt and not once a picture."""
    before = pipeline.scheduler
    pipeline.scheduler = scheduler_of(pipeline, settings.sampler)
    together = max(1, batch // settings.candidates)  # prompts
    try:
        for start in range(0, len(numbers), together):
            some = numbers[start : start + together]
            found: dict[int, list[tuple[Image.Image | None, float | None]]] = {number: [] for number in some}
            for first in range(0, settings.candidates, batch):
                part = range(first, min(first + batch, settings.candidates))
                images = _drawn(pipeline, prompts, settings, some, part)
                texts = [prompts[number] for number in some for _ in part]
                for at, pair in enumerate(zip(images, _scores(ranker, images, texts), strict=True)):
                    found[some[at // len(part)]].append(pair)
                drawn(len(images))
            for number in some:
                yield from _best(number, prompts[number], found[number], settings.keep)
    finally:
        pipeline.scheduler = before


def _drawn(
    pipeline: DiffusionPipeline, prompts: Sequence[str], settings: Settings, numbers: Sequence[int], candidates: Sequence[int]
) -> list[Image.Image | None]:
    """The candidates of each prompt, prompt by prompt; None for one that the safety checker blanked."""
    options: dict[str, Any] = {"num_inference_steps": settings.steps, **exact_size(pipeline)}
    if settings.guidance is not None:
        options["guidance_scale"] = settings.guidance
    if settings.negative is not None:
        options["negative_prompt"] = [settings.negative] * len(numbers)
    if settings.size is not None:
        options["width"], options["height"] = settings.size
    noise = [
        torch.Generator("cpu").manual_seed(noise_seed(settings.seed, number, candidate)) for number in numbers for candidate in candidates
    ]
    found = pipeline([prompts[number] for number in numbers], num_images_per_prompt=len(candidates), generator=noise, **options)
    said = [getattr(found, name, None) for name in ("nsfw_content_detected", "nsfw_detected")]  # Stable Diffusion's, DeepFloyd IF's
    blanked = next(filter(None, said), [False] * len(found.images))
    return [None if one else image for image, one in zip(found.images, blanked, strict=True)]


def _scores(ranker: Ranks | None, images: Sequence[Image.Image | None], texts: Sequence[str]) -> list[float | None]:
    there = [at for at, image in enumerate(images) if image is not None]
    scores: list[float | None] = [None] * len(images)
    if ranker is not None and there:
        found = ranker.similarity([image for image in images if image is not None], [texts[at] for at in there])
        for at, score in zip(there, found.tolist(), strict=True):
            scores[at] = score
    return scores


def _best(number: int, prompt: str, found: Sequence[tuple[Image.Image | None, float | None]], keep: int) -> Iterator[Picture]:
    scores = tuple(score for _, score in found)
    order = sorted(range(len(found)), key=lambda at: (0.0 if (score := scores[at]) is None else -score, at))
    kept = [(at, image) for at in order if (image := found[at][0]) is not None][:keep]
    for at, image in kept:
        yield Picture(number, at, prompt, image, scores[at], scores, len(kept))
