"""Faces in the picture: BlazeFace (Bazarevsky et al., 2019, arXiv 1907.05047), MediaPipe's short-range model, through LiteRT.

It finds faces, it recognises nobody. Made for faces within two metres of a camera: one below an eighth of the picture's longer side is often
missed. Drawn faces count. Of 470 clip-art images named for no person or animal 40 pass for a face at 0.5, one of them at 0.7 (measured).
"""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pyarrow as pa

from quality.scorers.batch import SIDE, PairBatch
from quality.scorers.rounding import DECIMALS
from schemas.columns import field

MODEL: Final = Path(__file__).parents[1] / "detectors" / "face_detection_short_range.tflite"
LEAST_SCORE: Final = 0.5  # of a face that counts; this and the next four are MediaPipe's own options for this model
SAME_FACE: Final = 0.3  # intersection over union from which boxes show one face
_INPUT: Final = 128  # pixels
_GRIDS: Final = ((8, 2), (16, 6))  # (stride in pixels, anchors a cell): layers of strides 8, 16, 16, 16 with two anchors each
_LOGIT_BOUND: Final = 100.0


class Faces:
    """Counts faces and measures the largest. Scores of one image do not depend on its neighbours: images go through one by one."""

    name = "faces"
    reads_captions = False
    needs: tuple[str, ...] = ()
    side = SIDE
    fields = pa.schema(
        [
            field("count", pa.uint16(), meaning=f"faces found with a score of at least {LEAST_SCORE}", range=(0, None)),
            field("largest_share", pa.float32(), meaning="of the picture's area, the largest face's box; 0: no face", range=(0, 1)),
            field("score", pa.float32(), meaning=f"of the best candidate, sure or not; from {LEAST_SCORE} on it is a face", range=(0, 1)),
        ]
    )

    def __init__(self) -> None:
        self.version = f"blazeface-short@{_digest()[:8]};letterbox{_INPUT} area side{SIDE};ai-edge-litert-{version('ai-edge-litert')};1"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_model"}

    def load(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._model = Interpreter(model_path=str(MODEL), num_threads=1)
        self._model.allocate_tensors()

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """Null where the image cannot be decoded."""
        rows = [None if image is None else self._measured(image) for image in batch.pixels(side=SIDE)]
        columns = [[None if row is None else row[index] for row in rows] for index in range(3)]
        return pa.record_batch([pa.array(column, f.type) for column, f in zip(columns, self.fields, strict=True)], schema=self.fields)

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Of one RGB uint8 image: boxes (n x 4: left, top, right, bottom in shares of width and height, clipped), their scores, best first,
        and the score of the best candidate. float32."""
        small, scale = letterboxed(image)
        self._model.set_tensor(self._model.get_input_details()[0]["index"], small)
        self._model.invoke()
        outputs = {tuple(found["shape"]): self._model.get_tensor(found["index"])[0] for found in self._model.get_output_details()}
        anchors = _anchors()
        scores = 1 / (1 + np.exp(-np.clip(outputs[1, len(anchors), 1][:, 0].astype(np.float64), -_LOGIT_BOUND, _LOGIT_BOUND)))
        sure = scores >= LEAST_SCORE
        centre, size = np.split(outputs[1, len(anchors), 16][sure, :4] / _INPUT, 2, axis=1)  # six points of the face follow; not needed
        centre += anchors[sure]
        boxes, kept = merged(np.hstack([centre - size / 2, centre + size / 2]), scores[sure])
        return np.clip((boxes - 0.5) / scale + 0.5, 0, 1), kept, float(scores.max())

    def _measured(self, image: np.ndarray) -> tuple[int, float, float]:
        boxes, _, best = self.detect(image)
        shares = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        return len(boxes), round(float(shares.max(initial=0)), DECIMALS), round(best, DECIMALS)


def letterboxed(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The whole picture in the middle of a black square: float32 of -1..1, 1 x 128 x 128 x 3; and the shares (of 4: width, height, twice)
    of the square that it fills."""
    height, width = image.shape[:2]
    longer = max(height, width)
    size = tuple(max(1, round(length * _INPUT / longer)) for length in (width, height))
    filter_ = cv2.INTER_AREA if longer > _INPUT else cv2.INTER_LINEAR
    left, top = ((_INPUT - length) // 2 for length in size)
    square = np.full((1, _INPUT, _INPUT, 3), -1, np.float32)
    square[0, top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=filter_) / np.float32(127.5) - 1
    return square, np.array(size * 2, np.float32) / _INPUT


def merged(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One box a face: the best-scored takes in all that overlap it by SAME_FACE or more, as the mean of them weighted by score, and so on
    with the rest (the paper's "tie resolution"). boxes: n x 4. Returns boxes and each one's best score, best first."""
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    found, kept = [], []
    while len(boxes):
        same = _overlap(boxes[0], boxes) >= SAME_FACE
        same[0] = True  # a box without area overlaps not even itself
        found.append(np.average(boxes[same], axis=0, weights=scores[same]))
        kept.append(scores[0])
        boxes, scores = boxes[~same], scores[~same]
    return np.array(found, np.float32).reshape(-1, 4), np.array(kept, np.float32)


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with each."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = np.maximum(sides, 0).prod(axis=1)
    areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)
    return common / np.maximum(np.maximum(box[2:] - box[:2], 0).prod() + areas - common, 1e-12)


@cache
def _anchors() -> np.ndarray:
    """Middles of the 896 anchors, (x, y) in shares of the square, row by row; all are of size 1."""
    grids = []
    for stride, cell in _GRIDS:
        middles = (np.arange(_INPUT // stride, dtype=np.float32) + 0.5) * stride / _INPUT
        y, x = np.meshgrid(middles, middles, indexing="ij")
        grids.append(np.stack([x, y], -1).reshape(-1, 2).repeat(cell, axis=0))
    return np.concatenate(grids)


@cache
def _digest() -> str:
    return hashlib.sha256(MODEL.read_bytes()).hexdigest()
