"""A real web server on loopback, read as a dataset's root: it cannot list, and nothing is written to it."""

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.store import StoreError, open_store
from tests.remote import served

CONTENT = {"a/x": bytes(range(100)), "a/b/y": b"why", "z": b""}


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    for path, data in CONTENT.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    pq.write_table(pa.table({"n": range(1000)}), folder / "t.parquet", row_group_size=100)
    with served(folder) as url:
        yield open_store(url)


def test_objects_and_ranges_are_read(remote):
    assert {path: remote.read(path) for path in CONTENT} == CONTENT
    assert remote.read_ranges("a/x", [(90, 3), (0, 2), (50, 0), (99, 1)]) == [bytes([90, 91, 92]), bytes([0, 1]), b"", bytes([99])]
    assert remote.read_ranges("a/x", []) == [] and remote.read_ranges("z", [(0, 0)]) == [b""]
    assert remote.exists("z") and not remote.exists("none")
    assert pickle.loads(pickle.dumps(remote)).read("a/b/y") == b"why"


def test_parquet_is_read_by_parts(remote):
    with remote.open("t.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(3)["n"].to_pylist() == list(range(300, 400))


def test_what_is_not_there_and_what_was_cut_is_told(remote):
    for read in (remote.read, remote.open, lambda path: remote.read_ranges(path, [(0, 1)])):
        with pytest.raises(FileNotFoundError):
            read("none")
    with pytest.raises(StoreError, match=r"/a/x (ends before byte 200|cannot be read)"):
        remote.read_ranges("a/x", [(0, 200)])


def test_nothing_is_written(remote):
    for write in (lambda: remote.put("q", b""), lambda: remote.put_new("q", b""), lambda: remote.delete("z"), remote.check_writable):
        with pytest.raises(StoreError, match="is only read"):
            write()
    assert remote.read("z") == b""
