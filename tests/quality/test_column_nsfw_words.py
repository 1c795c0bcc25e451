"""Wording of captions: counted as whole words, in two languages; what only looks alike is not."""

import pyarrow as pa
import pytest

from quality.columns import COLUMN_FUNCTIONS


def counted(*captions):
    table = pa.table({"caption": pa.array(captions, pa.string())})
    return COLUMN_FUNCTIONS["caption.nsfw_words"].compute(table)["caption.nsfw_words"].to_pylist()


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("a nude study in charcoal", 1), ("NUDE, Naked", 2), ("nude nude nude", 3), ("sexually explicit material", 1), ("누드 크로키", 1),
        ("누드 누드", 2), ("나체의 조각상과 누드를 그리다", 2), ("ＮＵＤＥ", 1), ("전라의 조각", 1), (None, None), ("", 0),
    ],
)  # fmt: skip
def test_words(caption, words):
    assert counted(caption) == [words]


@pytest.mark.parametrize(
    "caption",
    [
        "denuded hills",
        "snakes",
        "Essex and Sussex",
        "a nakedly partisan view",
        "확성기를 든 사람",
        "생성기 그림",
        "전라북도 지도",
        "전라도 여행",
        "analysis",
        "cockerel",
        "red heart",
    ],
)
def test_what_only_looks_alike(caption):
    assert counted(caption) == [0]


def test_rows_belong_to_rows():
    assert counted("nude", None, "cat", "알몸") == [1, None, 0, 1]
