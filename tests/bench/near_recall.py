"""Recall of near-duplicates: how often a changed picture is still found to be its original.

    python -m tests.bench.near_recall [--json] [--drawings N]

Of every picture with a hash of quality 50 or more, as the scorer `image` measures it: `found` is the share whose changed copy is near by the
default policy, that is, PDQ distance, quality on both sides and colour bound. The others are lost to the copy's quality, then to the
distance, then to the colour bound; the four shares add up to 1. Copies are stored without loss, so that a change stands alone.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from quality.near_duplicates import DISTANCE, QUALITY
from quality.scorers.batch import PairBatch
from quality.scorers.image import Image
from schemas.policy import Duplicates
from tests.scoring import encoded
from tests.trust.changes import CHANGES, Change, photographs, sample

COLOUR = Duplicates().colour_distance


@dataclass(frozen=True)
class Recall:
    """Of `pictures`, shares; median of the PDQ distance over all of them, in bits of 256."""

    pictures: int
    found: float
    distance: float
    lost_to_quality: float
    lost_to_distance: float
    lost_to_colour: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the tables")
    parser.add_argument("--drawings", type=int, default=240, help="of the packaged sample (default: %(default)s)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    result = {"drawings": recall(sample(args.drawings)), "photographs": recall(photographs())}
    if args.json:
        print(json.dumps({name: {change: asdict(one) for change, one in table.items()} for name, table in result.items()}))
        return
    for name, table in result.items():
        print(_table(name, table) if table else f"{name}: not measured, none is installed (the extra `photographs`)")


def measured(images: Sequence[np.ndarray]) -> list[dict]:
    """The scorer's row of each picture, stored as PNG."""
    scorer = Image()
    return [scorer.score(PairBatch([None], [encoded(image, ".png")])).to_pylist()[0] for image in images]


def recall(images: Sequence[np.ndarray], changes: Mapping[str, Change] = CHANGES) -> dict[str, Recall]:
    """By name of the change; {} when no picture has a hash of the quality."""
    rows = measured(images)
    good = [(image, row) for image, row in zip(images, rows, strict=True) if row["pdq_quality"] >= QUALITY]
    if not good:
        return {}
    return {name: _recall([row for _, row in good], measured([change(image) for image, _ in good])) for name, change in changes.items()}


def _recall(originals: Sequence[dict], copies: Sequence[dict]) -> Recall:
    distance, colour = (np.array([of(a, b) for a, b in zip(originals, copies, strict=True)]) for of in (_bits_apart, _colours_apart))
    quality = np.array([row["pdq_quality"] for row in copies]) >= QUALITY
    near = distance <= DISTANCE
    return Recall(
        len(originals),
        float((quality & near & (colour <= COLOUR)).mean()),
        float(np.median(distance)),
        float((~quality).mean()),
        float((quality & ~near).mean()),
        float((quality & near & (colour > COLOUR)).mean()),
    )


def _bits_apart(a: dict, b: dict) -> int:
    return (int.from_bytes(a["pdq"]) ^ int.from_bytes(b["pdq"])).bit_count()


def _colours_apart(a: dict, b: dict) -> float:
    """Mean Euclidean distance of the thumbnails' 64 Lab values."""
    first, second = (np.frombuffer(row["thumbnail"], np.uint8).reshape(64, 3).astype(np.float64) for row in (a, b))
    return float(np.linalg.norm(first - second, axis=1).mean())


def _table(name: str, table: dict[str, Recall]) -> str:
    pictures = next(iter(table.values())).pictures
    lines = [
        f"{pictures} {name}; distance <= {DISTANCE}, quality >= {QUALITY}, colours <= {COLOUR:g}",
        f"  {'change':24s} {'found':>6s} {'median distance':>16s}   lost to: {'quality':>7s} {'distance':>8s} {'colour':>7s}",
    ]
    for change, one in table.items():
        lost = f"{one.lost_to_quality:7.3f} {one.lost_to_distance:8.3f} {one.lost_to_colour:7.3f}"
        lines.append(f"  {change:24s} {one.found:6.3f} {one.distance:16.0f}            {lost}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
