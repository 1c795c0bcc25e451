"""Thumbnails for a page that anyone may open: one that shows nothing, and one to be asked for.

The blurred one is made here, from pixels of which 8 by 8 are left: no viewer can sharpen it, and it needs no script to be blurred. The
sharp one is kept apart from every image element of the page (report.js makes one of it when somebody asks).
"""

import io
from typing import Final

import numpy as np
from PIL import Image

from quality.images import ImageError, decode
from quality.images.fit import fitted

SIDE: Final = 160  # pixels, of a sharp thumbnail's longer side
_BLURRED: Final = 8  # pixels, of a blurred one's; the page draws it large and smooth


def thumbnails(data: bytes) -> tuple[bytes, bytes] | None:
    """(blurred, sharp), both WebP without metadata; None for bytes that cannot be decoded. The same bytes give the same thumbnails."""
    try:
        pixels = decode(data, side=SIDE)
    except ImageError:
        return None
    return _webp(fitted(pixels, _BLURRED), 60), _webp(fitted(pixels, SIDE), 70)


def _webp(pixels: np.ndarray, quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "webp", quality=quality, method=4)
    return out.getvalue()
