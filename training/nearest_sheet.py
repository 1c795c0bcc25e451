"""A sheet of generated pictures, each beside the training picture that is nearest to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from training.drawn import Pictures
from training.generation.fonts import font_for
from training.generation.sheet import Row, sheets
from training.reference import Images
from training.releases import TrainingSet


def nearest_sheet(closest: Sequence[dict[str, Any]], pictures: Pictures, trained_on: TrainingSet) -> Image.Image:
    """closest: as training.evaluation tells it, the nearest first. Left the generated picture, right the training one at the same size."""
    images, places = Images(trained_on, *pictures.size), {str(where): place for place, where in enumerate(pictures.paths)}
    rows = [
        Row(
            f"{row['prompt']} / {row['caption']}",
            [Image.fromarray(pictures.arrays[places[row["picture"]]]), Image.fromarray(images.of(row["sample"]))],
            f"cosine {row['cosine']:.3f}" + ("" if row["bits"] is None else f", nearest PDQ at {row['bits']} bits"),
            number,
        )
        for number, row in enumerate(closest)
    ]
    return next(sheets(rows, font_for(row.caption for row in rows)))


def write_nearest(path: Path, closest: Sequence[dict[str, Any]], pictures: Pictures, trained_on: TrainingSet) -> None:
    """As a PNG."""
    nearest_sheet(closest, pictures, trained_on).save(path)
