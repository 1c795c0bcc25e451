"""Text out of files: one line, bounded, without control characters."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.evidence.text import SHORT, cleaned, decoded


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Adobe Photoshop 25.5", "Adobe Photoshop 25.5"),
        ("  a\r\n\tb\0\0c ", "a b c"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("left\u202eright", "left right"),
        ("사진 \ufeff편집기", "사진 편집기"),
        ("\ud800lone", "lone"),
        ("\0\n ", ""),
        ("x" * (SHORT + 1), "x" * SHORT),
        ("x" * (SHORT - 1) + " y", "x" * (SHORT - 1)),
    ],
)
def test_cleaned(text, clean):
    assert cleaned(text) == clean


@given(st.text(st.characters(exclude_categories=[])), st.integers(1, 50))
def test_whatever_comes_is_short_and_printable(text, most):
    clean = cleaned(text, most)
    assert len(clean) <= most and clean == cleaned(clean, most)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in clean)
    clean.encode("utf-8")


@pytest.mark.parametrize(
    ("data", "text"), [(b"Canon\0\0", "Canon"), ("고양이".encode(), "고양이"), (b"caf\xe9", "café"), (b"\0x", ""), (b"", "")]
)
def test_decoded(data, text):
    assert decoded(data) == text
