"""Conversion: sizes as img2dataset's, copies without metadata, the same bytes every time."""

import io
import struct

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from quality.images import Converted, ImageError, Target, convert, decode, read_header
from quality.images.convert import _sizes
from quality.images.metadata import strip_metadata
from tests.quality.test_images_decode import distance, photo, saved, swapped_profile
from tests.quality.test_images_header import frames, turned

SECRET = b"a secret place"
COPY = Target("no", format="original")


def opened(converted: Converted) -> Image.Image:
    image = Image.open(io.BytesIO(converted.data))
    image.load()
    assert image.size == (converted.width, converted.height) and image.format.lower() == converted.format
    assert "icc_profile" not in image.info and not image.getexif() and SECRET not in converted.data
    return image


# (mode, size, enlarge, width, height) -> width, height; what img2dataset's Resizer gives for the same, but for those marked
SIZES = [
    (("no", None, False, 300, 200), (300, 200)),
    (("keep_ratio", 100, False, 300, 200), (150, 100)),
    (("keep_ratio", 200, False, 300, 200), (300, 200)),
    (("keep_ratio", 400, False, 300, 200), (300, 200)),
    (("keep_ratio", 400, True, 300, 200), (600, 400)),
    (("keep_ratio_largest", 100, False, 300, 200), (100, 67)),
    (("keep_ratio_largest", 100, False, 200, 300), (67, 100)),
    (("keep_ratio_largest", 600, True, 300, 200), (600, 400)),
    (("keep_ratio_largest", 4, False, 1000, 10), (4, 1)),
    (("center_crop", 100, False, 300, 200), (100, 100)),
    (("center_crop", 200, False, 300, 200), (200, 200)),  # img2dataset leaves an image of exactly this side uncropped
    (("center_crop", 400, False, 300, 200), (300, 200)),
    (("center_crop", 400, True, 300, 200), (400, 400)),
    (("border", 100, False, 300, 200), (100, 100)),
    (("border", 300, False, 300, 200), (300, 300)),  # the same here
    (("border", 400, False, 300, 200), (300, 200)),
    (("border", 400, True, 300, 200), (400, 400)),
]


@pytest.mark.parametrize(("given_", "expected"), SIZES)
def test_sizes(given_, expected):
    mode, size, enlarge, width, height = given_
    converted = convert(saved(photo(width, height), "PNG"), Target(mode, size, enlarge=enlarge))
    assert (converted.width, converted.height) == expected
    opened(converted)


