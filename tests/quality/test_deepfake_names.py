"""Names of persons in captions: whole words or with a Korean particle, case-folded, NFC; told by digest alone."""

import time
import unicodedata

import pytest

from quality.deepfake.names import NamesError, PersonNames, names_digest, read_names

NAMES = PersonNames(["Ada Example", "José Muñoz", "홍길동", "O'Brien Sample", "straße müller"])


@pytest.mark.parametrize(
    "caption",
    [
        "Ada Example at work", "photo: ADA   example.", "ada, example", unicodedata.normalize("NFD", "josé muñoz sings"), "홍길동 사진", "(홍길동)",
        "o'brien sample", "STRASSE MÜLLER",
    ],
)  # fmt: skip
def test_found(caption):
    assert NAMES.in_caption(caption)


@pytest.mark.parametrize("caption", [None, "", "Ada", "Adam Example", "Ada Examples", "Example Ada", "jose munoz", "Brien Sample"])
def test_not_found(caption):
    assert not NAMES.in_caption(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "홍길동이 웃는다", "홍길동가", "어제 홍길동은", "홍길동에게 준 꽃",
        "홍길동의 집", "홍길동과 친구",
        "홍길동도", "홍길동씨", "홍길동님의 집", "홍길동 씨가",
        "가수 홍길동입니다", unicodedata.normalize("NFD", "홍길동을"), "Ada Example이 웃는다", "김 철수가",
    ],
)  # fmt: skip
def test_found_with_what_korean_joins_to_a_name(caption):
    assert PersonNames(["Ada Example", "홍길동", "김 철수"]).in_caption(caption)


@pytest.mark.parametrize(
    "caption", ["홍길동네거리", "홍길동대교", "홍길", "신홍길동", "홍길동상", "이", "의", "Ada의 Example", "김이 철수", "김 철수네"]
)
def test_other_words_that_begin_so_are_not_found(caption):
    assert not PersonNames(["Ada Example", "홍길동", "김 철수"]).in_caption(caption)


def test_many_names_that_begin_alike_cost_no_more():
    """Each of them was compared at each such word: 20,000 times 1,000."""
    names = PersonNames(f"kim {number}" for number in range(20_000))
    before = time.process_time()
    assert not names.in_caption("kim " * 1000)
    assert time.process_time() - before < 0.5


def test_a_file_has_one_name_a_line(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufeff# our list\nAda Example\n\n  홍길동 \nADA EXAMPLE\n", "utf-8")
    names = read_names(path)
    assert len(names) == 2 and names.in_caption("홍길동") and not names.in_caption("our list")


def test_the_digest_is_of_the_names_not_of_the_file(tmp_path):
    one, two, three = (tmp_path / name for name in "abc")
    one.write_text("Ada Example\n홍길동\n", "utf-8")
    two.write_text("# other\n홍길동\nada  EXAMPLE", "utf-8")
    three.write_text("Ada Example", "utf-8")
    assert names_digest(one) == names_digest(two) != names_digest(three)


@pytest.mark.parametrize(("text", "message"), [("\n# nothing\n", "no name in it"), ("Ada Example\nX\n", "line 2 has fewer than 2 letters")])
def test_a_list_that_cannot_be_used_is_refused_without_showing_it(tmp_path, text, message):
    path = tmp_path / "names.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(NamesError, match=message) as error:
        read_names(path)
    assert "Ada" not in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(NamesError, match="No such file"):
        names_digest(tmp_path / "none.txt")
    (tmp_path / "latin").write_bytes("José".encode("latin-1"))
    with pytest.raises(NamesError, match="not UTF-8 at byte 3"):
        read_names(tmp_path / "latin")
