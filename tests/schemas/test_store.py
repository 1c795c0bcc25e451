"""Storage: whole objects, create-only puts with one winner, ranges, and what killed writers leave."""

import multiprocessing
import pickle
import tempfile
from pathlib import Path

import pytest

from schemas.store import Store, StoreError


def test_put_read_list_delete(tmp_path):
    store = Store(tmp_path / "new" / "root")
    store.put("a/b.txt", b"one")
    store.put("a/b.txt", b"two")
    (tmp_path / "local").write_bytes(b"three")
    store.put("a/c.txt", tmp_path / "local")
    assert store.read("a/b.txt") == b"two" and store.read("a/c.txt") == b"three"
    assert list(store.list("a")) == [("a/b.txt", 3), ("a/c.txt", 5)] and list(store.list("none")) == []
    store.delete("a/b.txt")
    store.delete("a/b.txt")
    assert not store.exists("a/b.txt") and store.exists("a/c.txt")
    with pytest.raises(FileNotFoundError):
        store.read("a/b.txt")


def test_ranges_come_in_the_order_asked(tmp_path):
    store = Store(tmp_path)
    store.put("x", bytes(range(100)))
    assert store.read_ranges("x", [(90, 3), (0, 2), (50, 0), (10, 1)]) == [bytes([90, 91, 92]), bytes([0, 1]), b"", bytes([10])]
    assert store.read_ranges("x", []) == []


def _race(job):
    root, number = job
    return Store(root).put_new("one", str(number).encode() * 1000)


def test_of_many_writers_one_creates(tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        won = pool.map(_race, [(str(tmp_path), number) for number in range(9)])
    assert sum(won) == 1
    assert Store(tmp_path).read("one") == str(won.index(True)).encode() * 1000


def test_a_file_becomes_an_object_on_this_and_on_another_file_system(tmp_path):
    store = Store(tmp_path / "root")
    for number, folder in enumerate((tmp_path, Path("/dev/shm"))):
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"images" * 1000)
            file.flush()
            assert store.put_new(f"a/{number}", Path(file.name)) and not store.put_new(f"a/{number}", Path(file.name))
        assert store.read(f"a/{number}") == b"images" * 1000 and store.leftovers() == []


def test_leftovers_are_seen_apart(tmp_path):
    store = Store(tmp_path)
    store.put("a/x.parquet", b"whole")
    (tmp_path / "a" / "y.parquet#1").write_bytes(b"half")
    assert [path for path, _ in store.list()] == ["a/x.parquet"]
    assert store.leftovers() == ["a/y.parquet#1"]
    store.delete_leftover("a/y.parquet#1")
    assert store.leftovers() == []


def test_pickles_without_its_handle(tmp_path):
    store = Store(tmp_path)
    store.put("x", b"1")
    assert pickle.loads(pickle.dumps(store)).read("x") == b"1"


def test_where_nothing_can_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot write"):
        Store(tmp_path / "file" / "below").put("x", b"1")
