"""IPTC-IIM within Photoshop's resources."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.evidence.iim import MAX_SETS, MAX_VALUES, read_iim
from tests.conftest import SOAK
from tests.trust.made import photoshop

RECORDS = [
    (2, 65, "Adobe Photoshop"),
    (2, 80, "A. Name"),
    (2, 110, "Made with Google AI"),
    (2, 120, "고양이"),
    (2, 25, "keyword"),
    (3, 110, "no"),
]


def test_data_sets_by_name():
    found = read_iim(photoshop(RECORDS))
    assert found.values == {
        "OriginatingProgram": ["Adobe Photoshop"],
        "By-line": ["A. Name"],
        "Credit": ["Made with Google AI"],
        "Caption": ["고양이"],
    }
    assert found.whole


def test_other_resources_are_passed_over():
    named = b"8BIM\x04\x25\x03abc" + (3).to_bytes(4, "big") + b"xyz\0"  # a name of odd length, data of odd length
    assert read_iim(named + photoshop(RECORDS[:1]) + named).values == {"OriginatingProgram": ["Adobe Photoshop"]}


def test_a_set_may_stand_more_than_once_and_be_empty():
    assert read_iim(photoshop([(2, 110, "a"), (2, 110, " "), (2, 110, "b")])).values == {"Credit": ["a", "b"]}


@pytest.mark.parametrize("data", [b"", b"8BI"])
def test_nothing_is_whole(data):
    assert read_iim(data).values == {} and read_iim(data).whole


@pytest.mark.parametrize(
    "data",
    [
        b"JUNK" + bytes(20),
        b"8BIM\x04\x04\0\0",
        photoshop(RECORDS)[:-9],
        b"8BIM\x04\x04\0\0\xff\xff\xff\xff" + bytes(9),
        b"8BIM\x04\x04\xff\0" + bytes(9),
        photoshop([(2, 25, "x")] * (MAX_SETS + 1)),
        b"8BIM\x04\x04\0\0\0\0\0\x09" + b"\x1c\x02\x6e\x80\x04\0\0\0\1",  # a length of the extended form
    ],
)
def test_damage_is_noted(data):
    assert read_iim(data).whole is False


def test_as_many_values_as_are_read_over_all_resources():
    """Each is held against the names of all generators: 10,000 of them took a second."""
    found = read_iim(photoshop([(2, 65, "a")] * (MAX_VALUES - 1)) + photoshop([(2, 65, "b"), (2, 65, "c")]))
    assert found.values == {"OriginatingProgram": ["a"] * (MAX_VALUES - 1) + ["b"]}


def test_as_many_sets_as_are_read():
    assert read_iim(photoshop([(2, 110, "x")] * (MAX_SETS - 1))).whole  # with the character set's


@settings(max_examples=20_000 if SOAK else 400, deadline=None)
@given(st.data())
def test_damage_never_raises(data):
    whole = bytearray(photoshop(RECORDS))
    for _ in range(data.draw(st.integers(0, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    read_iim(bytes(whole[: data.draw(st.integers(0, len(whole)))]) + data.draw(st.binary(max_size=20)))
