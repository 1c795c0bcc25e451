"""One contract, three kinds of stores: a local folder, S3 and Google Cloud Storage, the last two on loopback."""

import hashlib
import multiprocessing
import os
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.remote_store import GAP, TAIL, joined
from schemas.store import Store, StoreError, open_store
from tests.conftest import SOAK
from tests.stores import KINDS, Fault, Remote, remote


@dataclass(frozen=True)
class Place:
    """An empty root. remote: None for a local folder."""

    url: str
    remote: Remote | None

    @property
    def store(self) -> Store:
        return open_store(self.url)


@pytest.fixture(params=["local", *KINDS])
def place(request, tmp_path) -> Iterator[Place]:
    if request.param == "local":
        yield Place(str(tmp_path / "root"), None)
        return
    running = request.getfixturevalue(f"{request.param}_server")
    yield Place(f"{running.url}/{tmp_path.name}/root of it", running)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[Remote]:
    with remote("s3") as running:
        yield running


@pytest.fixture(scope="module")
def gs_server() -> Iterator[Remote]:
    with remote("gs") as running:
        yield running


@pytest.fixture(params=KINDS)
def far(request, tmp_path) -> Place:
    """As `place`, behind a URL alone."""
    running = request.getfixturevalue(f"{request.param}_server")
    return Place(f"{running.url}/{tmp_path.name}", running)


def test_objects_are_put_read_listed_and_deleted(place, tmp_path):
    store = place.store
    store.check_writable()
    store.put("a/b.txt", b"one")
    store.put("a/b.txt", b"two")
    (tmp_path / "local").write_bytes(b"three")
    (tmp_path / "empty").write_bytes(b"")
    store.put("a/c d+e=f.txt", tmp_path / "local")
    store.put("ab", tmp_path / "empty")
    assert store.read("a/b.txt") == b"two" and store.read("a/c d+e=f.txt") == b"three" and store.read("ab") == b""
    assert list(store.list("a")) == [("a/b.txt", 3), ("a/c d+e=f.txt", 5)] and list(store.list("none")) == []
    assert list(store.list()) == [("a/b.txt", 3), ("a/c d+e=f.txt", 5), ("ab", 0)]
    store.delete("a/b.txt")
    store.delete("a/b.txt")
    assert not store.exists("a/b.txt") and store.exists("ab")
    assert pickle.loads(pickle.dumps(store)).read("a/c d+e=f.txt") == b"three" and len(pickle.dumps(store)) < 300
    assert store.name == "root" if place.remote is None else "root of it"


def test_what_is_not_there_is_missing(place):
    store = place.store
    store.put("x", b"1")
    for read in (store.read, store.open, store.state, lambda path: store.read_ranges(path, [(0, 1)])):
        with pytest.raises(FileNotFoundError):
            read("none")


def test_create_only_puts_leave_what_is_there(place, tmp_path):
    store = place.store
    (tmp_path / "tar").write_bytes(b"images" * 1000)
    assert store.put_new("a", tmp_path / "tar") and not store.put_new("a", b"other")
    assert not store.put_new("a", b"images" * 1000)  # equal bytes are another writer's all the same
    assert store.read("a") == b"images" * 1000


def _race(job: tuple[str, int]) -> list[bool]:
    url, number = job
    return [open_store(url).put_new(f"race/{place}", str(number).encode() * 1000) for place in range(5)]


def test_of_many_writers_one_creates(place):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        won = pool.map(_race, [(place.url, number) for number in range(4)], chunksize=1)
    for number, winners in enumerate(zip(*won, strict=True)):
        assert sum(winners) == 1
        assert place.store.read(f"race/{number}") == str(winners.index(True)).encode() * 1000


