"""The image of a task as it is sent: decoded and encoded anew, blurred or without colour by us. The stored bytes never leave."""

import threading
from typing import Final

import cv2
import numpy as np
import simplejpeg

from quality.images.decode import ImageError, decode
from quality.images.fit import fitted
from quality.images.header import MAX_PIXELS
from schemas.store import Store, StoreError

SIDE: Final = 1024  # longest side of a sharp image, pixels
_BLURRED_SIDE: Final = 384  # of a blurred one: what is enlarged from a few pixels has no detail to lose
_turns = threading.Semaphore(4)  # images decoded at once


class NoImage(Exception):
    """The image cannot be shown: it is no longer where the task says, or it cannot be decoded."""


def rendered(store: Store, tar: str, offset: int, size: int, *, blur_side: int, grey: bool) -> bytes:
    """A JPEG. blur_side: pixels that are left of the longer side before it is enlarged again; 0: sharp. Raises NoImage.

    A blurred image holds no more than blur_side x blur_side colours, however it is sharpened.
    """
    try:
        (data,) = store.read_ranges(tar, [(offset, size)])
    except (OSError, StoreError) as error:
        raise NoImage(str(error)) from error
    with _turns:
        try:
            pixels = decode(data, side=blur_side or SIDE, max_pixels=MAX_PIXELS)
        except ImageError as error:
            raise NoImage(str(error)) from error
        pixels = _blurred(pixels, blur_side) if blur_side else fitted(pixels, SIDE)
        if grey:
            pixels = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=75 if blur_side else 88, colorspace="RGB")


def _blurred(pixels: np.ndarray, side: int) -> np.ndarray:
    few = fitted(pixels, side)
    height, width = few.shape[:2]
    scale = _BLURRED_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(few, size, interpolation=cv2.INTER_CUBIC)