@pytest.mark.parametrize(("mode", "size"), [("keep_ratio", 64), ("keep_ratio_largest", 100), ("center_crop", 64), ("border", 96)])
@pytest.mark.parametrize("source", ["PNG", "JPEG"])
def test_the_picture_stays_the_picture(mode, size, source):
    """Each mode against Pillow's own resizing; JPEG also takes the scaled decoding."""
    image = photo(640, 480)
    found = np.asarray(opened(convert(saved(image, source, **({"quality": 98} if source == "JPEG" else {})), Target(mode, size))))
    scale = size / (480 if mode in ("keep_ratio", "center_crop") else 640)
    small = image.resize((round(640 * scale), round(480 * scale)), Image.Resampling.BOX)
    if mode == "center_crop":
        left = (small.width - size) // 2
        small = small.crop((left, 0, left + size, size))
    if mode == "border":
        square = Image.new("RGB", (size, size), "white")
        square.paste(small, (0, (size - small.height) // 2))
        small = square
    assert distance(found, np.asarray(small)) < 4


@pytest.mark.parametrize("format_", ["jpeg", "png", "webp"])
def test_formats(format_):
    converted = convert(saved(photo(), "BMP"), Target("no", format=format_))
    assert converted.format == format_
    assert distance(np.asarray(opened(converted).convert("RGB")), np.asarray(photo())) <= (0 if format_ == "png" else 3)
    if format_ == "jpeg":
        assert simplejpeg.decode_jpeg_header(converted.data)[3] == "420"


def test_quality():
    sizes = [len(convert(saved(photo(), "PNG"), Target("no", format=f, quality=q)).data) for f in ("jpeg", "webp") for q in (30, 95)]
    assert sizes[0] < sizes[1] and sizes[2] < sizes[3]


@pytest.mark.parametrize(
    ("source", "format_"), [("JPEG", "jpeg"), ("WEBP", "webp"), ("PNG", "png"), ("GIF", "png"), ("BMP", "png"), ("TIFF", "png")]
)
def test_original_keeps_the_format_it_can(source, format_):
    assert opened(convert(saved(photo(), source), COPY)).format.lower() == format_
    assert opened(convert(saved(photo(), source), Target(size=50, format="original"))).format.lower() == format_


def with_metadata(format_: str) -> bytes:
    exif = turned(1)
    exif[0x010E] = SECRET.decode()
    if format_ == "JPEG":
        jpeg = saved(
            photo(), "JPEG", exif=exif, comment=SECRET, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        )
        xmp = b"http://ns.adobe.com/xap/1.0/\0" + SECRET
        return jpeg[:20] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + jpeg[20:] + SECRET
    if format_ == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("parameters", SECRET.decode())
        return saved(photo(), "PNG", exif=exif, pnginfo=text, dpi=(72, 72)) + SECRET
    return saved(photo(), "WEBP", exif=exif, xmp=SECRET)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_what_needs_nothing_is_copied_without_metadata(format_):
    data = with_metadata(format_)
    assert SECRET in data
    for target in (COPY, Target(size=300, format=format_.lower())):
        converted = convert(data, target)
        opened(converted)
        assert np.array_equal(decode(converted.data), decode(data))
        assert convert(converted.data, target).data == converted.data
    plain = saved(photo(), format_)
    assert convert(plain, COPY).data == plain  # nothing to leave out: the very bytes


def test_progressive_scans_are_copied_whole():
    data = saved(photo(), "JPEG", progressive=True)
    assert convert(data, COPY).data == data
    hidden = b"\xff\xfe" + struct.pack(">H", len(SECRET) + 4) + SECRET + b"\xff\xd9"  # a comment between scans, with an end marker in it
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    between = data.rindex(b"\xff\xc4", 0, second)
    assert convert(data[:between] + hidden + data[between:], COPY).data == data
    for source in (data, saved(photo(), "JPEG")):
        assert convert(source[:-2] + hidden + source[-2:], COPY).data == source


def test_a_thumbnail_in_the_first_segment_is_left_out():
    data = saved(photo(), "JPEG")
    assert data[2:4] == b"\xff\xe0" and data[4:6] == b"\0\x10"
    thumbnail = data[:4] + struct.pack(">H", 16 + 27) + data[6:18] + b"\x03\x03" + SECRET.ljust(27, b"!") + data[20:]
    assert np.array_equal(decode(thumbnail), decode(data))
    assert convert(thumbnail, COPY).data == data


ODD = {
    "turned": saved(photo(), "JPEG", exif=turned(6)),
    "cmyk": saved(photo().convert("CMYK"), "JPEG"),
    "profile": saved(photo(), "JPEG", icc_profile=swapped_profile()),
    "profile_png": saved(photo(), "PNG", icc_profile=swapped_profile()),
    "profile_webp": saved(photo(), "WEBP", icc_profile=swapped_profile()),
    "alpha_png": saved(photo().convert("RGBA"), "PNG"),
    "alpha_webp": saved(Image.merge("RGBA", (*photo().split(), Image.linear_gradient("L").resize((300, 200)))), "WEBP", lossless=True),
    "palette": saved(photo().convert("P"), "PNG", transparency=3),
    "deep": saved(Image.fromarray(np.full((20, 30), 30_000, np.uint16)), "PNG"),
    "gif": frames("GIF", 3),
    "webp": frames("WEBP", 3),
    "apng": frames("PNG", 3),
}


@pytest.mark.parametrize("name", ODD)
def test_what_needs_something_is_converted(name):
    converted = convert(ODD[name], COPY)
    image = opened(converted)
    assert not getattr(image, "is_animated", False) and not image.has_transparency_data and image.mode in ("L", "RGB")
    assert distance(decode(converted.data), decode(ODD[name])) < (0.01 if converted.format == "png" else 3)


def test_a_profile_other_than_srgb_stays_when_metadata_is_left_out():
    for name, format_ in (("profile", "JPEG"), ("profile_png", "PNG"), ("profile_webp", "WEBP")):
        data = ODD[name]
        stripped = strip_metadata(data, read_header(data))
        assert Image.open(io.BytesIO(stripped)).info["icc_profile"] == swapped_profile(), format_
    with pytest.raises(ValueError, match="gif"):
        strip_metadata(ODD["gif"], read_header(ODD["gif"]))


@pytest.mark.parametrize("format_", ["JPEG", "progressive", "PNG", "WEBP"])
@pytest.mark.parametrize("part", [0.3, 0.95])
@pytest.mark.parametrize("target", [COPY, Target(size=20)])
def test_truncated_raises_even_where_it_would_be_copied(format_, part, target):
    data = saved(photo(), "JPEG", progressive=True) if format_ == "progressive" else saved(photo(), format_)
    with pytest.raises(ImageError) as caught:
        convert(data[: int(len(data) * part)], target)
    assert caught.value.word == "undecodable"


def test_the_same_bytes_every_time():
    for target in (Target(size=100), Target("border", 400, "webp", enlarge=True), Target("center_crop", 64, "png")):
        data = saved(photo(), "JPEG")
        assert len({convert(data, target).data for _ in range(3)}) == 1


def test_extreme_shapes():
    line = saved(Image.new("RGB", (3000, 1), "red"), "PNG")
    assert convert(line, Target(size=100)).height == 1
    for format_ in ("jpeg", "webp", "png"):
        with pytest.raises(ImageError) as caught:
            convert(line, Target("keep_ratio", 500, format_, enlarge=True))
        assert caught.value.word == "pixels"


@settings(max_examples=300, deadline=None)
@given(
    width=st.integers(1, 9000), height=st.integers(1, 9000), size=st.integers(1, 4000), enlarge=st.booleans(),
    mode=st.sampled_from(["keep_ratio", "keep_ratio_largest", "center_crop", "border"]),
)  # fmt: skip
def test_sizes_keep_their_promise(width, height, size, enlarge, mode):
    scaled, final = _sizes(width, height, Target(mode, size, enlarge=enlarge))
    side = min(width, height) if mode in ("keep_ratio", "center_crop") else max(width, height)
    if side < size and not enlarge:
        assert scaled == final == (width, height)
    elif mode in ("center_crop", "border"):
        assert final == (size, size)
        assert all(s >= size for s in scaled) if mode == "center_crop" else all(s <= size for s in scaled)
    else:
        assert final == scaled and (min(final) if mode == "keep_ratio" else max(final)) == size
    assert min(scaled) >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": "crop", "size": 1}, "crop"),
        ({"resize": "border"}, "needs a size"),
        ({"size": 0}, "needs a size"),
        ({"resize": "no", "format": "gif"}, "gif"),
        ({"resize": "no", "quality": 0}, "quality"),
        ({"resize": "no", "quality": 101}, "quality"),
    ],
)
def test_a_senseless_target_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Target(**arguments)


def test_digest_names_what_changes_the_bytes():
    targets = [Target(size=256), Target(size=257), Target(size=256, quality=94), Target("border", 256), Target(size=256, enlarge=True)]
    assert len({target.digest() for target in targets}) == len(targets)
    assert Target(size=256).digest() == Target("keep_ratio_largest", 256, "jpeg", 95).digest()
