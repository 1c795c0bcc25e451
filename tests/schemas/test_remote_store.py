"""A real S3 server and a real web server on loopback, read as a dataset's root."""

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.remote_store import RemoteStore
from schemas.store import StoreError
from tests.remote import bucket, served

CONTENT = {"a/x": bytes(range(100)), "a/b/y": b"why", "z": b""}


@pytest.fixture(scope="module", params=["s3", "http"])
def remote(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    for path, data in CONTENT.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    pq.write_table(pa.table({"n": range(1000)}), folder / "t.parquet", row_group_size=100)
    with bucket(folder, prefix="some/where") if request.param == "s3" else served(folder) as url:
        yield RemoteStore(url)


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
    for write in (lambda: remote.put("q", b""), lambda: remote.put_new("q", b""), lambda: remote.delete("z")):
        with pytest.raises(StoreError, match="is only read"):
            write()
    assert remote.read("z") == b""


def test_a_bucket_is_listed(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2").write_bytes(b"two")
    (tmp_path / "1").write_bytes(b"")
    with bucket(tmp_path, prefix="p") as url:
        store = RemoteStore(url)
        assert list(store.list()) == [("1", 0), ("b/2", 3)] and list(store.list("b")) == [("b/2", 3)]


@pytest.mark.parametrize("root", ["ftp://host/x", "s3:///x", "gs://bucket"])
def test_other_schemes_are_refused(root):
    with pytest.raises(StoreError, match="s3://, https://, http://"):
        RemoteStore(root)
