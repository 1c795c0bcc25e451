"""The figures of every model of a comparison, on the same pairs, prompts and noise; what is measured once stays."""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from training.drawn import costs, draw_into, read_pictures
from training.evaluate import EVALUATION, as_json, put, shown
from training.evaluation import Judge
from training.features import Features
from training.generate import model_name, opened
from training.held_out import first_of
from training.heldout_loss import heldout_losses
from training.measures.figures import Figure, mean_of
from training.reference import ANY, Fields, Pairs, reference_pairs, split_of_row
from training.releases import TrainingSet

_LOSSES = "losses.json"


@dataclass(frozen=True)
class Score:
    """figures, real: by name of training.measures.names. losses: of the pairs in their order. cost: of drawing. folder: with the pictures."""

    figures: dict[str, Figure]
    real: dict[str, Figure]
    losses: list[float]
    cost: dict[str, Any]
    folder: Path


def measured_pairs(
    reference: TrainingSet, releases: list[TrainingSet], *, split: str, count: int, caption: str
) -> tuple[Pairs, Pairs | None, bool]:
    """`count` pairs of the split, as many others or None, and whether all of the reference is of that split.

    Where it is, a fine-tuning with it as validation trains on nothing that it shows, and no pair need be left out for being in a release.
    """
    apart = _all_of(reference, split)
    chosen = reference_pairs(reference, split=split, count=2 * count, caption=caption, trained_on=() if apart else releases)
    others = chosen.part(count, 2 * count) if len(chosen) == 2 * count else None
    return chosen.part(0, count), others, apart


def _all_of(reference: TrainingSet, split: str) -> bool:
    if split == ANY:
        return True
    rows = Fields(reference)
    return all(split_of_row(rows.of(sample)) == split for sample in range(len(reference.samples)))


class Scorer:
    """Draws a picture for every pair's caption with each model, and measures pictures and losses; steps, guidance, batch: of drawing.

    training_pictures: among so many of what a run was trained on, the first by uid, copies are looked for; 0: not measured.
    """

    def __init__(
        self,
        out: Path,
        base: str,
        pairs: Pairs,
        others: Pairs | None,
        *,
        features: str,
        device: str,
        steps: int,
        guidance: float,
        batch: int,
        training_pictures: int,
        split: str,
        caption: str,
    ):
        self.out, self.base, self.pairs, self.others = out, base, pairs, others
        self.named, self.device, self.batch, self.training_pictures = features, device, batch, training_pictures
        self.asked_of = {"split": split, "caption": caption}
        self.settings: dict[str, Any] = {"seed": 0, "steps": steps, "guidance": guidance}

    @cached_property
    def features(self) -> Features:
        return Features(self.named, device=self.device)

    @cached_property
    def judge(self) -> Judge:
        return Judge(self.features, self.pairs, self.others, cache=self.out / "cache", progress=shown)

    @property
    def label(self) -> str:
        return self.features.label

    def score(self, name: str, model: str, trained_on: TrainingSet | None) -> Score:
        """Of the model, which was trained on a release or on none of the two; from the disk where it was measured with the same settings."""
        folder = self.out / "evaluations" / name
        asked = self._asked(trained_on)
        if (found := _read(folder, asked)) is not None:
            return found
        pipeline = opened(model, None, "fp32", self.device)
        draw_into(
            folder / "pictures", pipeline, model_name(model, None), self.pairs.captions, **self.settings, batch=self.batch, dtype="fp32",
            progress=shown(f"{name}: pictures"),
        )  # fmt: skip
        losses = heldout_losses(pipeline, self.pairs)
        pictures = read_pictures(folder / "pictures")
        part = None if trained_on is None or not self.training_pictures else first_of(trained_on, self.training_pictures)
        evaluation = self.judge.evaluate(pictures, part)
        evaluation.figures["heldout_loss"] = mean_of_losses(losses)
        cost = costs(folder / "pictures")
        what = {"model": model, "pictures": str(folder / "pictures"), "count": len(pictures), "size": list(pictures.size), "cost": cost}
        told = as_json(
            evaluation,
            what=what | self.settings,
            features=self.features,
            pairs=self.pairs,
            others=self.others,
            **self.asked_of,
            trained_on=part,
        )
        (folder / _LOSSES).write_text(json.dumps(losses), "utf-8")
        put(folder, {**told, "asked": asked}, evaluation, pictures, part)  # last: what is asked for when it goes on
        return Score(evaluation.figures, evaluation.real, losses, cost, folder)

    def _asked(self, trained_on: TrainingSet | None) -> dict[str, Any]:
        uids = [*self.pairs.uids, *self.pairs.captions, *(self.others.uids if self.others else [])]
        return {
            "pairs": hashlib.sha256("\n".join(uids).encode()).hexdigest()[:16],
            "features": self.named,
            "base": self.base,
            **self.settings,
            "training": None if trained_on is None else [trained_on.manifest["digest"], self.training_pictures],
        }


def mean_of_losses(losses: list[float]) -> Figure:
    """With the bootstrap interval over pairs."""
    return mean_of(np.asarray(losses, np.float64), seed=0)


def _read(folder: Path, asked: dict[str, Any]) -> Score | None:
    try:
        told = json.loads((folder / EVALUATION).read_text("utf-8"))
    except FileNotFoundError:
        return None
    if told.get("asked") != asked:
        return None
    known = {field.name for field in fields(Figure)}
    figures, real = (
        {name: Figure(**{key: value for key, value in one.items() if key in known}) for name, one in told[side].items()}
        for side in ("figures", "real")
    )
    return Score(figures, real, json.loads((folder / _LOSSES).read_text("utf-8")), told["what"]["cost"], folder)
