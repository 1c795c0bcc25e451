"""EXIF as Pillow and as tools write it, and structures that lead nowhere."""

import struct
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.evidence.exif import MAX_TAGS, MAX_VALUE, read_exif, user_comment
from tests.conftest import SOAK
from tests.trust.made import exif
from tests.trust.tools import CAMERAS, SEOUL

TEXT = "a cat, 고양이\nSteps: 20, Sampler: Euler a, Seed: 1"


def tiff(entries: list[tuple[int, int, int, bytes]], order: str = "<") -> bytes:
    """A TIFF structure of one directory. entries: tag, type, number, four bytes of value or offset."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    body = b"".join(struct.pack(order + "HHI", tag, kind, number) + value for tag, kind, number, value in entries)
    return head + struct.pack(order + "H", len(entries)) + body + bytes(4)


def written(tags=None, photo=None, gps=None) -> bytes:
    return exif(tags, photo, gps).tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("name", CAMERAS)
def test_camera_shaped(name):
    (make, model, software), photo = CAMERAS[name]
    found = read_exif(written({0x010F: make, 0x0110: model, 0x0131: software}, photo, SEOUL))
    assert found.texts == {"Make": make, "Model": model, "Software": software}
    assert found.camera == set(photo) - {0x9004}  # the time of digitising: scanners have it too
    assert found.gps and found.whole


def test_what_any_writer_adds_is_no_camera():
    found = read_exif(
        written({0x0112: 1, 0x011A: 72.0, 0x0132: "2024:05:04 10:11:12"}, {0xA002: 640, 0xA003: 480, 0x9004: "2024:05:04 10:11:12"})
    )
    assert (found.texts, found.camera, found.gps, found.whole) == ({}, set(), False, True)


def test_a_maker_note_that_is_a_word_is_none():
    """Fooocus keeps the name of its scheme there."""
    assert read_exif(written({0x927C: "fooocus"})).camera == set()
    assert read_exif(written(photo={0x927C: bytes(15)})).camera == set()
    assert read_exif(written(photo={0x927C: bytes(16)})).camera == {0x927C}


def test_empty_texts_count_for_nothing():
    found = read_exif(written({0x010F: "  ", 0x0131: ""}, {0xA434: " ", 0x9003: ""}))
    assert (found.texts, found.camera) == ({}, set())


@pytest.mark.parametrize(
    ("position", "known"),
    [
        ({0: b"\2\3\0\0", 29: "2024:05:04"}, False),  # the time alone, as phones without a fix write it
        ({2: (37.0, 33.0, 58.0)}, False),
        ({2: (37.0, 33.0, 58.0), 4: (126.0, 58.0, 40.0)}, True),
    ],
)
def test_a_position_has_latitude_and_longitude(position, known):
    assert read_exif(written(gps=position)).gps is known


def test_zero_over_zero_is_no_position():
    directory = struct.pack("<H", 2) + b"".join(struct.pack("<HHII", tag, 5, 3, 100) for tag in (2, 4)) + bytes(4)
    data = tiff([(0x8825, 4, 1, struct.pack("<I", 26))]) + directory
    assert read_exif(data.ljust(100, b"\0") + bytes(24)).gps is False
    assert read_exif(data.ljust(100, b"\0") + struct.pack("<6I", 37, 1, 33, 1, 58, 1)).gps is True


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"UNICODE\0" + TEXT.encode("utf-16"),
        b"UNICODE\0" + TEXT.encode("utf-16-be") + b"\0\0",
        b"ASCII\0\0\0" + TEXT.encode(),
        bytes(8) + TEXT.encode(),
        TEXT.encode(),
    ],
    ids=["be", "le", "bom", "be-nul", "ascii", "undefined", "bare"],
)
def test_user_comments(comment, order):
    assert user_comment(comment, order) == TEXT


def test_user_comment_that_only_says_it_is_unicode():
    assert user_comment(b"UNICODE\0Steps: 20, plain ASCII") == "Steps: 20, plain ASCII"


@pytest.mark.parametrize(("order", "codec"), [("<", "utf-16-le"), (">", "utf-16-be")])
def test_utf16_without_a_hint_follows_the_structure(order, codec):
    assert user_comment(b"UNICODE\0" + "고양이".encode(codec), order) == "고양이"


def test_tags_of_the_first_directory_count_too():
    """Fooocus writes UserComment there."""
    assert read_exif(written({0x9286: "Steps: 20"})).texts == {"UserComment": "Steps: 20"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        b"JUNK" * 5,
        tiff([])[:9],
        tiff([(0x010F, 2, 50, struct.pack("<I", 8))]),  # a text longer than the bytes
        tiff([(0x010F, 2, 5, struct.pack("<I", 1 << 31))]),
        tiff([(0x010F, 2, (1 << 32) - 1, bytes(4))]),
        tiff([(0x8769, 4, 1, struct.pack("<I", 1 << 31))]),
        tiff([(0x0100, 3, 1, bytes(4))] * (MAX_TAGS + 1)),
    ],
)
def test_structures_that_lead_out_of_the_bytes(data):
    found = read_exif(data)
    assert (found.texts, found.camera, found.gps, found.whole) == ({}, set(), False, False)


def test_a_directory_that_points_to_itself_ends():
    data = tiff([(0x010F, 2, 4, b"abc\0"), (0x8769, 4, 1, struct.pack("<I", 8)), (0x8825, 4, 1, struct.pack("<I", 8))])
    assert read_exif(data).texts == {"Make": "abc"}


@pytest.mark.parametrize("tags", [[0x9286] * MAX_TAGS, range(0x9000, 0x9000 + MAX_TAGS)])
def test_a_directory_whose_values_are_all_the_same_bytes_costs_those_once(tags):
    """They were copied for each entry, half a gigabyte, and a comment that is there 512 times was decoded as often."""
    data = tiff([(tag, 2, MAX_VALUE, struct.pack("<I", 8)) for tag in tags])
    data += b"UNICODE\0" + "고".encode("utf-16-le") * (MAX_VALUE // 2)
    tracemalloc.start()
    before = time.process_time()
    read_exif(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - before < 1
    assert peak < 16 * MAX_VALUE


def test_unknown_types_are_passed_over():
    found = read_exif(tiff([(0x010F, 99, 4, b"abc\0"), (0x0110, 2, 4, b"abc\0")]))
    assert found.texts == {"Model": "abc"} and found.whole


@settings(max_examples=20_000 if SOAK else 400, deadline=None)
@given(st.data())
def test_damage_never_raises_and_takes_no_time(data):
    (make, model, software), photo = CAMERAS["canon"]
    whole = bytearray(written({0x010F: make, 0x0110: model, 0x0131: software, 0x9286: TEXT}, photo, SEOUL))
    for _ in range(data.draw(st.integers(0, 10))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.sampled_from([0, 1, 2, 5, 7, 0x10, 0x7F, 0x80, 0xFE, 0xFF]))
    start = time.thread_time()
    found = read_exif(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert time.thread_time() - start < 0.1
    assert all(isinstance(text, str) for text in found.texts.values())


@settings(max_examples=5_000 if SOAK else 200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"II*\0", b"MM\0*", b""]))
def test_any_bytes(data, magic):
    read_exif(magic + data)
    user_comment(data)
