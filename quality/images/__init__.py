"""Images as bytes: what their headers say, their pixels, and the form in which a shard holds them."""

from quality.images.convert import Converted, Target, convert
from quality.images.decode import ImageError, decode
from quality.images.header import MAX_PIXELS, ImageHeader, read_header

__all__ = ["MAX_PIXELS", "Converted", "ImageError", "ImageHeader", "Target", "convert", "decode", "read_header"]
