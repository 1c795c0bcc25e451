"""Captions, against Python's own string functions."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quality.columns import COLUMN_FUNCTIONS
from quality.columns.caption import normalised_caption

CAPTIONS = [
    None,
    "",
    " ",
    "a",
    "a red  heart",
    " leading and trailing ",
    "tab\tand\nnew line\x1cseparator",
    "빨간 심장 모양",
    "고양이 cat",
    "猫の写真",
    "红色的心",
    "красное сердце",
    "قلب أحمر",
    "no\u00a0break\u3000wide",
    "Ångström é",
    "🙂 👍",
    "2 × 2 = 4",
    "the the THE cat",
]


def compute(captions, fields):
    return COLUMN_FUNCTIONS["caption"].compute(pa.table({"caption": pa.array(captions, pa.string())}), fields)


def expected_words(caption):
    spread = "".join(f" {letter} " if is_han_or_kana(letter) else letter for letter in caption)
    return len(spread.split())


def is_han_or_kana(letter):
    point = ord(letter)
    blocks = ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D), (0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
    return any(first <= point <= last for first, last in blocks) or 0x20000 <= point <= 0x323AF


@settings(max_examples=150, deadline=None)
@given(st.lists(st.none() | st.text(st.characters(codec="utf-8") | st.sampled_from(" \t\u3000a猫の한х."), max_size=12), max_size=12))
@example(CAPTIONS)
def test_words_and_characters_as_python_counts_them(captions):
    table = compute(captions, ["caption.words", "caption.characters"])
    assert table["caption.words"].to_pylist() == [None if one is None else expected_words(one) for one in captions]
    assert table["caption.characters"].to_pylist() == [None if one is None else len(one) for one in captions]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.none() | st.text(st.characters(codec="utf-8") | st.sampled_from("Aa  \t\u00a0ﬁßİ"), max_size=12), max_size=12))
@example(CAPTIONS)
def test_normalised_captions_as_unicode_says(captions):
    def reference(caption):
        return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", caption).casefold()).split())

    array = pa.array(captions, pa.string())
    assert normalised_caption(array).to_pylist() == [None if one is None else reference(one) for one in captions]
    pieces = pa.chunked_array([array.slice(at, 3) for at in range(0, len(array), 3)], pa.string())
    assert normalised_caption(pieces).to_pylist() == normalised_caption(array).to_pylist()


def test_equal_captions_count_as_equal():
    alike = ["A Red Heart", "a  red heart ", "ａ ｒｅｄ ｈｅａｒｔ", "a\u00a0red\u3000heart", "A RED\theart"]
    assert set(normalised_caption(pa.array(alike)).to_pylist()) == {"a red heart"}
    assert normalised_caption(pa.array(["STRASSE"])).equals(normalised_caption(pa.array(["straße"])))
    assert not normalised_caption(pa.array(["a red heart."])).equals(normalised_caption(pa.array(["a red heart"])))


@pytest.mark.parametrize(
    ("caption", "script"),
    [
        ("a red heart", "Latn"),
        ("Ångström", "Latn"),
        ("빨간 심장", "Hang"),
        ("빨간 heart", "Latn"),
        ("猫の写真", "Kana"),
        ("红色的心", "Hani"),
        ("красное", "Cyrl"),
        ("قلب أحمر", "Arab"),
        ("καρδιά", "Grek"),
        ("לב", "Hebr"),
        ("हृदय", "Deva"),
        ("หัวใจ", "Thai"),
        ("1234 !?", "Zyyy"),
        ("❤️", "Zyyy"),
        ("2 × 2", "Zyyy"),
        ("", "Zyyy"),
        (None, None),
    ],
)
def test_script(caption, script):
    assert compute([caption, "ascii neighbour"], ["caption.script"])["caption.script"].to_pylist() == [script, "Latn"]


@pytest.mark.parametrize(
    ("caption", "share"),
    [
        ("one two three", 0),
        ("heart", 0),
        ("the the THE cat", 0.75),
        ("a b a b", 0.5),
        ("", 0),
        (None, None),
        ("心心心的", 0.75),
        ("심장 심장", 1),
    ],
)
def test_repeat_share(caption, share):
    assert compute(["x x y z", caption], ["caption.repeat_share"])["caption.repeat_share"].to_pylist() == [0.5, share]


@pytest.mark.parametrize(
    "caption",
    [
        "IMG_1234.JPG",
        "img_1234",
        "DSC00012",
        "my holiday photo (3).jpeg",
        "C:\\pictures\\heart.svg",
        "https://example.test/a/b?c=d",
        "www.example.test",
        "Part of the Flat Icon Collection (Wed Aug 25 23:29:46 2004)",
        "Part of the Flags of the World collection",
        "2004-08-25 23:29:46",
        "12345",
        "...",
        "Untitled",
        "untitled 3",
        "No caption",
        "무제",
        "image",
        "0b5e8c1b9d2f4a5e8f60718293a4b5c6",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "Screenshot 2024-01-02",
        "",
    ],
)
def test_boilerplate(caption):
    assert compute([caption], ["caption.boilerplate"])["caption.boilerplate"].to_pylist() == [True]


@pytest.mark.parametrize(
    "caption",
    [
        "a red heart",
        "Photo of a cat",
        "image of 3 cats",
        "icon of a house",
        "빨간 심장",
        "the .jpg file format logo",
        "see https://example.test",
        "cafe",
        "❤ 하트",
        "a collection of flat icons",
        "part of the mountain at dusk",
        "P 51 Mustang",
        "decade",
        "untitled goose game",
    ],
)
def test_not_boilerplate(caption):
    assert compute([caption], ["caption.boilerplate"])["caption.boilerplate"].to_pylist() == [False]


def test_whole_columns_any_chunking_only_what_is_asked():
    captions = pa.array([CAPTIONS[(7 * row) % len(CAPTIONS)] for row in range(20_000)], pa.string())
    function = COLUMN_FUNCTIONS["caption"]
    whole = function.compute(pa.table({"caption": captions})).combine_chunks()
    pieces = pa.chunked_array([captions.slice(at, 777) for at in range(0, 20_000, 777)])
    assert function.compute(pa.table({"caption": pieces})).combine_chunks().equals(whole)
    assert whole.schema.equals(function.fields) and all(field.metadata[b"meaning"] for field in function.fields)
    assert function.compute(pa.table({"caption": captions}), ["caption.script", "caption.words"]).column_names == [
        "caption.script",
        "caption.words",
    ]
    assert compute([], None).num_rows == 0
