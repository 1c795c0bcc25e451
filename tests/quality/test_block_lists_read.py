"""Reading block lists: what an entry may look like, and messages that name the line and never show it."""

import pickle

import pytest

from quality.block_lists import ENVIRONMENT, BlockListError, BlockLists, lists_here, read_lists
from tests.block_lists import lists_of, write_lists

MD5, SHA1, SHA256 = "0123456789abcdef" * 2, "0123456789" * 4, "fedcba9876543210" * 4


def test_without_the_variable_there_are_no_lists():
    lists = read_lists(None, {})
    assert not lists and lists.digest is None and lists.kind_of_url("http://a.test/") is None and lists.kind_of_bytes(b"") is None


def test_comments_blank_lines_case_and_a_byte_order_mark(tmp_path):
    (tmp_path / "md5.txt").write_bytes(b"\xef\xbb\xbf# all\r\n\r\n  " + MD5.upper().encode() + b"  # why\r\n")
    (tmp_path / "README.md").write_text("not a list")
    (tmp_path / ".hidden").write_text("not a list")
    lists = read_lists(None, {ENVIRONMENT: str(tmp_path)})
    assert lists.digest == lists_of(tmp_path / "plain", md5=[MD5]).digest


def test_the_digest_is_of_entries_whatever_their_order_and_spelling(tmp_path):
    one = lists_of(tmp_path / "1", sha256=[SHA256, SHA256[::-1]], urls=["http://A.test:80/x#y", "https://b.test"])
    other = lists_of(tmp_path / "2", sha256=[SHA256[::-1], SHA256.upper(), SHA256], urls=["b.test/", "http://a.test/x"])
    assert one.digest == other.digest
    assert one.digest != lists_of(tmp_path / "3", sha256=[SHA256]).digest
    assert lists_of(tmp_path / "4", sha256=[SHA256]).digest != lists_of(tmp_path / "5", url_sha256=[SHA256]).digest


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("md5", MD5[:-1]), ("md5", SHA1), ("md5", MD5[:-1] + "g"), ("sha1", MD5), ("sha256", SHA256 + "00"), ("sha256", SHA256 + "  a.jpg"),
        ("sha256", SHA256[:-2] + "  "), ("pdq", SHA256[:-2] + "zz"), ("urls", "ftp://secret.test/x"), ("urls", "http://secret.test/a b"),
        ("urls", "http://user@secret.test/"), ("url_md5", "http://secret.test/"), ("url_sha256", MD5), ("domains", "secret.test/path"),
        ("domains", "http://secret.test"), ("domains", "secret .test"), ("domains", "secret..test"), ("domains", "*"),
        ("domains", "secret.test:80"), ("domains", "user@secret.test"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_told_by_file_and_number_and_not_shown(tmp_path, name, line):
    write_lists(tmp_path / "lists", {name: ["# one", line]})
    with pytest.raises(BlockListError) as error:
        read_lists(None, {ENVIRONMENT: str(tmp_path / "lists")})
    text = str(error.value)
    assert f"{name}.txt, line 4: not a" in text and "\n" not in text
    assert line.strip("*") == "" or (line.strip() not in text and "secret" not in text)
    assert error.value.__cause__ is None and error.value.__suppress_context__


def test_bytes_that_are_no_utf8(tmp_path):
    (tmp_path / "domains.txt").write_bytes(b"a.test\n\xff\xfe.test\n")
    with pytest.raises(BlockListError, match=r"domains\.txt, line 2: not a domain name"):
        read_lists(None, {ENVIRONMENT: str(tmp_path)})


@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "holds no list"), ({"sha265": []}, "sha265.txt is no list that pigment knows; lists are md5.txt")],
)
def test_a_folder_that_is_no_folder_of_lists(tmp_path, files, message):
    with pytest.raises(BlockListError, match=message):
        read_lists(None, {ENVIRONMENT: str(write_lists(tmp_path / "lists", files))})


def test_a_path_that_is_missing_or_a_file_or_empty(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "dir" / "md5.txt").mkdir(parents=True)
    for named, message in (("none", "No such file"), ("file", "Not a directory"), ("dir", "Is a directory")):
        with pytest.raises(BlockListError, match=message):
            read_lists(None, {ENVIRONMENT: str(tmp_path / named)})
    with pytest.raises(BlockListError, match="set and empty"):
        read_lists(None, {ENVIRONMENT: ""})


def test_a_worker_must_have_the_launchers_lists(tmp_path):
    lists = lists_of(tmp_path / "lists", md5=[MD5])
    here = {ENVIRONMENT: str(tmp_path / "lists")}
    assert lists_here(lists.digest, None, here).digest == lists.digest and lists_here(None, None, {}).digest is None
    for digest, environment in ((lists.digest, {}), (None, here), ("0" * 64, here)):
        with pytest.raises(BlockListError, match="not those that the job was started with"):
            lists_here(digest, None, environment)


def test_lists_never_travel_and_never_show_themselves(tmp_path):
    lists = lists_of(tmp_path / "lists", md5=[MD5], domains=["secret.test"])
    with pytest.raises(TypeError, match="never sent"):
        pickle.dumps(lists)
    assert repr(lists) == "BlockLists(domain: 1, md5: 1)" and isinstance(lists, BlockLists)
