"""Pictures for an evaluation: drawn as training.generate draws them, a picture a prompt and unranked, and read from a folder that it wrote."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from training.command import Mistake, replace
from training.generation.draw import settings_of
from training.generation.index import INDEX, model_digest
from training.generation.jobs import Job, Model

COST: Final = "cost.json"


class PicturesError(Mistake):
    """A folder of pictures is not what it should be; the message says what and what to do."""


class Pictures:
    """Generated pictures: n arrays (height, width, 3) uint8 RGB of one size, their prompts, and where each lies."""

    def __init__(self, arrays: Sequence[np.ndarray], prompts: Sequence[str], paths: Sequence[Path]):
        self.arrays, self.prompts, self.paths = arrays, prompts, paths

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.arrays[0].shape[:2]
        return width, height


def draw_into(
    folder: Path,
    pipeline: Any,
    model: str,
    prompts: Sequence[str],
    *,
    seed: int,
    steps: int | None,
    guidance: float | None,
    batch: int,
    dtype: str,
    progress: Callable[[int, int], None],
) -> None:
    """Draws a picture for every prompt, those that are missing in the folder; keeps in cost.json how long it took.

    The noise follows from seed and the prompt's number: another model gets the same. Raises training.generation's errors, such as for a
    folder of pictures that were made in another way.
    """
    settings = settings_of(pipeline, seed=seed, steps=steps, guidance=guidance)
    job = Job(list(prompts), folder, model=Model(pipeline, model, model_digest(pipeline.components), dtype), settings=settings, ranker=None)
    before = costs(folder)
    began, done, of = time.monotonic(), 0, len(job.missing)

    def drawn(count: int) -> None:
        nonlocal done
        done += count
        spent = {"pictures": before["pictures"] + done, "seconds": round(before["seconds"] + time.monotonic() - began, 3)}
        replace(folder / COST, json.dumps(spent).encode())
        progress(done, of)

    job.draw(batch=batch, drawn=drawn)


def costs(folder: Path) -> dict[str, Any]:
    """Pictures that draw_into drew, and seconds, opening the model left out; zeros where it drew none."""
    try:
        return json.loads((folder / COST).read_text("utf-8"))
    except FileNotFoundError:
        return {"pictures": 0, "seconds": 0.0}


def read_pictures(folder: Path) -> Pictures:
    """The pictures of a folder with training.generate's index, by prompt. All must have one size. Raises PicturesError."""
    try:
        rows = [json.loads(line) for line in (folder / INDEX).read_text("utf-8").splitlines()]
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise PicturesError(f"{folder / INDEX}: {error}; give a folder that python -m training.generate wrote") from error
    rows.sort(key=lambda row: (row["prompt_number"], row["candidate"]))
    if not rows:
        raise PicturesError(f"{folder / INDEX} names no picture")
    paths = [folder / row["file"] for row in rows]
    arrays = []
    for path in paths:
        try:
            with Image.open(path) as image:
                arrays.append(np.asarray(image.convert("RGB")))
        except OSError as error:
            raise PicturesError(f"{path}: cannot be read as a picture ({error}); generate it anew") from error
    if len({array.shape for array in arrays}) > 1:
        raise PicturesError(f"{folder}: its pictures have different sizes; measure those of one size at a time")
    return Pictures(arrays, [row["prompt"] for row in rows], paths)
