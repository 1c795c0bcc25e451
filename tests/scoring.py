"""What tests of scoring share: real pairs, a small open_clip model, units with real tars."""

import csv
import json
import os
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from quality.scorers.probe import CAPTIONS, drawings
from schemas.columns import RAW, table_of
from schemas.pool import Pool

SAMPLE = Path(__file__).parent / "data" / "sample"
Pair = tuple[str | None, bytes | None]

TINY = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic", "resize_mode": "shortest"},
}


def tiny_clip(folder: Path) -> str:
    """A random CLIP of two layers, as the `model` of Embed; the same weights each time."""
    import open_clip

    name = "tiny-" + folder.name
    with tempfile.TemporaryDirectory() as configs:
        Path(configs, f"{name}.json").write_text(json.dumps(TINY["model_cfg"]))
        open_clip.add_model_config(configs)
    return random_clip(name, folder, TINY)


def random_clip(name: str, folder: Path, config: dict) -> str:
    """An architecture of open_clip with random weights, the same each time, as the `model` of Embed. config: of the folder's model."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(name)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def encoded(image: np.ndarray, format: str = ".jpg") -> bytes:
    return cv2.imencode(format, image[:, :, ::-1])[1].tobytes()


def drawn_pairs(format: str = ".png") -> list[Pair]:
    """16 drawings with captions that are not about them."""
    return [(caption, encoded(image, format)) for caption, image in zip(CAPTIONS, drawings(), strict=True)]


def sample_pairs(count: int, *, step: int = 7) -> list[Pair]:
    """The first pairs of the packaged sample, every 7th by default, so that all its sources are there."""
    with (SAMPLE / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[::step][:count]
    return [(row["caption"], (SAMPLE / row["file_name"]).read_bytes()) for row in rows]


def put_unit(pool: Pool, unit: str, pairs: Sequence[Pair]) -> None:
    """Commits a fetched unit; a pair without bytes failed."""
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder, "unit.tar")
        with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as archive:
            for row, (caption, data) in enumerate(pairs):
                rows.append({"row": row, "uid": f"{unit}-{row}", "caption": caption, "status": "failed_to_download"})
                if data is not None:
                    member = tarfile.TarInfo(f"{row:09d}.img")
                    member.size = len(data)
                    rows[-1] |= {"status": "success", "offset": archive.offset + 512, "size": len(data)}
                    archive.addfile(member, BytesIO(data))
        pool.commit(unit, table_of(rows, RAW), tar=tar, input_digest=f"input of {unit}")


def cache_folder() -> Path:
    """Where tests keep exported models from run to run; the files' names hold the weights' digests."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pigment"
