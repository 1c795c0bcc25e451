"""Two attempts at one unit, in every order of their store operations: one commit, its tar, no other, every caption on its image."""

import threading
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from pipelines.fetch.commit import commit_unit
from pipelines.fetch.sink import Sink
from pipelines.fetch.store import Outcome
from pipelines.steps.fetch_units import is_committed
from schemas.pool import Pool
from schemas.store import Store
from schemas.units import PoolError
from tests.pipelines.fetching import UNIT, Rows, jpeg, of_urls

STEPS = 4  # store operations of one attempt that the orders are made of; what comes after runs to its end
URLS = [f"http://a.test/{row}" for row in range(5)]


class Stepped(Store):
    """A store that waits for its turn before each operation that another attempt could see."""

    def __init__(self, root: Path):
        super().__init__(root)
        self.turns, self.arrived = threading.Semaphore(0), threading.Semaphore(0)

    def _turn(self) -> None:
        self.arrived.release()
        self.turns.acquire()

    def put(self, path, data):
        if not path.startswith("pool/requests/"):  # times of requests: either attempt's may stay, and nothing rests on them
            self._turn()
        super().put(path, data)

    def put_new(self, path, data):
        self._turn()
        return super().put_new(path, data)

    def open(self, path, **how):
        self._turn()
        return super().open(path, **how)

    def delete(self, path):
        self._turn()
        super().delete(path)


class Attempt:
    """Fetches UNIT's rows, as pictures of its own, in a thread that goes on one operation at a time."""

    def __init__(self, root: Path, scratch: Path, shade: int, fails: int):
        self.store = Stepped(root)
        self.images = {row: jpeg(shade + row) for row in range(len(URLS)) if row != fails}
        self.scratch = scratch
        self.ended = False
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.store.arrived.acquire()  # the first operation waits

    def _run(self) -> None:
        try:
            self._fetch(Pool(self.store))
        except Exception as error:
            self.error = error
        self.ended = True
        self.store.arrived.release()

    def _fetch(self, pool: Pool) -> None:
        if is_committed(pool, UNIT, "input"):
            return
        rows = Rows({UNIT: of_urls(URLS)})
        sink = Sink(self.scratch, len(URLS))
        for row in range(len(URLS)):
            data = self.images.get(row)
            found = Outcome("failed_to_download", "http_404") if data is None else Outcome("success", format="jpeg", size=len(data))
            sink.put(row, found, data)
        commit_unit(pool, UNIT, rows.read(UNIT), sink.whole(), sink.close(), lambda: None, input_digest="input")

    def step(self) -> None:
        if not self.ended:
            self.store.turns.release()
            self.store.arrived.acquire()

    def finish(self) -> None:
        while not self.ended:
            self.step()
        self.thread.join()


def interleave(root: Path, scratch: Path, order: tuple[int, ...], *, same: bool) -> tuple[Attempt, Attempt]:
    first = Attempt(root, scratch / "first.tar", 10, fails=1)
    second = Attempt(root, scratch / "second.tar", 10 if same else 90, fails=1 if same else 3)
    attempts = first, second
    for who in order:
        attempts[who].step()
    for who in (*order[-1:], 0, 1):
        attempts[who].finish()
    return attempts


ORDERS = [tuple(int(place in chosen) for place in range(2 * STEPS)) for chosen in combinations(range(2 * STEPS), STEPS)]


@pytest.mark.parametrize("same", [False, True], ids=["other_bytes", "same_bytes"])
def test_all_interleavings_of_two_attempts(tmp_path, same):
    assert len(ORDERS) == 70
    winners = set()
    for number, order in enumerate(ORDERS):
        root = tmp_path / str(number)
        attempts = interleave(root, tmp_path, order, same=same)
        assert [attempt.error for attempt in attempts] == [None, None], order
        pool = Pool(root)
        assert pool.committed() == {UNIT}, order
        commit = pool.raw_commit(UNIT)
        tars = [path for path, _ in pool.store.list("pool/raw") if path.endswith(".tar")]
        assert tars == [commit.tar], order
        assert commit.tar_sha256 == _sha256(pool.store.read(commit.tar)), order
        rows = pool.read_raw(UNIT).to_pylist()
        assert [row["caption"] for row in rows] == [f"picture {row}" for row in range(5)], order
        images = {row["row"]: pool.read_bytes(UNIT, [row["offset"]], [row["size"]])[0] for row in rows if row["status"] == "success"}
        won = [attempt.images == images for attempt in attempts]
        assert any(won), order
        winners.add(won.index(True))
    assert winners == ({0} if same else {0, 1})


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_an_attempt_that_comes_later_adopts_and_another_input_is_an_error(tmp_path):
    def attempt(shade: int) -> Callable[[], None]:
        made = Attempt(tmp_path / "data", tmp_path / "x.tar", shade, fails=1)
        made.finish()
        return made.error

    assert attempt(10) is None
    before = Pool(tmp_path / "data").store.read(f"pool/raw/{UNIT}.parquet")
    assert attempt(90) is None
    assert Pool(tmp_path / "data").store.read(f"pool/raw/{UNIT}.parquet") == before
    with pytest.raises(PoolError, match="another input"):
        is_committed(Pool(tmp_path / "data"), UNIT, "other")
    source = Rows({UNIT: of_urls(["http://a.test/"])}).read(UNIT)
    with pytest.raises(PoolError, match="another input"):
        commit_unit(
            Pool(tmp_path / "data"), UNIT, source, [Outcome("failed_to_download", "http_404")], None, lambda: None, input_digest="other"
        )
