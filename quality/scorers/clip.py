"""How well caption and image match: the cosine of the stored embeddings."""

import numpy as np
import pyarrow as pa

from quality.scorers.batch import PairBatch
from quality.scorers.rounding import rounded
from schemas.columns import field


class Clip:
    """Similarity of image and caption, from the columns of :class:`quality.scorers.embed.Embed`.

    embed_version: the version of the embeddings. The similarity's own version begins with it, since another model gives other numbers.
    """

    name = "clip"
    needs: tuple[str, ...] = ("embed.image", "embed.text")
    fields = pa.schema(
        [field("similarity", pa.float32(), meaning="cosine of image and caption embedding", range=(-1, 1), better="higher")],
    )

    def __init__(self, *, embed_version: str):
        self.version = f"{embed_version};cosine;1"

    def load(self) -> None:
        pass  # no model

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """Null where one of the embeddings is."""
        image, text = (vectors(batch.column(name)) for name in self.needs)
        if not image.shape[1] or not text.shape[1]:  # all null
            return pa.record_batch([pa.nulls(len(batch), pa.float32())], schema=self.fields)
        with np.errstate(invalid="ignore"):
            cosine = (image * text).sum(1) / (np.linalg.norm(image, axis=1) * np.linalg.norm(text, axis=1))
        return pa.record_batch([rounded(cosine)], schema=self.fields)


def vectors(column: pa.Array) -> np.ndarray:
    """float64 rows of a list column whose lists are of one length; NaN where it is null."""
    values = column.drop_null().flatten().to_numpy(zero_copy_only=False)
    there = np.asarray(column.is_valid())
    found = np.full((len(column), values.size // max(1, int(there.sum()))), np.nan)
    found[there] = values.reshape(-1, found.shape[1]) if values.size else found[there]
    return found
