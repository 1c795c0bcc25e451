"""Lists that policies name: what counts as a value, and that format, order and place do not."""

import numpy as np
import pytest

from schemas.value_lists import UIDS, ListError, ValueList, find_list, write_ids

IDS = ["ffffffffffffffff0000000000000001", "00000000000000010000000000000002", "0000000000000001ffffffffffffffff"]


def test_ids_are_written_as_datacomp_reads_them(tmp_path):
    assert write_ids([*IDS, IDS[0]], tmp_path / "ids.npy") == 3
    array = np.load(tmp_path / "ids.npy", mmap_mode="r")
    assert array.dtype == UIDS and array.tolist() == [(1, 2), (1, 2**64 - 1), (2**64 - 1, 1)]
    with pytest.raises(ListError, match="'abc' is no id of 32 hex digits"):
        write_ids([IDS[0], "abc"], tmp_path / "other.npy")


def test_format_order_and_place_do_not_matter(tmp_path):
    write_ids(IDS, tmp_path / "ids.npy")
    (tmp_path / "ids.txt").write_text("\n\n".join([IDS[2], f"  {IDS[0]}\r", IDS[1], IDS[1]]), "utf-8")
    array, text = find_list(tmp_path / "ids.npy"), find_list(tmp_path / "ids.txt")
    assert array == text and array.values == 3
    assert array.read().tolist() == text.read().tolist() == [[1, 2], [1, 2**64 - 1], [2**64 - 1, 1]]


def test_texts(tmp_path):
    (tmp_path / "a.txt").write_text("개\n a cat \n\na cat\n#1\n", "utf-8")
    found = find_list(tmp_path / "a.txt")
    assert (found.read(), found.values) == (["#1", "a cat", "개"], 3)
    (tmp_path / "b.txt").write_text("#1\n개\na cats", "utf-8")
    assert find_list(tmp_path / "b.txt").digest != found.digest
    assert ValueList(**found.as_dict()) == found and found.as_dict().keys() == {"digest", "values"}


def test_only_line_ends_part_values_and_a_byte_order_mark_is_none(tmp_path):
    """Web captions hold what Unicode calls line and page separators."""
    captions = ["a cat\u2028on a mat", "one\x0ctwo", "three\x85four"]
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(captions).encode())
    assert find_list(tmp_path / "a.txt").read() == sorted(captions)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.txt", None, "No such file"),
        ("empty.txt", b" \n", "no value in it"),
        ("latin.txt", b"\xe9", "not UTF-8"),
        ("broken.npy", b"\x93NUMPY", "not a NumPy array"),
        ("text.npy", b"abc", "not a NumPy array"),
        ("nothing.npy", b"", "not a NumPy array"),
        ("zip.npy", b"PK\x03\x04" + bytes(100), "not a NumPy array"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ListError, match=message):
        find_list(tmp_path / name)


def test_arrays_of_something_else(tmp_path):
    np.save(tmp_path / "floats.npy", np.zeros(3))
    with pytest.raises(ListError, match="array of float64"):
        find_list(tmp_path / "floats.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ListError, match="not a NumPy array"):
        find_list(tmp_path / "objects.npy")


def test_a_list_that_changed_or_is_gone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one", "utf-8")
    found = find_list(path)
    path.write_text("two", "utf-8")
    with pytest.raises(ListError, match="has changed"):
        found.read()
    with pytest.raises(ListError, match="not at hand"):
        ValueList(**found.as_dict()).read()
