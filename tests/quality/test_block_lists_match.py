"""What is on a list: every spelling of an address, subdomains, bytes, pictures to the distance, and stored columns."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from tests.block_lists import lists_of


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def turned(pdq: bytes, bits: int) -> bytes:
    """The hash with its first `bits` bits, of places mixed by a fixed draw, turned."""
    flips = np.zeros(256, np.uint8)
    flips[np.random.default_rng(bits).permutation(256)[:bits]] = 1
    return bytes(np.frombuffer(pdq, np.uint8) ^ np.packbits(flips))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("http://bad.test/", "domain"), ("https://BAD.test/x", "domain"), ("http://a.b.bad.test:8080/x?y", "domain"),
        ("http://bad.test./", "domain"), ("ftp://bad.test/x", "domain"), ("http://user:pw@cdn.bad.test/x", "domain"),
        ("http://그림.test/", "domain"), ("http://xn--2i0b46t.test/", "domain"), ("http://2130706433/x", "domain"), ("bad.test", "domain"),
        ("http://notbad.test/", None), ("http://bad.test.org/", None), ("http://test/", None), ("", None), ("http://[x", None),
    ],
)  # fmt: skip
def test_a_domain_covers_its_subdomains(tmp_path, text, kind):
    lists = lists_of(tmp_path, domains=["*.Bad.TEST", "그림.test.", "127.0.0.1"])
    assert lists.kind_of_url(text) == kind


SPELLINGS = [
    "http://a.test/p/x.jpg?q=1", "https://A.TEST/p/x.jpg?q=1#part", " http://a.test:80/p/./%78.jpg?q=1", "http://a.test/p/y/../x.jpg?q=1",
    "https://user@a.test:443/p/x.jpg?q=1",
]  # fmt: skip


@pytest.mark.parametrize("entry", ["a.test/p/x.jpg?q=1", "HTTPS://A.test/p/%78.jpg?q=1#y"])
def test_a_url_in_every_spelling(tmp_path, entry):
    lists = lists_of(tmp_path, urls=[entry])
    assert [lists.kind_of_url(text) for text in SPELLINGS] == ["url"] * len(SPELLINGS)
    for other in ("http://a.test/p/X.jpg?q=1", "http://a.test/p/x.jpg", "http://a.test/p/x.jpg?q=2", "http://b.a.test/p/x.jpg?q=1"):
        assert lists.kind_of_url(other) is None


@pytest.mark.parametrize("form", ["http://a.test/p/x.jpg?q=1", "https://a.test/p/x.jpg?q=1"])
def test_a_url_by_the_digest_of_a_canonical_spelling(tmp_path, form):
    for name, digest in (("url_sha256", sha256(form)), ("url_md5", hashlib.md5(form.encode()).hexdigest().upper())):
        lists = lists_of(tmp_path / name, **{name: [digest]})
        assert [lists.kind_of_url(text) for text in SPELLINGS] == ["url"] * len(SPELLINGS)
        assert lists.kind_of_url("http://a.test/p/other.jpg") is None


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ("http://A.test/Mixed Case", "http://A.test/Mixed Case"),  # as it is written
        ("http://a.test/%7euser", "http://a.test/%7euser"),
        ("http://a.test/%7euser", "http://A.TEST/%7euser"),  # as it is sent
        ("http://a.test", "http://a.test/"),
        ("https://a.test", "http://A.test"),
    ],
)
def test_a_url_by_the_digest_of_the_spelling_that_the_list_has(tmp_path, listed, text):
    assert lists_of(tmp_path, url_sha256=[sha256(listed)]).kind_of_url(text) == "url"


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
def test_bytes(tmp_path, name):
    lists = lists_of(tmp_path, **{name: [hashlib.new(name, b"bad").hexdigest().upper()]})
    assert lists.kind_of_bytes(b"bad") == name and lists.kind_of_bytes(b"good") is None
    assert lists.fetches_only == (name != "sha256")


def test_pictures_to_distance_31_and_quality_50(tmp_path):
    draw = np.random.default_rng(1)
    entries = [draw.bytes(32) for _ in range(3000)]
    lists = lists_of(tmp_path, pdq=[entry.hex() for entry in entries])
    for number in (0, 1023, 1024, 2999):
        for distance in (0, 1, 30, 31):
            assert lists.kind_of_picture(turned(entries[number], distance), 50) == "pdq"
        assert lists.kind_of_picture(turned(entries[number], 32), 100) is None
        assert lists.kind_of_picture(entries[number], 49) is None
    assert lists.decodes and lists.kind_of_bytes(entries[0]) is None


def test_stored_columns(tmp_path):
    pdq, good = bytes(32), b"\xf0" * 32
    rows = {
        "url": ["http://a.test/x", "http://b.test/", None, "http://c.test/", "http://d.test/", "http://e.test/", "http://f.test/", None],
        "final_url": [None, "http://cdn.bad.test/x", None, None, None, None, None, None],
        "source_page": [None, None, "https://bad.test/page", None, None, None, None, None],
        "expected_sha256": [None, None, None, None, None, None, None, sha256("x").upper()],
        "sha256": [None, "00" * 32, None, sha256("x"), "11" * 32, "22" * 32, "33" * 32, None],
        "image.pdq": [None, good, good, good, turned(pdq, 31), pdq, turned(pdq, 32), None],
        "image.pdq_quality": [None, 100, 100, 100, 50, 49, 100, None],
    }
    table = pa.table({**rows, "image.pdq": pa.array(rows["image.pdq"], pa.binary(32))})
    lists = lists_of(tmp_path, urls=["a.test/x"], domains=["bad.test"], sha256=[sha256("x")], pdq=[pdq.hex()])
    assert lists.stored(table).tolist() == [True, True, True, True, True, False, False, True]
    assert lists.stored(table.slice(0, 0)).tolist() == []
