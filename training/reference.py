"""Pairs of a release that a model is measured on: those of a split, and none that it was trained on."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from schemas.release import ReleaseError
from training.order import Shape
from training.pictures import picture
from training.releases import TrainingSet
from training.splits import concept_of_title, split_of

_BLOCK: Final = 512  # bytes; members of a tar begin at multiples of it
ANY: Final = "any"


@dataclass(frozen=True)
class Pairs:
    """Chosen pairs of a release. samples: their numbers in it. captions: what a model is asked for. left_out: passed over because they are
    in the training release too, by uid or by the image's bytes."""

    release: TrainingSet
    samples: Sequence[int]
    captions: Sequence[str]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def uids(self) -> list[str]:
        return [self.release.samples.uid_of(sample) for sample in self.samples]

    def part(self, start: int, stop: int) -> "Pairs":
        return replace(self, samples=self.samples[start:stop], captions=self.captions[start:stop])


def reference_pairs(
    release: TrainingSet, *, split: str, count: int, caption: str = "caption", trained_on: Sequence[TrainingSet] = (), seed: int = 0
) -> Pairs:
    """At most `count` pairs of `split`, in an order that hashes of uid and seed make.

    split: train, validation or heldout, as the carried column `split` says; where there is none, by the concept (column `concept`, else the
    title, else the caption: see training.splits); or "any". caption: the column that has the prompt; pairs without one are passed over.
    Raises ReleaseError when not one pair is left.
    """
    uids = [release.samples.uid_of(sample) for sample in range(len(release.samples))]
    order = sorted(range(len(uids)), key=lambda sample: hashlib.sha256(f"{seed} {uids[sample]}".encode()).digest())
    seen_uids = {one.samples.uid_of(sample) for one in trained_on for sample in range(len(one.samples))}
    seen_bytes = {digest for one in trained_on for digest in digests_of(one).values()}
    digests = digests_of(release) if trained_on else {}
    plain = split == ANY and caption == "caption"
    samples: list[int] = []
    captions: list[str] = []
    left_out = 0
    fields = Fields(release)
    for sample in order:
        if len(samples) == count:
            break
        row = {"caption": release.samples.captions[sample].as_py()} if plain else fields.of(sample)
        prompt = row.get(caption)
        if not prompt or (split != ANY and split_of_row(row) != split):
            continue
        if uids[sample] in seen_uids or (trained_on and digests[uids[sample]] in seen_bytes):
            left_out += 1
            continue
        samples.append(sample)
        captions.append(str(prompt))
    if not samples:
        told = f"; {left_out:,} are in what was trained on" if left_out else ""
        raise ReleaseError(
            f"release {release.release.name}: none of its {len(uids):,} pairs can be held out: split {split}, with {caption!r}{told}; give "
            f"another --reference, --split any, or another --caption"
        )
    return Pairs(release, samples, captions, left_out)


class Fields:
    """What a sample's JSON in its tar says: all carried columns, of which the index has but a few. Reads one sample at a time."""

    def __init__(self, training: TrainingSet):
        self.training = training
        samples = training.samples
        sizes = {shard["shard"]: shard["bytes"] for shard in training.manifest["shards"]}
        # Where a sample ends: where the header of the next image begins, or its tar ends.
        self._end = np.array([sizes[shard] for shard in samples.shard.tolist()], np.int64)
        order = np.lexsort((samples.offset, samples.shard))
        follows = samples.shard[order[1:]] == samples.shard[order[:-1]]
        self._end[order[:-1][follows]] = samples.offset[order[1:][follows]] - _BLOCK

    def of(self, sample: int) -> dict[str, Any]:
        """Raises ReleaseError when the tar is not what its index says."""
        samples, store = self.training.samples, self.training.release.store
        path = self.training.tar(int(samples.shard[sample]))
        start = -(-int(samples.offset[sample] + samples.size[sample]) // _BLOCK) * _BLOCK
        (data,) = store.read_ranges(path, [(start, int(self._end[sample]) - start)])
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                if member.name == f"{samples.uid_of(sample)}.json":
                    return json.load(tar.extractfile(member))  # type: ignore[arg-type]
        raise ReleaseError(f"{store.path_of(path)}: no JSON of {samples.uid_of(sample)}; it is not what its index says")


class Images:
    """Images of samples at a model's resolution: scaled to cover the shape, the middle cut out, as they are trained on."""

    def __init__(self, training: TrainingSet, width: int, height: int):
        self.training, self.shape = training, Shape(width, height)

    def of(self, sample: int) -> np.ndarray:
        """(height, width, 3) uint8 RGB. Raises ReleaseError for bytes that are no image."""
        samples, store = self.training.samples, self.training.release.store
        path = self.training.tar(int(samples.shard[sample]))
        (data,) = store.read_ranges(path, [(int(samples.offset[sample]), int(samples.size[sample]))])
        try:
            pixels, _ = picture(data, int(samples.width[sample]), int(samples.height[sample]), self.shape)
        except ValueError as error:
            raise ReleaseError(f"{store.path_of(path)}: the image of {samples.uid_of(sample)} cannot be decoded ({error})") from error
        return np.ascontiguousarray(pixels)


def split_of_row(row: dict[str, Any]) -> str:
    """train, validation or heldout: of a sample's carried columns."""
    if row.get("split"):
        return str(row["split"])
    concept = row.get("concept") or concept_of_title(str(row.get("title") or row.get("caption") or ""))
    return split_of(concept) if concept else "train"


def digests_of(training: TrainingSet) -> dict[str, str]:
    """The SHA-256 of the image bytes by uid, of the whole release even where `training` has a part of it; read anew at each call."""
    tables = [training.release.read_index(shard["shard"], ["uid", "sha256"]) for shard in training.manifest["shards"]]
    return {uid: digest for table in tables for uid, digest in zip(*table.to_pydict().values(), strict=True)}
