"""What decoding may cost: time by the number of scans, memory by the number of pixels."""

import importlib
import io
import zlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from quality.images.decode import ImageError, decode
from quality.images.header import MAX_SCANNED, excess_scans, read_header
from tests.web.hostile_images import deflated, jpeg_many_scans, png, png_chunk


def test_a_jpeg_of_too_many_scans_for_its_size_is_not_decoded():
    data = jpeg_many_scans(2000, 2000)
    header = read_header(data)
    assert (header.width, header.height, len(data) < 100_000) == (2000, 2000, True)
    assert excess_scans(data, header) == 1 + 3 * 63 * 14
    with pytest.raises(ImageError, match="work: 2647 scans of 2000x2000"):
        decode(data)


def test_of_few_pixels_or_few_scans_it_is(monkeypatch):
    """All the scans that the standard allows, on few pixels; and the bound itself, which is inclusive."""
    assert np.ptp(decode(jpeg_many_scans(200, 160))) == 0
    data = jpeg_many_scans(2000, 1000, bands=[1, 2], bits=4)
    scans = 1 + 3 * 2 * 4
    monkeypatch.setattr("quality.images.header.MAX_SCANNED", scans * 2_000_000)
    assert decode(data).shape == (1000, 2000, 3)
    monkeypatch.setattr("quality.images.header.MAX_SCANNED", scans * 2_000_000 - 1)
    with pytest.raises(ImageError, match=f"work: {scans} scans"):
        decode(data)


def test_a_progressive_jpeg_as_cameras_and_programs_write_it_is_far_from_the_bound():
    file = io.BytesIO()
    Image.effect_noise((640, 480), 80).convert("RGB").save(file, "jpeg", progressive=True)
    assert file.getvalue().count(b"\xff\xda") * 100_000_000 < MAX_SCANNED / 4


def forms() -> list[bytes]:
    noise = np.random.default_rng(1).integers(0, 256, (90, 130, 4), dtype=np.uint8)
    image = Image.fromarray(noise)
    partly = image.copy()
    alpha = partly.getchannel("A")
    alpha.paste(255, (0, 0, 130, 60))
    partly.putalpha(alpha)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    rgb, palette = image.convert("RGB"), image.convert("RGB").quantize(64)
    wide = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200)
    options = [
        (image, "png", {"icc_profile": swapped}), (partly, "png", {}), (palette, "png", {"transparency": 3}), (palette, "png", {}), (wide, "png", {}),
        (image.convert("1"), "png", {}), (image.convert("LA"), "png", {}), (rgb, "png", {"transparency": (1, 2, 3)}),
        (rgb.convert("CMYK"), "tiff", {}), (palette, "gif", {"transparency": 5}), (rgb, "bmp", {}), (image, "webp", {"lossless": True}),
    ]  # fmt: skip
    made = []
    for form, kind, how in options:
        file = io.BytesIO()
        form.save(file, kind, **how)
        made.append(file.getvalue())
    return made


@pytest.mark.parametrize("rows", [1, 7, 89])
def test_a_few_rows_at_a_time_give_the_same_pixels(monkeypatch, rows):
    whole = [decode(data) for data in forms()]
    monkeypatch.setattr(importlib.import_module("quality.images.decode"), "_AT_A_TIME", rows * 130)
    for data, expected in zip(forms(), whole, strict=True):
        np.testing.assert_array_equal(decode(data), expected)


def test_memory_is_a_few_times_that_of_the_pixels():
    """40 megapixels from files of a few KB; it was 22 bytes a pixel."""
    side = 6_400
    alpha = png(side, side, deflated((4 * side + 1) * side), depth=8, colour=6)
    palette = png(
        side, side, zlib.compress(bytes((side // 8 + 1) * side)), png_chunk(b"PLTE", bytes(6)), png_chunk(b"tRNS", b"\0"), depth=1, colour=3
    )
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        grown = [process.submit(growth, data).result() for data in (png(8, 8, zlib.compress(bytes(72))), alpha, palette)]
    assert max(grown[1:]) < 10 * side * side


def growth(data: bytes) -> int:
    """Bytes by which the peak of this process rises above what it has. Linux."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    decode(data)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
