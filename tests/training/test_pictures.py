"""Pixels of a sample: covering the shape, cut where asked, of every format that a shard can have."""

import io

import numpy as np
import pytest
from PIL import Image

from training.order import Shape
from training.pictures import Cut, picture


def halves(width: int, height: int, kind: str, *, mode: str = "RGB", **more) -> bytes:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    out = io.BytesIO()
    image.convert(mode).save(out, kind, **more)
    return out.getvalue()


@pytest.mark.parametrize(("kind", "more"), [("jpeg", {"quality": 95}), ("png", {}), ("webp", {"lossless": True})])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (640, 480), (33, 100), (5, 5)])
def test_every_format_covers_the_shape(kind, more, width, height):
    pixels, cut = picture(halves(width, height, kind, **more), width, height, Shape(32, 16))
    assert pixels.shape == (16, 32, 3)
    assert pixels.dtype == np.uint8
    assert (cut.width, cut.height) == (width, height)
    assert pixels[8, 2, 0] > 200 > 60 > pixels[8, 2, 2]
    assert pixels[8, 29, 2] > 200 > 60 > pixels[8, 29, 0]


def test_the_window_is_where_it_was_asked_for():
    data = halves(200, 100, "png")
    left, right = picture(data, 200, 100, Shape(50, 50), place=(0, 0)), picture(data, 200, 100, Shape(50, 50), place=(1, 0))
    assert left[1] == Cut(200, 100, 0, 0)
    assert right[1] == Cut(200, 100, 50, 0)
    assert (left[0] == (255, 0, 0)).all()
    assert (right[0] == (0, 0, 255)).all()


def test_scaled_decoding_shows_what_whole_decoding_shows():
    ramp = np.linspace(0, 255, 1024, dtype=np.uint8)
    image = Image.fromarray(np.stack([np.broadcast_to(ramp, (768, 1024)), np.broadcast_to(ramp[::-1], (768, 1024))] * 2, -1)[..., :3])
    out = io.BytesIO()
    image.save(out, "jpeg", quality=95)
    pixels, _ = picture(out.getvalue(), 1024, 768, Shape(64, 48))
    whole = np.asarray(image.resize((64, 48), Image.Resampling.BOX), np.int16)
    assert abs(pixels.astype(np.int16) - whole).max() <= 6


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16"])
def test_other_modes_become_rgb(mode):
    image = Image.new("L", (20, 20), 128).convert(mode) if mode != "I;16" else Image.fromarray(np.full((20, 20), 128 * 257, np.uint16))
    out = io.BytesIO()
    image.save(out, "png")
    pixels, _ = picture(out.getvalue(), 20, 20, Shape(8, 8))
    assert abs(pixels.astype(int) - 128).max() <= 1


def test_what_is_transparent_is_white():
    out = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(out, "png")
    assert (picture(out.getvalue(), 10, 10, Shape(8, 8))[0] == 255).all()


@pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8\xff\xe0 cut"])
def test_what_is_no_image_is_an_error(data):
    with pytest.raises(ValueError):
        picture(data, 10, 10, Shape(8, 8))
