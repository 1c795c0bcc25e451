"""Images for people who review elsewhere: made small, upright and free of metadata, sharp or blurred."""

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from PIL import Image

from quality.images import ImageError, decode
from quality.images.fit import fitted
from schemas.pool import Pool

BLURRED_SIDE = 24  # pixels that are left of the longer side, as in the review's own pages
_SHOWN_SIDE = 256  # pixels on which they are spread


def pictures_of(pool: Pool, tasks: pa.Table, *, side: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(row of `tasks`, the image as JPEG, blurred as JPEG), unit by unit. side: pixels of the longer side, at most. A pair whose image
    cannot be decoded is left out."""
    rows_of = dict[tuple[str, str], list[int]]()
    for row, (unit, tar) in enumerate(zip(tasks["unit"].to_pylist(), tasks["tar"].to_pylist(), strict=True)):
        rows_of.setdefault((unit, tar), []).append(row)
    for (unit, tar), rows in sorted(rows_of.items()):
        here = tasks.take(pa.array(rows))
        for row, data in zip(rows, pool.read_bytes(unit, here["offset"].to_pylist(), here["size"].to_pylist(), tar=tar), strict=True):
            try:
                pixels = decode(data, side=side)
            except ImageError:
                continue
            yield row, shown(pixels, side), blurred(pixels)


def shown(pixels: np.ndarray, side: int) -> bytes:
    """JPEG of RGB pixels (height x width x 3), scaled down to the longer side."""
    return _jpeg(Image.fromarray(fitted(pixels, side)))


def blurred(pixels: np.ndarray) -> bytes:
    """JPEG in which no more than BLURRED_SIDE pixels of the longer side are left: nothing can sharpen it."""
    small = Image.fromarray(fitted(pixels, BLURRED_SIDE))
    scale = _SHOWN_SIDE / max(small.size)
    return _jpeg(small.resize((max(1, round(small.width * scale)), max(1, round(small.height * scale))), Image.Resampling.BICUBIC))


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "jpeg", quality=85)
    return out.getvalue()
