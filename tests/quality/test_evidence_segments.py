"""Where metadata stands in real files, and that hostile bytes are noted, never raised."""

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from quality.evidence.segments import MAX_SEGMENTS, MAX_TEXT, MAX_TOTAL, read_segments
from tests.conftest import SOAK
from tests.trust.made import chain, signed

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 120, 3), dtype=np.uint8))


def saved(kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture().save(out, kind, **options)
    return out.getvalue()


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x010F] = "Pigment"
    return tags


def with_chunk(png: bytes, kind: bytes, payload: bytes) -> bytes:
    """The PNG with one more chunk after its header."""
    return png[:33] + struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload)) + png[33:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_and_xmp_are_found(kind):
    options = {"exif": exif().tobytes(), "xmp": XMP}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"exif": exif(), "pnginfo": info}
    found = read_segments(saved(kind, **options))
    assert [b"Pigment" in tiff and tiff[:2] in (b"II", b"MM") for tiff in found.exif] == [True]
    assert found.xmp == [XMP]
    assert (found.c2pa, found.problems) == (False, [])


def test_png_texts_of_all_three_kinds():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20")
    info.add_text("workflow", "{}" * 2000, zip=True)
    info.add_itxt("Title", "고양이", zip=True)
    found = read_segments(saved("PNG", pnginfo=info))
    assert found.texts == [("parameters", "a cat\nSteps: 20"), ("workflow", "{}" * 2000), ("Title", "고양이")]


@pytest.mark.parametrize(("kind", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_signed_files_are_seen_to_carry_a_manifest(kind, mime):
    plain = saved(kind)
    assert not read_segments(plain).c2pa
    assert read_segments(signed(plain, mime)).c2pa


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_resaving_takes_the_manifest_away(kind):
    mime = f"image/{kind.lower()}"
    out = io.BytesIO()
    Image.open(io.BytesIO(signed(saved(kind), mime))).save(out, kind)
    assert not read_segments(out.getvalue()).c2pa


def test_zip_bomb_is_cut_and_noted():
    bomb = b"note\0\0" + zlib.compress(b"0" * (200 << 20), 9)
    data = with_chunk(saved("PNG"), b"zTXt", bomb)
    tracemalloc.start()
    found = read_segments(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.texts, found.problems) == ([], ["size"])
    assert peak < 4 * MAX_TEXT


def test_many_segments_and_much_text_are_cut_and_noted():
    png = saved("PNG")
    chunk = with_chunk(png, b"tEXt", b"a\0b")[33 : len(with_chunk(png, b"tEXt", b"a\0b")) - len(png) + 33]
    many = read_segments(png[:33] + chunk * (MAX_SEGMENTS + 10) + png[33:])
    assert many.problems == ["segments"]
    assert len(many.texts) == MAX_SEGMENTS - 1  # the header is one
    large = with_chunk(png, b"tEXt", b"a\0" + b"x" * (MAX_TEXT - 10))
    piece = large[33 : len(large) - len(png) + 33]
    found = read_segments(png[:33] + piece * 5 + png[33:])
    assert found.problems == ["size"]
    assert sum(len(text) for _, text in found.texts) <= MAX_TOTAL


@pytest.mark.parametrize("broken", [False, True])
def test_many_zip_bombs_inflate_to_no_more_than_one_images_metadata(broken):
    """Each was inflated to MAX_TEXT and refused, and cost nothing of MAX_TOTAL: 2,000 of them, 8 MB, took 8 GB of inflation."""
    packed = zlib.compress(bytes(MAX_TEXT if broken else MAX_TEXT + 2), 9)
    packed = packed[:-4] + bytes(4) if broken else packed  # the checksum
    payload = b"parameters\0\0" + packed
    chunk = struct.pack(">I", len(payload)) + b"zTXt" + payload + struct.pack(">I", zlib.crc32(b"zTXt" + payload))
    png = saved("PNG")
    data = png[:33] + chunk * 2000 + png[33:]
    before = time.process_time()
    found = read_segments(data)
    assert time.process_time() - before < 1
    assert found.texts == [] and found.left >= 0 and found.problems[0] == ("text" if broken else "size")


def test_text_that_does_not_inflate_is_noted():
    assert read_segments(with_chunk(saved("PNG"), b"zTXt", b"note\0\0not deflate")).problems == ["text"]


@settings(max_examples=5000 if SOAK else 150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_damaged_files_never_raise_and_take_no_time(data, kind):
    whole = bytearray(saved(kind, exif=exif() if kind == "PNG" else exif().tobytes()))
    for _ in range(data.draw(st.integers(0, 8))):
        whole[data.draw(st.integers(0, min(len(whole), 400) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    start = time.thread_time()
    found = read_segments(cut + data.draw(st.binary(max_size=50)))
    assert time.thread_time() - start < 0.5
    assert set(found.problems) <= {"truncated", "size", "segments", "text"}


def test_other_bytes_have_nothing():
    for data in (b"", b"GIF89a", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", chain()[0].encode()):
        found = read_segments(data)
        assert (found.exif, found.xmp, found.texts, found.c2pa) == ([], [], [], False)
