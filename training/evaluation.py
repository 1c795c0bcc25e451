"""What the measures say of a set of pictures and their prompts, beside real pictures that nobody trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.clip.measures import mismatched
from training.drawn import Pictures
from training.features import Features, Seen, Shown, kept
from training.measures.distances import cmmd, frechet, kid, unit
from training.measures.figures import Figure, mean_of, not_measured
from training.measures.manifolds import manifolds
from training.measures.memorisation import PDQ_MATCH, PDQ_QUALITY, Nearest, nearest_by_cosine, nearest_by_pdq, told
from training.reference import Images, Pairs, digests_of
from training.releases import TrainingSet

_PART = 2048  # pictures seen between two writes to the cache
_CLOSEST = 8  # pictures that are told with their training neighbour


def quiet(what: str) -> Shown:
    """No progress."""
    return lambda done, of: None


@dataclass(frozen=True)
class Evaluation:
    """figures: by name of training.measures.names. real: the same of other held-out pictures, in place of generated ones. scores, real_scores:
    CLIP scores one by one. memorisation: None where no training release was given."""

    figures: dict[str, Figure]
    real: dict[str, Figure]
    scores: np.ndarray
    real_scores: np.ndarray
    memorisation: dict[str, Any] | None = None
    nearest: dict[str, np.ndarray] = field(default_factory=dict)


class Judge:
    """Measures sets of pictures against one reference, which it sees once.

    reference: the held-out pairs. others: as many again, for what real pictures would get; None where there are not enough.
    trained_on: what nearest neighbours are looked for in. cache: folder for what was seen of real pictures.
    """

    def __init__(
        self,
        features: Features,
        reference: Pairs,
        others: Pairs | None = None,
        *,
        cache: Path,
        seed: int = 0,
        progress: Callable[[str], Shown] = quiet,
    ):
        self.features, self.reference, self.others = features, reference, others
        self.cache, self.seed, self.progress = cache, seed, progress
        self._held: dict[tuple[int, int], tuple[Seen, Seen | None]] = {}

    def evaluate(self, pictures: Pictures, trained_on: TrainingSet | None = None) -> Evaluation:
        """All figures of the pictures; real ones are brought to their size first: what differs is then not the resolution."""
        size, seed = pictures.size, self.seed
        seen = self.features.pictures(len(pictures), pictures.arrays.__getitem__, progress=self.progress("look at pictures"))
        held, others = self._heldout(size)
        texts = self.features.texts(pictures.prompts)
        figures, scores = _against_prompts(seen, texts, pictures.prompts, seed)
        figures |= _against_real(seen.vectors, held.vectors, seed)
        captions = self.reference.captions
        same = list(captions) == list(pictures.prompts)
        real, real_scores = _against_prompts(held, texts if same else self.features.texts(captions), captions, seed)
        if others is not None:
            real |= _against_real(others.vectors, held.vectors, seed)
        if trained_on is None:
            figures["nearer_to_training"] = not_measured("give --training")
            return Evaluation(figures, real, scores, real_scores)
        training = self._training(trained_on, size)
        strangers = held if others is None else _joined(held, others)
        cosine, cosine_held = (nearest_by_cosine(one.vectors, training.vectors) for one in (seen, strangers))
        bits = _bits(seen, training)
        told_: dict[str, Any] = {
            "cosine": told(cosine.near, cosine_held.near, nearer="higher"),
            "pdq": _told_bits(seen, strangers, training),
            "closest": _closest(cosine, bits, pictures, trained_on),
            "training_n": len(training),
        }
        ordered = np.sort(cosine_held.near)
        below = (np.searchsorted(ordered, cosine.near, "left") + np.searchsorted(ordered, cosine.near, "right")) / 2 / len(ordered)
        figures["nearer_to_training"] = mean_of(below, seed=seed, more={"nearer_than_any": told_["cosine"]["nearer_than_any"]})
        nearest = {"cosine": cosine.near, "cosine_heldout": cosine_held.near, "pdq": bits, "pdq_heldout": _bits(strangers, training)}
        return Evaluation(figures, real, scores, real_scores, told_, nearest)

    def _heldout(self, size: tuple[int, int]) -> tuple[Seen, Seen | None]:
        if size not in self._held:
            reference = self._real(self.reference.release, self.reference.samples, size, "look at held-out pictures")
            others = None
            if self.others is not None:
                others = self._real(self.others.release, self.others.samples, size, "look at more held-out pictures")
            self._held[size] = reference, others
        return self._held[size]

    def _training(self, training: TrainingSet, size: tuple[int, int]) -> Seen:
        order = np.lexsort((training.samples.offset, training.samples.shard))  # as they lie
        seen = self._real(training, order.tolist(), size, "look at training pictures")
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return seen.take(back)

    def _real(self, training: TrainingSet, samples: Sequence[int], size: tuple[int, int], what: str) -> Seen:
        images, digests = Images(training, *size), digests_of(training)
        width, height = size
        return kept(
            self.cache / f"{self.features.identity}-{width}x{height}",
            self.features,
            [digests[training.samples.uid_of(sample)] for sample in samples],
            lambda place: images.of(samples[place]),
            part=_PART,
            progress=self.progress(what),
        )


def _against_prompts(seen: Seen, texts: np.ndarray, prompts: Sequence[str], seed: int) -> tuple[dict[str, Figure], np.ndarray]:
    """CLIP score (Hessel et al., arXiv 2104.08718, here the bare cosine: not times 2.5 and not cut at 0), and the probability that a picture is
    more similar to its own prompt than a picture is to a prompt of another."""
    similarity = unit(texts) @ unit(seen.vectors).T
    own = similarity.diagonal()
    figures = {"clip_score": mean_of(own, seed=seed)}
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    others = np.sort(mismatched(similarity, np.array([numbers[prompt] for prompt in prompts])))
    if not len(others):
        return figures | {"prompt_auc": not_measured("there is one prompt alone", len(own))}, own
    below = (np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")) / 2 / len(others)
    return figures | {"prompt_auc": mean_of(below, seed=seed)}, own


def _against_real(generated: np.ndarray, real: np.ndarray, seed: int) -> dict[str, Figure]:
    return {
        "cmmd": cmmd(generated, real),
        "kid": kid(generated, real, seed=seed),
        "fd": frechet(generated, real),
        **manifolds(unit(generated), unit(real), seed=seed),
    }


def _bits(seen: Seen, training: Seen) -> np.ndarray:
    """(n,) bits to the nearest training picture; -1 where a hash of either side says too little."""
    good, there = seen.quality >= PDQ_QUALITY, training.quality >= PDQ_QUALITY
    found = np.full(len(seen), -1, np.int64)
    if good.any() and there.any():
        found[good] = nearest_by_pdq(seen.pdq[good], training.pdq[there]).near
    return found


def _told_bits(seen: Seen, strangers: Seen, training: Seen) -> dict[str, Any]:
    generated, heldout = (bits[bits >= 0] for bits in (_bits(seen, training), _bits(strangers, training)))
    if not len(generated) or not len(heldout):
        return {"n": len(generated), "heldout_n": len(heldout), "note": f"no PDQ hashes of quality {PDQ_QUALITY} or more to compare"}
    matches = {
        "match_bits": PDQ_MATCH,
        "matches": int((generated <= PDQ_MATCH).sum()),
        "heldout_matches": int((heldout <= PDQ_MATCH).sum()),
    }
    return told(generated, heldout, nearer="lower") | matches


def _closest(cosine: Nearest, bits: np.ndarray, pictures: Pictures, trained_on: TrainingSet) -> list[dict[str, Any]]:
    samples = trained_on.samples
    return [
        {
            "picture": str(pictures.paths[place]),
            "prompt": pictures.prompts[place],
            "cosine": round(float(cosine.near[place]), 4),
            "bits": int(bits[place]) if bits[place] >= 0 else None,
            "sample": int(cosine.index[place]),
            "uid": samples.uid_of(int(cosine.index[place])),
            "caption": samples.captions[int(cosine.index[place])].as_py(),
        }
        for place in np.argsort(-cosine.near, kind="stable")[:_CLOSEST].tolist()
    ]


def _joined(one: Seen, other: Seen) -> Seen:
    return Seen(*(np.concatenate([getattr(side, name) for side in (one, other)]) for name in ("vectors", "pdq", "quality")))
