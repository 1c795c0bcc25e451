"""Names of persons in captions: whole words, case-folded, NFC; told by digest alone."""

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


@pytest.mark.parametrize(
    "caption", [None, "", "Ada", "Adam Example", "Ada Examples", "Example Ada", "jose munoz", "홍길동이 웃는다", "Brien Sample"]
)
def test_not_found(caption):
    assert not NAMES.in_caption(caption)


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