def test_ranges_come_in_the_order_asked(place):
    store = place.store
    data = hashlib.shake_256(b"").digest(3 * GAP)
    store.put("x", data)
    ranges = [(90, 3), (3 * GAP - 1, 1), (0, 2), (50, 0), (10, 1), (GAP // 2, 5)]
    assert store.read_ranges("x", ranges) == [data[offset : offset + size] for offset, size in ranges]
    assert store.read_ranges("x", []) == [] and store.read_ranges("x", [(0, 0)]) == [b""]
    with pytest.raises(StoreError, match=re.escape(f"x ends before byte {3 * GAP + 1}; it was cut")):
        store.read_ranges("x", [(0, 1), (3 * GAP - 5, 6)])


def test_an_opened_object_reads_as_a_file(place):
    store, data = place.store, hashlib.shake_256(b"").digest(5 * GAP + 17)
    store.put("x", data)
    with store.open("x") as file:
        assert file.size() == len(data) and file.read(5) == data[:5]
        file.seek(2 * GAP)
        assert file.read(GAP) == data[2 * GAP : 3 * GAP] and file.tell() == 3 * GAP
        assert file.read_at(100, len(data) - 50) == data[-50:]
        file.seek(0)
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(data).digest()
    store.put("empty", b"")
    with store.open("empty") as file:
        assert file.read() == b"" and file.size() == 0


def test_parquet_is_read_by_columns(place, tmp_path):
    table = pa.table({name: [f"{name}{row}" for row in range(20_000)] for name in "abcdef"})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=5000, use_dictionary=False)
    place.store.put("t.parquet", tmp_path / "t.parquet")
    with place.store.open("t.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(2, columns=["c", "f"]).equals(table.select(["c", "f"]).slice(10_000, 5000))


def test_an_object_of_elsewhere_is_read_by_its_whole_path(place, tmp_path):
    (tmp_path / "user.tar").write_bytes(b"0123456789")
    store = place.store
    assert store.read_ranges(str(tmp_path / "user.tar"), [(3, 2)]) == [b"34"]
    with store.open(str(tmp_path / "user.tar")) as file:
        assert file.read() == b"0123456789"
    store.put("here", b"abc")
    url = store.path_of("here")
    assert Store(tmp_path).read_ranges(url, [(1, 1)]) == [b"b"] and store.read_ranges(url, [(1, 1)]) == [b"b"]


def test_neighbours_are_one_request():
    assert joined([(0, 10), (10 + GAP, 5), (7, 0)]) == [(0, 15 + GAP, [0, 1])]
    assert joined([(11 + GAP, 5), (0, 10)]) == [(0, 10, [1]), (11 + GAP, 16 + GAP, [0])]
    assert joined([(0, 10), (2, 3)]) == [(0, 10, [0, 1])] and joined([]) == []


def test_requests_are_few(far, tmp_path):
    """A footer is one request, a row of neighbours one, a put one; and so is a file of 20 MB that is read from its beginning, by few."""
    store, running = far.store, far.remote
    pq.write_table(pa.table({"n": range(1_000_000)}), tmp_path / "t.parquet")
    store.put("t.parquet", tmp_path / "t.parquet")
    store.put("big", bytes(20 << 20))

    def asked(act) -> int:
        before = len(running.asked)
        act()
        return len(running.asked) - before

    assert (tmp_path / "t.parquet").stat().st_size > 2 * TAIL
    assert asked(lambda: pq.read_metadata(store.open("t.parquet"))) == 1
    assert asked(lambda: store.read_ranges("big", [(offset, 1000) for offset in range(0, 16 << 20, 1 << 20)])) == 1
    assert asked(lambda: store.put_new("new", b"x" * 1000)) == 1
    assert asked(lambda: store.open("big").read()) == 2
    assert asked(lambda: hashlib.file_digest(store.open("big"), "sha256")) == 6  # the end, then 1, 2, 4, 8 and 5 MB


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 503, "times": 1}, id="refused"),
        pytest.param({"status": 429, "times": 1}, id="too many requests"),
        pytest.param({"status": None, "times": 1}, id="dropped"),
        pytest.param({"status": 503, "done": True}, id="carried out and answered by an error"),
        pytest.param({"status": None, "done": True}, id="carried out and not answered"),
    ],
)
def test_what_passes_is_asked_for_again_and_a_writer_knows_its_own_object(far, fault):
    store, running = far.store, far.remote
    method = "PUT" if running.kind == "s3" else "POST"
    part = "/new" if running.kind == "s3" else "/upload/"
    running.faults[:] = [Fault(method, part, **fault)]
    assert store.put_new("new", b"mine")
    assert not running.faults[0].times, "the fault did not come"
    assert store.read("new") == b"mine"
    running.faults[:] = [Fault(method, part, **fault)]
    assert not store.put_new("new", b"mine")
    running.faults[:] = [Fault("GET", "new", **fault)]
    assert store.read("new") == b"mine"
    running.faults[:] = []


