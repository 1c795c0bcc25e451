"""Pixels made small enough."""

import cv2
import numpy as np


def fitted(pixels: np.ndarray, side: int) -> np.ndarray:
    """Reduced, by areas, so that the longer side has at most `side` pixels; never larger than it is, no side below one pixel."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    return cv2.resize(pixels, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
