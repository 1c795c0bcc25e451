"""Makes one image file: an SVG drawn by resvg, or a PNG copied, or made smaller when it is large."""

import io
import os
import struct
from pathlib import Path

import resvg_py
from PIL import Image

from training.corpus.rows import Drawing

MOST_PIXELS = 40_000_000  # above it a PNG is not decoded (the library has one of 623 megapixels): its SVG is drawn instead


def draw(drawing: Drawing, path: Path) -> str | None:
    """Writes the PNG at `path` in one rename; returns None, or in a few words why it could not. A file already there is kept."""
    if path.exists():
        return None
    try:
        data = _from_png(drawing.png, drawing) if drawing.png is not None else _from_svg(drawing)
    except struct.error:
        return "cannot be read: shorter than a PNG's header"
    except ValueError as error:  # resvg: not an SVG it can draw
        return f"cannot be drawn: {str(error)[:80]}"
    except OSError as error:  # Pillow: not a PNG it can read
        return f"cannot be read: {str(error)[:80]}"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(path)
    return None


def _from_svg(drawing: Drawing) -> bytes:
    data = resvg_py.svg_to_bytes(svg_string=drawing.svg, skip_system_fonts=True, background="#ffffff" if drawing.opaque else None)
    data = bytes(data)
    with Image.open(io.BytesIO(data)) as image:
        if not drawing.opaque and max(image.size) <= drawing.side:
            return data
        return _encoded(image.convert("L") if drawing.opaque else image, drawing.side)


def _from_png(png: str, drawing: Drawing) -> bytes:
    data = Path(png).read_bytes()
    width, height = struct.unpack(
        ">II", data[16:24]
    )  # of the IHDR chunk, which comes first: Pillow refuses to open a very large image at all
    if width * height > MOST_PIXELS:
        # One side is told, since resvg rounds the other up.
        sides = (drawing.side, None) if width >= height else (None, drawing.side)
        return bytes(resvg_py.svg_to_bytes(svg_path=drawing.svg_of_png, skip_system_fonts=True, width=sides[0], height=sides[1]))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if max(image.size) <= drawing.side:
            return data
        return _encoded(image.convert("RGBA" if image.has_transparency_data else "RGB"), drawing.side)


def _encoded(image: Image.Image, side: int) -> bytes:
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
