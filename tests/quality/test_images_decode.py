"""Pixels of real files: against Pillow's own, and against what the picture is known to be."""

import io
import pickle
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from quality.images import ImageError, decode
from quality.images.decode import upright
from tests.quality.test_images_header import encoded, turned


def photo(width: int = 300, height: int = 200) -> Image.Image:
    """Smooth colours that survive JPEG, different in every corner."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 128 + 64], -1).astype(np.uint8))


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


@cache  # a profile holds the time of its making
def swapped_profile() -> bytes:
    """An ICC profile whose red is sRGB's green, and the other way."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF"])
def test_pixels_are_pillows(format_):
    data = saved(photo(), format_)
    pixels = decode(data)
    assert pixels.shape == (200, 300, 3) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable
    assert np.array_equal(pixels, pillow(data))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_modes_of_png(mode):
    if mode == "I;16":
        image = Image.fromarray((np.asarray(photo().convert("L")).astype(np.uint16) << 8) + 77)
        expected = np.repeat(np.asarray(photo().convert("L"))[..., None], 3, 2)
    else:
        image = photo().convert(mode)
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode(saved(image, "PNG")), expected)


def test_sixteen_bit_colour():
    row = b"\0" + struct.pack(">9H", 65535, 0, 32768, 257, 256, 255, 1, 65280, 12850)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    assert decode(data).tolist() == [[[255, 0, 128], [1, 1, 0], [0, 255, 50]]]


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_alpha_lies_on_white(format_):
    image = photo()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    data = saved(image, format_, **({"lossless": True, "exact": True} if format_ == "WEBP" else {}))
    alpha = np.asarray(image)[..., 3:].astype(float) / 255
    expected = np.asarray(image)[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(decode(data) - expected).max() <= 1


def test_transparent_colours_of_palettes_and_grey_are_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    for format_ in ("PNG", "GIF"):
        assert decode(saved(palette, format_, transparency=0)).tolist() == [[[255, 255, 255], [200, 100, 50]]]
    grey = Image.new("L", (2, 1), 7)
    grey.putpixel((1, 0), 9)
    assert decode(saved(grey, "PNG", transparency=7)).tolist() == [[[255] * 3, [9] * 3]]


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_counts(format_):
    images = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format_ == "WEBP" else {}
    assert np.unique(
        decode(saved(images[0], format_, save_all=True, append_images=images[1:], **options)).reshape(-1, 3), axis=0
    ).tolist() == [[255, 0, 0]]


def test_cmyk_and_ycck():
    data = saved(photo().convert("CMYK"), "JPEG", quality=95)
    assert distance(decode(data), np.asarray(photo())) < 3
    assert np.array_equal(decode(data), pillow(data))
    adobe = data.index(b"Adobe")
    ycck = data[: adobe + 11] + b"\x02" + data[adobe + 12 :]
    assert distance(decode(ycck), pillow(ycck)) < 0.01 and distance(decode(ycck), decode(data)) > 20


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    data = saved(photo(), "JPEG", exif=turned(orientation), quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(decode(data), expected)
    assert np.array_equal(decode(saved(photo(), "PNG", exif=turned(orientation))), upright(np.asarray(photo()), orientation))
    small = decode(data, side=90)
    assert small.shape[0] < small.shape[1] if orientation < 5 else small.shape[0] > small.shape[1]
    assert distance(small, np.asarray(Image.fromarray(expected).resize(small.shape[1::-1], Image.Resampling.BOX))) < 3


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_profile_becomes_srgb(format_):
    data = saved(photo(), format_, icc_profile=swapped_profile(), **({"lossless": True} if format_ == "WEBP" else {}))
    plain = pillow(data)
    assert distance(decode(data), plain[..., [1, 0, 2]]) < 3
    assert distance(decode(data), plain) > 20


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_a_profile_of_another_colour_space_than_the_pixels_counts_as_none(format_):
    data = saved(photo().convert("L"), format_, icc_profile=swapped_profile())
    assert np.array_equal(decode(data), pillow(data))


def test_srgb_and_broken_profiles_change_nothing():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    nameless = swapped_profile().replace(b"RGB ", b"\x80GB ", 1)  # the name of the colour space
    for profile in (srgb, b"no profile at all", srgb[:200], swapped_profile()[:300], nameless, swapped_profile() + bytes(4_000_000)):
        data = saved(photo(), "JPEG", icc_profile=profile)
        assert np.array_equal(decode(data), pillow(data))


@pytest.mark.parametrize(
    ("side", "expected"), [(None, 800), (10, 100), (100, 100), (101, 200), (400, 400), (401, 500), (799, 800), (800, 800), (5000, 800)]
)
def test_jpegs_come_scaled_but_never_below_the_side(side, expected):
    data = saved(photo(1200, 800), "JPEG", quality=95)
    pixels = decode(data, side=side)
    assert pixels.shape == (expected, expected * 3 // 2, 3)
    assert distance(pixels, np.asarray(photo(1200, 800).resize(pixels.shape[1::-1], Image.Resampling.BOX))) < 2


def test_more_pixels_than_allowed_are_not_decoded():
    data = saved(photo(), "PNG")
    assert decode(data, max_pixels=60_000).shape == (200, 300, 3)
    with pytest.raises(ImageError, match="300x200") as caught:
        decode(data, max_pixels=59_999)
    assert caught.value.word == "pixels"
    bomb = data[:16] + struct.pack(">II", 20_000, 10_000) + data[24:]
    with pytest.raises(ImageError) as caught:
        decode(bomb)
    assert caught.value.word == "pixels"


def test_above_pillows_own_bound():
    data = saved(Image.new("1", (10_000, 9_500)), "PNG")  # Pillow warns from 89 megapixels on
    assert decode(data).shape == (9_500, 10_000, 3)


@pytest.mark.parametrize("format_", ["JPEG", "progressive", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.5, 0.9, 0.99])
def test_truncated_is_undecodable(format_, part):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, "JPEG", progressive=True) if format_ == "progressive" else saved(noise, format_)
    decode(data)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * part)])
    assert caught.value.word in (("undecodable", "not_image") if format_ == "TIFF" else ("undecodable",))  # TIFF's directory comes last
    assert pickle.loads(pickle.dumps(caught.value)).word == caught.value.word


def test_harmless_warnings_of_libjpeg_are_passed_over_but_not_the_truncation_behind_them():
    data = saved(photo(), "JPEG")
    junk = data[:20] + b"junk" + data[20:]
    assert np.array_equal(decode(junk), decode(data))
    with pytest.raises(ImageError):
        decode(junk[: len(junk) // 2])


@pytest.mark.parametrize("data", [b"", b"<html></html>", encoded("PNG")[:20]])
def test_no_image(data):
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.word == "not_image"


def test_the_same_pixels_in_any_thread():
    files = [saved(photo(400 + n, 300), "JPEG", icc_profile=swapped_profile()) for n in range(4)] * 8
    alone = [decode(data, side=100) for data in files]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda data: decode(data, side=100), files))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
