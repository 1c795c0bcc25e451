"""A small dataset that was appended to, by the main job in this process: folders of drawn pictures, one scorer, two releases that share shards."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.ingest import main
from schemas.pool import Pool
from schemas.release import Release, latest

BASE, NEW, SHARDS = 60, 6, 6
POLICY = """name = "appended"
similarity = "image.sharpness"
[duplicates]
near = true
[[rule]]
column = "image.smallest_side"
min = 16
reason = "image:too_small"
"""
TOP = '[[rule]]\ncolumn = "image.entropy"\ntop_fraction = 0.5\nof = "passing"\nreason = "image:empty"\n'
FLAGS = ("--running_mode", "in_memory", "--workers", "1", "--scorers", "image", "--unit_size", "20", "--shard_count", str(BASE // SHARDS))
TWIN_OF = 7  # of the base, whose better twin is among the new pairs


def png(number: int, scale: int = 8) -> bytes:
    """Blocks, some columns of them white, so that entropies differ."""
    pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    pixels[:, 8 - number % 4 :] = 255
    out = io.BytesIO()
    Image.fromarray(np.kron(pixels, np.ones((scale, scale, 1), np.uint8))).save(out, "png")
    return out.getvalue()


def folder(path: Path, pairs: dict[str, bytes]) -> Path:
    path.mkdir()
    with (path / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file_name", "caption", "license"))
        for number, (caption, data) in enumerate(pairs.items()):
            (path / f"{number}.png").write_bytes(data)
            rows.writerow((f"{number}.png", caption, "CC BY 4.0"))
    return path


def captions(first: int, count: int) -> dict[str, bytes]:
    return {f"blocks number {number}": png(number) for number in range(first, first + count)}


def make_sources(place: Path) -> tuple[Path, Path]:
    """The base, and new pairs with a better twin of one of the base's: the same picture of twice the side."""
    twin = {f"blocks number {TWIN_OF}": png(TWIN_OF, 16)}
    return folder(place / "base", captions(0, BASE)), folder(place / "new", {**captions(BASE, NEW), **twin})


def run(root: Path, *flags: str | Path) -> Release:
    assert main(["--dataset", str(root), *map(str, flags), *FLAGS]) == 0
    store = Pool(root).store
    return Release(store, str(latest(store)))
