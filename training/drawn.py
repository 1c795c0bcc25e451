"""Pictures that were generated for an evaluation: drawn into a folder, of which a stop leaves what was done, and read from one."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from training.evaluation import Pictures
from training.generation.draw import pictures as draw

LIST: Final = "pictures.jsonl"  # as training.generate writes it: a line a picture, with `file` and `prompt`
ASKED: Final = "asked.json"


class PicturesError(Exception):
    """A folder of pictures is not what it should be; the message says what and what to do."""


def draw_into(
    folder: Path,
    pipeline: Callable[[], Any],
    model: str,
    prompts: Sequence[str],
    *,
    seed: int,
    steps: int | None,
    guidance: float | None,
    batch: int,
    progress: Callable[[int, int], None],
) -> None:
    """Draws a picture for every prompt into the folder, those that are missing. pipeline: opens it; not called when nothing is missing.

    A picture's noise follows from seed and the number of its prompt, so a stop changes none. Raises PicturesError where the folder holds
    pictures of other prompts or settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"model": model, "prompts": list(prompts), "seed": seed, "steps": steps, "guidance": guidance}
    before = folder / ASKED
    if before.is_file():
        if (others := _differences(json.loads(before.read_text("utf-8")), asked)) != "":
            raise PicturesError(f"{folder} holds pictures of another evaluation ({others}); give another --out, or remove the folder")
    else:
        _write(before, json.dumps(asked, ensure_ascii=False, indent=1))
    there = _drawn(folder)
    missing = [number for number in range(len(prompts)) if number not in there]
    if not missing:
        return
    opened = pipeline()
    began, done = time.monotonic(), len(there)
    progress(done, len(prompts))
    for picture in draw(opened, prompts, seed=seed, steps=steps, guidance=guidance, batch=batch, numbers=missing):
        name = f"{picture.number:05d}.png"
        unfinished = folder / f"{name}.unfinished"
        picture.image.save(unfinished, "png")
        unfinished.rename(folder / name)
        done += 1
        line = {"number": picture.number, "file": name, "prompt": picture.prompt, "seconds": round(time.monotonic() - began, 3)}
        began = time.monotonic()
        with (folder / LIST).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        progress(done, len(prompts))


def seconds_of(folder: Path) -> float | None:
    """How long the pictures of a folder took to draw, opening the model left out; None where the list does not say."""
    spent = [row.get("seconds") for row in _lines(folder)]
    return None if not spent or any(one is None for one in spent) else float(sum(spent))


def read_pictures(folder: Path) -> Pictures:
    """The pictures of a folder that training.generate or draw_into wrote. All must have one size. Raises PicturesError."""
    rows = _lines(folder)
    if not rows:
        raise PicturesError(f"{folder / LIST}: not there, or empty; give a folder that python -m training.generate wrote")
    paths = [folder / row["file"] for row in rows]
    arrays = []
    for path in paths:
        try:
            with Image.open(path) as image:
                arrays.append(np.asarray(image.convert("RGB")))
        except OSError as error:
            raise PicturesError(f"{path}: cannot be read as a picture ({error})") from error
    if len({array.shape for array in arrays}) > 1:
        raise PicturesError(f"{folder}: its pictures have different sizes; measure those of one size at a time")
    return Pictures(arrays, [row["prompt"] for row in rows], paths)


def _lines(folder: Path) -> list[dict[str, Any]]:
    try:
        text = (folder / LIST).read_text("utf-8")
    except FileNotFoundError:
        return []
    rows = {}
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the last line of a run that was killed while it wrote
            continue
        rows[row.get("number", row["file"])] = row
    return [rows[number] for number in sorted(rows)]


def _drawn(folder: Path) -> set[int]:
    return {row["number"] for row in _lines(folder) if (folder / row["file"]).is_file()}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return ", ".join(sorted(name for name in now if before.get(name) != now[name]))


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text + "\n", "utf-8")
    unfinished.rename(path)
