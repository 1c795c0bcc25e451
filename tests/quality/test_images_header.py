"""Headers of real files of every format, and of files that were broken in thousands of ways."""

import io
import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from quality.images import ImageHeader, read_header

ORIENTATION = 0x0112


def encoded(format_: str, *, size: tuple[int, int] = (37, 23), mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.add.outer(np.arange(size[1]) * 3, np.arange(size[0]) * 5)[..., None] * np.array([1, 2, 3])
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(out, format_, **options)
    return out.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = "a description that needs an offset"
    exif[ORIENTATION] = orientation
    return exif


def frames(format_: str, count: int) -> bytes:
    images = [Image.new("RGB", (20, 10), (50 * number, 0, 0)) for number in range(count)]
    out = io.BytesIO()
    images[0].save(out, format_, save_all=True, append_images=images[1:])
    return out.getvalue()


FILES = {
    "jpeg": encoded("JPEG"),
    "progressive": encoded("JPEG", progressive=True),
    "grey": encoded("JPEG", mode="L"),
    "cmyk": encoded("JPEG", mode="CMYK"),
    "png": encoded("PNG"),
    "palette": encoded("PNG", mode="P"),
    "gif": encoded("GIF"),
    "webp": encoded("WEBP"),
    "lossless": encoded("WEBP", lossless=True),
    "alpha": encoded("WEBP", mode="RGBA"),
    "bmp": encoded("BMP"),
    "tiff": encoded("TIFF"),
    "lzw": encoded("TIFF", compression="tiff_lzw"),
}
OTHER_NAMES = {"progressive": "jpeg", "grey": "jpeg", "cmyk": "jpeg", "palette": "png", "lossless": "webp", "alpha": "webp", "lzw": "tiff"}


@pytest.mark.parametrize("name", FILES)
def test_format_and_size(name):
    assert read_header(FILES[name]) == ImageHeader(OTHER_NAMES.get(name, name), 37, 23)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 2, 6, 8])
def test_orientation_is_read_and_the_size_is_as_stored(format_, orientation):
    data = encoded(format_, exif=turned(orientation))
    assert read_header(data) == ImageHeader(format_.lower(), 37, 23, orientation)
    if format_ == "JPEG":  # the other byte order
        little, big = (
            Image.Exif.tobytes(turned(orientation)),
            b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", ORIENTATION, 3, 1, orientation, 0),
        )
        assert little in data
        again = data.replace(struct.pack(">H", len(little) + 2) + little, struct.pack(">H", len(big) + 2) + big)
        assert read_header(again) == ImageHeader("jpeg", 37, 23, orientation)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_without_meaning_is_none(orientation):
    assert read_header(encoded("JPEG", exif=turned(orientation))).orientation == 1


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG"])
def test_animated(format_):
    assert read_header(frames(format_, 3)) == ImageHeader(format_.lower(), 20, 10, animated=True)
    assert read_header(frames(format_, 1)) == ImageHeader(format_.lower(), 20, 10, animated=False)


def test_a_huge_png_is_read_from_its_header_alone():
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + b"\0\0\0\0" + struct.pack(">I", 1000) + b"IDAT"
    assert read_header(data) == ImageHeader("png", 20_000, 10_000)


def test_the_first_frame_of_a_gif_may_reach_beyond_its_screen():
    data = bytearray(FILES["gif"])
    struct.pack_into("<HH", data, 6, 1, 1)
    assert read_header(bytes(data)) == ImageHeader("gif", 37, 23)


def test_a_bmp_from_top_to_bottom_and_of_os2():
    data = bytearray(FILES["bmp"])
    struct.pack_into("<i", data, 22, -23)
    assert read_header(bytes(data)) == ImageHeader("bmp", 37, 23)
    assert read_header(b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 37, 23, 1, 24)) == ImageHeader("bmp", 37, 23)


def test_a_side_is_at_most_what_a_column_holds():
    def bmp(width, height):
        return b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, width, height, 1, 24, 0) + bytes(20)

    assert read_header(bmp(1, 2**31 - 1)) == read_header(bmp(1, 1 - 2**31)) == ImageHeader("bmp", 1, 2**31 - 1)
    assert read_header(bmp(1, -(2**31))) is None


@pytest.mark.parametrize("filler", [b"\xff", b"\xff\xd0"])
def test_millions_of_fill_bytes_take_no_time(filler):
    """Each was a step of a loop: 10 MB of them took a second, at every look at the header."""
    data = FILES["jpeg"]
    before = time.process_time()
    header = read_header(data[:2] + filler * (10_000_000 // len(filler)) + data[2:])
    assert time.process_time() - before < 0.5
    assert header == read_header(data)


def test_fill_and_junk_between_jpeg_segments_are_skipped():
    data = FILES["jpeg"]
    assert read_header(data[:20] + b"\xff\xff\xff" + data[20:]) == ImageHeader("jpeg", 37, 23)
    assert read_header(data[:20] + b"junk" + data[20:]) == ImageHeader("jpeg", 37, 23)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"GIF89a", b"<html>", b"RIFF\0\0\0\0WEBPVP8X", b"II*\0\xff\xff\xff\xff", b"BM" + bytes(60)]
)
def test_what_is_no_image(data):
    assert read_header(data) is None


@settings(max_examples=1500, deadline=None)
@given(
    name=st.sampled_from(sorted(FILES)),
    cut=st.integers(0, 1500),
    changes=st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=5)), max_size=4),
)
@example(name="jpeg", cut=3, changes=[])
def test_never_raises(name, cut, changes):
    data = bytearray(FILES[name][:cut])
    for at, new in changes:
        data[at : at + len(new)] = new
    header = read_header(bytes(data))
    assert header is None or (header.width > 0 and header.height > 0 and 1 <= header.orientation <= 8)


@settings(max_examples=500, deadline=None)
@given(
    magic=st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF1234WEBPVP8X", b"BM", b"II*\0", b"MM\0*"]),
    rest=st.binary(max_size=300),
)
def test_never_raises_on_noise_behind_a_magic_number(magic, rest):
    read_header(magic + rest)
