"""Which images may still carry an invisible watermark, and the pixels that it is read from."""

from typing import Any, Final

import numpy as np

from quality.evidence.watermark import LEAST_PIXELS, decode_halved, halved
from quality.images.decode import ImageError, decode_at_least
from quality.images.header import read_header

MOST_PIXELS: Final = 2048 * 2048  # of what is searched for a watermark: the largest that the tools which write one make


def can_carry_watermark(data: bytes) -> bool:
    """Whether an image may still have the blocks in which the tools wrote a watermark: a width that they make, which is a multiple of 8 and
    dies with scaling and with a cut at the sides, not turned by its metadata, no larger than they make.
    """
    header = read_header(data)
    if header is None or header.orientation != 1 or header.animated or header.width % 8:
        return False
    return LEAST_PIXELS <= header.width * header.height <= MOST_PIXELS


def watermark_fields(data: bytes, shared: np.ndarray | None) -> dict[str, Any]:
    """The fields `watermark` and `watermark_agree` of an image that can carry one; {} without one. shared: see at_half."""
    half = at_half(data, shared)
    mark = None if half is None else decode_halved(half)
    return {} if mark is None else {"watermark": mark.scheme, "watermark_agree": mark.agree / mark.bits}


def at_half(data: bytes, shared: np.ndarray | None) -> np.ndarray | None:
    """An upright image at half its size, as decode_halved takes it: from pixels that others have decoded (shared) where these are whole or
    halved, else decoded for it; the same either way. None for an image that can be decoded at the one scale and not at the other.
    """
    header = read_header(data)
    assert header is not None
    whole, half = (header.height, header.width), ((header.height + 1) // 2, header.width // 2)
    halves = (half, (header.height // 2, header.width // 2))  # a JPEG of odd height is rounded up
    jpeg = header.format == "jpeg"
    if shared is not None and shared.shape[:2] in halves:
        return shared
    if shared is None or shared.shape[:2] != whole or jpeg:
        try:
            shared = decode_at_least(data, header, half if jpeg else None)
        except ImageError:
            return None
    return shared if shared.shape[:2] in halves else halved(shared) if shared.shape[:2] == whole else None
