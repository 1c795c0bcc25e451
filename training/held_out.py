"""Which pairs of a release are kept from training, so that a loss or a picture can be judged on what was never learned."""

import dataclasses
import hashlib
import re
from collections.abc import Collection
from typing import Final

import numpy as np

from training.releases import TrainingSet
from training.splits import concept_of_title

_SKIN_TONE: Final = re.compile(r"[\w-]+ skin tone\b")  # "woman: medium-dark skin tone, red hair" is drawn like "woman: red hair"
_WORD: Final = "held out\n"  # a hash of its own: with that of training.splits a release of one split would be held out all or not at all


def concepts_of(training: TrainingSet) -> list[str]:
    """Of every pair what its caption says is shown: its letters in lower case, no skin tone. One concept is on one side, all of it."""
    return [concept_of_title(_SKIN_TONE.sub(" ", caption)) or caption for caption in training.samples.captions.to_pylist()]


def hold_out(training: TrainingSet, share: float) -> tuple[TrainingSet, TrainingSet]:
    """(to train on, held out): of all concepts about `share`, 0 to 1, are held out, the same in every release, with every seed."""
    held = np.array([_place(concept) < share for concept in concepts_of(training)], bool)
    return part_of(training, ~held), part_of(training, held)


def without_concepts(training: TrainingSet, concepts: Collection[str]) -> TrainingSet:
    """The pairs that show none of `concepts`."""
    found = set(concepts)
    return part_of(training, np.array([concept not in found for concept in concepts_of(training)], bool))


def first_of(training: TrainingSet, count: int) -> TrainingSet:
    """At most `count` pairs, the first by uid, which is a hash: the same ones whatever the release's shards. Without weights."""
    found = part_of(training, np.argsort(training.samples.uid[:, 0], kind="stable")[:count])
    return dataclasses.replace(found, samples=dataclasses.replace(found.samples, weights=None))


def part_of(training: TrainingSet, rows: np.ndarray) -> TrainingSet:
    """The same release with some of its samples. rows: a mask, or numbers of samples."""
    samples = training.samples
    numbers = np.flatnonzero(rows) if rows.dtype == bool else rows
    taken = {name: getattr(samples, name)[numbers] for name in ("uid", "shard", "offset", "size", "width", "height")} | {
        "captions": samples.captions.take(numbers),
        "weights": None if samples.weights is None else samples.weights[numbers],
    }
    return dataclasses.replace(training, samples=dataclasses.replace(samples, **taken))


def _place(concept: str) -> float:
    return int.from_bytes(hashlib.sha256((_WORD + concept).encode()).digest()[:8], "big") / 2**64