def test_a_large_create_only_put_is_whole_or_not_there(far, tmp_path):
    """40 MB: of more than one request on gs. The second part fails for good: nothing is there, and another may write it."""
    store, running = far.store, far.remote
    (tmp_path / "tar").write_bytes(os.urandom(40 << 20))
    running.faults[:] = [Fault("PUT", "large", 403)] if running.kind == "s3" else [Fault("PUT", "upload", 403)]
    with pytest.raises(StoreError, match="access denied"):
        store.put_new("large", tmp_path / "tar")
    running.faults[:] = []
    assert list(store.list()) == []
    assert store.put_new("large", tmp_path / "tar") and not store.put_new("large", tmp_path / "tar")
    assert store.read("large") == (tmp_path / "tar").read_bytes()


@pytest.mark.skipif(not SOAK, reason="not run: 200 MB through two servers (make soak)")
def test_a_large_put_takes_no_memory_of_its_size(far, tmp_path):
    """Anonymous memory: pages of the file are the system's, and it takes them back."""
    (tmp_path / "tar").write_bytes(bytes(200 << 20))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        grown = pool.apply(_grown_by_put, (far.url, str(tmp_path / "tar")))
    assert grown < 120, f"{grown} MB"


def _grown_by_put(url: str, file: str) -> float:
    import threading
    from pathlib import Path

    store, peak, done = open_store(url), [0.0], threading.Event()
    store.put("small", b"1")

    def rss() -> float:
        return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], rss())

    before, thread = rss(), threading.Thread(target=watch)
    thread.start()
    store.put_new("large", Path(file))
    done.set()
    thread.join()
    return peak[0] - before


def test_no_bucket_and_no_rights_are_told(far):
    running = far.remote
    nowhere = open_store(f"{running.kind}://nowhere/x")
    for act in (nowhere.check_writable, lambda: nowhere.put("a", b""), lambda: list(nowhere.list())):
        with pytest.raises(StoreError, match="there is no such bucket"):
            act()
    running.faults[:] = [Fault(method, "", 403, times=100) for method in ("GET", "PUT", "POST")]
    for act in (far.store.check_writable, lambda: far.store.put_new("a", b""), lambda: far.store.read("a")):
        with pytest.raises(StoreError, match=r"access denied.*infra/STORES\.md"):
            act()
    running.faults[:] = []


def test_no_credentials_are_told(tmp_path):
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STORAGE_", "GOOGLE_"))}
    with mock.patch.dict(os.environ, {**bare, "HOME": str(tmp_path), "NO_GCE_CHECK": "true"}, clear=True):
        pytest.importorskip("google.cloud.storage", reason="not run: the extra gs is not installed")
        with pytest.raises(StoreError, match="no credentials; run gcloud auth"):
            open_store("gs://bucket/x").check_writable()


def test_a_missing_package_is_told():
    with mock.patch.dict("sys.modules", {"google.cloud": None, "schemas.gs_store": None}):
        with pytest.raises(StoreError, match=r"gs:// needs .*, which is not installed; pip install 'pigment\[gs\]'"):
            open_store("gs://bucket/x")


@pytest.mark.parametrize("root", ["ftp://host/x", "s3:///x", "abfs://x/y"])
def test_other_schemes_are_refused(root):
    with pytest.raises(StoreError, match="s3://"):
        open_store(root)
