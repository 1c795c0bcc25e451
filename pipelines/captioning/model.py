"""Captions that a model writes: a unit's chunks as scorers take them, decoded ahead, some images at a time."""

import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from pipelines.shards import one_ahead
from pipelines.steps.loaded_scorers import Needs, batches
from pipelines.steps.score_units import decoding
from quality.captioners import ROWS, Captioner
from quality.scorers.batch import SIDE, PairBatch
from schemas.pool import Pool
from schemas.units import Commit

_NEEDS = Needs([SIDE], [], pa.schema([]))


class ModelCaptions:
    """The captions of a unit, one a row: null where there is no image, it does not decode, or the model says nothing.

    Which images are looked at together hangs on the unit alone.
    """

    def __init__(self, model: Captioner, executor: ThreadPoolExecutor, tell: Callable[[int], None] = lambda _: None):
        """executor: decodes. tell: is told how many rows were done, time and again."""
        self._model, self._executor, self._tell = model, executor, tell

    def __call__(self, pool: Pool, raw: Commit) -> pa.Array:
        found: list[str | None] = [None] * raw.rows
        if raw.tar is not None:
            for first, batch in one_ahead(decoding(batches(pool, raw.unit, _NEEDS, {}), _NEEDS.sides, self._executor)):
                for row, caption in self._of_chunk(batch):
                    found[first + row] = caption
                self._tell(len(batch))
        return pa.array(found, pa.string())

    def _of_chunk(self, batch: PairBatch) -> Iterator[tuple[int, str]]:
        images = [(row, image) for row, image in enumerate(batch.pixels(side=SIDE)) if image is not None]
        for at in range(0, len(images), ROWS):
            some = images[at : at + ROWS]
            for (row, _), text in zip(some, self._model.write([image for _, image in some]), strict=True):
                if caption := unicodedata.normalize("NFC", text).strip():
                    yield row, caption
