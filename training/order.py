"""In which order samples are seen: a global shuffle made of hashes of uids, cut into batches of one shape.

The order follows from uids, seed and epoch alone: not from shards, workers or the position at which a training was stopped.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Pixels of a batch's images."""

    width: int
    height: int

    @property
    def aspect(self) -> float:
        return self.width / self.height


def shapes_of(size: int, *, multiple: int = 8, largest_aspect: float = 2.0) -> tuple[Shape, ...]:
    """Shapes of at most size x size pixels, sides a multiple of `multiple`, longer at most `largest_aspect` times the shorter; by aspect.

    Each width has the largest height that fits, as in NovelAI's aspect ratio bucketing (2022). largest_aspect 1: the square alone.
    Raises ValueError when `size` is no multiple.
    """
    if size % multiple or size < multiple:
        raise ValueError(f"size {size} is no multiple of {multiple}")
    found = {Shape(size, size)}
    for width in range(multiple, int(size * largest_aspect**0.5) + multiple, multiple):
        height = min(size * size // width, int(size * largest_aspect**0.5) + multiple) // multiple * multiple
        if height >= multiple and max(width / height, height / width) <= largest_aspect:
            found.add(Shape(width, height))
    return tuple(sorted(found, key=lambda shape: shape.aspect))


def nearest_shapes(width: np.ndarray, height: np.ndarray, shapes: tuple[Shape, ...], *, least: int = 1) -> np.ndarray:
    """For each image the number of the shape with the nearest aspect (by logarithm), int16. A shape that fewer than `least` images would have
    gives them to the nearest that has enough, so that no image is left without company for a batch."""
    logs = np.log([shape.aspect for shape in shapes])
    aspect = np.log(np.maximum(width, 1) / np.maximum(height, 1))
    between = (logs[1:] + logs[:-1]) / 2
    nearest = np.searchsorted(between, aspect).astype(np.int16)
    counts = np.bincount(nearest, minlength=len(shapes))
    while (few := np.flatnonzero((counts > 0) & (counts < least))).size and (counts > 0).sum() > 1:
        poorest = few[np.argmin(counts[few])]
        others = np.flatnonzero((counts > 0) & (np.arange(len(shapes)) != poorest))
        target = others[np.argmin(abs(logs[others] - logs[poorest]))]
        nearest[nearest == poorest] = target
        counts = np.bincount(nearest, minlength=len(shapes))
    return nearest


@dataclass(frozen=True)
class Plan:
    """An epoch. samples: (steps, batch of all ranks), numbers of samples. shape: (steps,), the shape's number. left_out: of this epoch."""

    samples: np.ndarray
    shape: np.ndarray
    left_out: int


class Order:
    """The batches of every epoch.

    uid: (n, 2) uint64. shape: (n,), the number of each sample's shape. batch: samples of one rank in a step. weights: how often a sample is
    seen in an epoch: the whole part always, the rest with that probability. Raises ValueError when no shape is to fill a batch.
    """

    def __init__(self, uid: np.ndarray, shape: np.ndarray, *, batch: int, ranks: int = 1, seed: int = 0, weights: np.ndarray | None = None):
        self.uid, self.shape, self.batch, self.ranks, self.seed, self.weights = uid, shape, batch, ranks, seed, weights
        # What is expected of the fullest shape: where weights have fractions, an epoch may be empty now and then, and never all of them.
        if np.bincount(shape, weights).max(initial=0) < batch * ranks:
            told = "samples" if weights is None else "samples with their weights"
            raise ValueError(
                f"{len(uid):,} {told} do not fill one batch of {batch} on {ranks} ranks with images of one shape; "
                "give a smaller batch, or more samples"
            )

    def epoch(self, number: int) -> Plan:
        """The plan of epoch `number`, from 0. What does not fill a last batch of its shape is left out, other samples in every epoch."""
        mixed = self._mixed(number)
        samples = np.arange(len(mixed))
        if self.weights is not None:
            part = (self._mixed(~number) >> np.uint64(11)).astype(np.float64) / 2**53
            samples = np.repeat(samples, (np.floor(self.weights) + (part < self.weights % 1)).astype(np.int64))
        # Copies of one sample are mixed apart: by how many of it came before.
        first = np.searchsorted(samples, samples)
        order = np.argsort(_mix(mixed[samples] + (np.arange(len(samples)) - first).astype(np.uint64)), kind="stable")
        samples = samples[order]
        together = self.batch * self.ranks
        steps, shapes, last = [], [], []
        for shape in np.unique(self.shape):
            of_shape = np.flatnonzero(self.shape[samples] == shape)
            places = of_shape[: len(of_shape) // together * together].reshape(-1, together)
            steps.append(samples[places])
            shapes.append(np.full(len(places), shape))
            last.append(places[:, -1])
        when = np.argsort(np.concatenate(last), kind="stable")  # a batch's turn is when its last sample's comes
        taken = np.concatenate(steps)[when]
        return Plan(taken, np.concatenate(shapes)[when], len(samples) - taken.size)

    def chance(self, epoch: int, sample: int) -> tuple[float, float]:
        """Two numbers from 0 to 1 that belong to a sample in an epoch."""
        one = _mix(self._mixed(epoch, slice(sample, sample + 1)))
        first, second = (float(word[0] >> np.uint64(11)) / (2**53 - 1) for word in (one, _mix(one)))
        return first, second

    def _mixed(self, epoch: int, rows: slice = slice(None)) -> np.ndarray:
        """A hash of every uid, seed and epoch."""
        seed, number = (np.array([word], np.int64).view(np.uint64) for word in (self.seed, epoch))
        return _mix(self.uid[rows, 0] ^ _mix(self.uid[rows, 1] ^ _mix(number ^ _mix(seed))))


def _mix(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea and Flood, 2014): every bit of the output hangs on every bit of the input."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
