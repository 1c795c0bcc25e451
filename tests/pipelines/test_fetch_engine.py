"""Retries, limits, hosts that are down, deadlines, order: the engine against real servers."""

import gc
import hashlib
import time
import weakref
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from pipelines.fetch.commit import commit_unit
from pipelines.fetch.loop import Engine
from pipelines.fetch.sink import Sink
from pipelines.fetch.store import Outcome
from quality.block_lists import BlockLists
from schemas.pool import Pool
from tests.pipelines.fetching import NO_LISTS, UNIT, Reply, Rows, Server, fetch, host_map, image_of, jpeg, of_urls, settings, submit


@pytest.fixture
def pool(tmp_path):
    return Pool(tmp_path / "data")


def words(rows) -> list[str]:
    return [row["error_message"] or row["status"] for row in rows]


def test_what_passes_is_asked_again_and_nothing_else(pool):
    good, retries = Reply(body=jpeg()), 2
    passing = [Reply(408), Reply(425), Reply(429), Reply(500), Reply(503), Reply(raw=b""), Reply(body=b"\xff\xd8", told=99, close=True)]
    replies = {f"/once{number}": [reply, good] for number, reply in enumerate(passing)}
    replies |= {f"/twice{number}": [reply, reply, good] for number, reply in enumerate(passing[:5])}
    replies |= {"/for_ever": Reply(500), "/404": [Reply(404), good], "/html": [Reply(body=b"<html>"), good]}
    with Server(replies) as server:
        rows = fetch(pool, [server.url(path) for path in replies], retries=retries)
        assert words(rows) == ["success"] * 12 + ["http_500", "http_404", "not_image"]
        assert [server.count(path) for path in ("/once0", "/twice0", "/for_ever", "/404", "/html")] == [2, 3, 1 + retries, 1, 1]


def test_backoff_doubles_and_does_not_depend_on_chance(pool, tmp_path):
    def gaps(folder: str) -> list[float]:
        with Server({"/a": Reply(500)}) as server:
            hosts = host_map(tmp_path, {"a.test": f"127.0.0.1:{server.port}"})
            fetch(Pool(tmp_path / folder), ["http://a.test/a"], retries=2, backoff_s=0.2, host_map=hosts)
            times = [at for _, _, at in server.log]
            return [later - sooner for sooner, later in pairwise(times)]

    first, second = gaps("1"), gaps("2")
    assert 0.1 <= first[0] <= 0.45 and 0.2 <= first[1] <= 0.75
    assert first == pytest.approx(second, abs=0.12)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_holds_back_the_whole_host(pool, form):
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    busy = Reply(429, headers={"Retry-After": "1" if form == "seconds" else until})
    paths = [f"/{number}" for number in range(6)]
    with Server({"/busy": [busy, Reply(body=jpeg())], **{path: Reply(body=jpeg()) for path in paths}}) as server:
        rows = fetch(pool, [server.url(path) for path in ("/busy", *paths)], connections_per_host=1)
        assert words(rows) == ["success"] * 7
        times = {path: at for _, path, at in server.log if path != "/busy"}
        began = server.log[0][2]
        assert min(times.values()) - began > 0.9


def test_a_longer_pause_than_there_is_time_for_ends_the_image_and_postpones_its_host(pool, tmp_path):
    with (
        Server({"/a": Reply(503, headers={"Retry-After": "86400"}), "/b": Reply(body=jpeg())}) as server,
        Server({"/c": Reply(body=jpeg())}) as other,
    ):
        began, names = time.monotonic(), host_map(tmp_path, {"other.test": f"127.0.0.1:{other.port}"})
        rows = fetch(pool, [server.url("/a"), server.url("/b"), "http://other.test/c"], connections_per_host=1, host_map=names)
        assert words(rows) == ["http_503", "deadline", "success"]
        assert rows[1]["status"] == "postponed"
        assert time.monotonic() - began < 5 and server.count("/a") == 1


def test_a_later_unit_does_not_wait_for_a_host_that_wants_to_be_left_alone(pool, tmp_path):
    away, good = Reply(429, headers={"Retry-After": "86400"}), Reply(body=jpeg())
    with Server({"/a": away, "/b": good}) as server, Server({"/c": good, "/d": good}) as other:
        later = UNIT[:-1] + "1"
        names = host_map(tmp_path, {"other.test": f"127.0.0.1:{other.port}"})
        urls = {
            UNIT: [server.url("/a"), "http://other.test/c"],
            later: [server.url("/b"), "http://other.test/c", "http://other.test/d"],
        }
        rows, engine = (
            Rows({unit: of_urls(listed) for unit, listed in urls.items()}),
            Engine(settings(unit_timeout_s=20, host_map=names), BlockLists({}), threads=1),
        )
        try:
            began = time.monotonic()
            for unit in urls:
                assert submit(engine, pool, rows, unit).result(60)
        finally:
            engine.close()
        assert words(pool.read_raw(UNIT).to_pylist()) == ["http_429", "success"]
        assert words(pool.read_raw(later).to_pylist()) == ["deadline", "success", "success"]
        assert time.monotonic() - began < 10 and server.count("/b") == 0


def test_connections_are_kept_and_bounded(pool):
    with Server(lambda path: Reply(body=jpeg(), delay=0.02)) as server:
        rows = fetch(pool, [server.url(f"/{number}") for number in range(60)], connections_per_host=3)
        assert words(rows) == ["success"] * 60
        assert server.most == 3 and server.connections == 3


def test_connections_are_bounded_over_all_hosts(pool, tmp_path):
    with Server(lambda path: Reply(body=jpeg(), delay=0.02)) as server:
        hosts = host_map(tmp_path, {f"h{number}.test": f"127.0.0.1:{server.port}" for number in range(20)})
        rows = fetch(pool, [f"http://h{number % 20}.test/{number}" for number in range(60)], connections=5, host_map=hosts)
        assert words(rows) == ["success"] * 60
        assert server.most == 5


def test_rate_per_host(pool):
    with Server(lambda path: Reply(body=jpeg())) as server:
        fetch(pool, [server.url(f"/{number}") for number in range(9)], rate_per_host=20.0)
        times = sorted(at for _, _, at in server.log)
        assert times[-1] - times[0] >= 8 / 20 - 0.05


def test_slow_and_dead_hosts_hold_up_no_other(pool, tmp_path):
    """Twelve rows of a silent host come first; the other host's sixty are done long before the first of them ends."""
    with Server(lambda path: Reply(delay=60)) as silent, Server(lambda path: Reply(body=jpeg())) as quick:
        names = host_map(tmp_path, {"quick.test": f"127.0.0.1:{quick.port}"})
        urls = [silent.url(f"/{number}") for number in range(12)] + [f"http://quick.test/{number}" for number in range(60)]
        began = time.monotonic()
        rows = fetch(pool, urls, connections=8, connections_per_host=4, image_timeout_s=1.0, host_map=names)
        assert words(rows) == ["timeout"] * 12 + ["success"] * 60
        assert max(at for _, _, at in quick.log) - began < 1.0


def test_a_host_has_one_limit_however_it_is_written(pool, tmp_path):
    """Another port, and a dot at the end of the name."""
    with Server(lambda path: Reply(body=jpeg(), delay=0.05)) as server:
        names = host_map(tmp_path, {"h.test": f"127.0.0.1:{server.port}"})
        written = ("h.test", "h.test.", "h.test:8080", "h.test.:8080")
        rows = fetch(pool, [f"http://{written[row % 4]}/{row}" for row in range(24)], connections_per_host=2, host_map=names)
        assert words(rows) == ["success"] * 24
        assert server.most == 2


def test_a_pause_holds_for_all_ports_of_a_host(pool):
    with (
        Server({"/a": [Reply(503, headers={"Retry-After": "1"}), Reply(body=jpeg())]}) as server,
        Server({"/b": Reply(body=jpeg())}) as other,
    ):
        rows = fetch(pool, [server.url("/a"), other.url("/b")], connections_per_host=1)
        assert words(rows) == ["success"] * 2
        assert other.log[0][2] - server.log[0][2] > 0.9


def test_a_port_that_is_down_takes_no_other_with_it(pool):
    with Server({}) as server:
        port = server.port
    with Server(lambda path: Reply(body=jpeg(), delay=0.01)) as other:
        urls = [url for row in range(100) for url in (f"http://127.0.0.1:{port}/{row}", other.url(f"/{row}"))]
        rows = fetch(pool, urls, retries=0, connections_per_host=2)
        assert words(rows) == ["connect", "success"] * 100


def test_a_host_that_is_down_is_left_alone(pool):
    with Server({}) as server:
        port = server.port
    began = time.monotonic()
    with Server({"/a": Reply(body=jpeg())}) as other:
        rows = fetch(
            pool, [*(f"http://127.0.0.1:{port}/{number}" for number in range(500)), other.url("/a")], backoff_s=1.0, image_timeout_s=8
        )
    assert words(rows) == ["connect"] * 500 + ["success"]
    assert time.monotonic() - began < 8, "at most a few of them were tried three times"


def test_a_url_is_asked_once_for_all_of_its_rows(pool):
    with Server({"/a": Reply(body=jpeg(3))}) as server:
        rows = fetch(pool, [server.url("/a"), server.url("/b"), server.url("/a")])
        assert server.count("/a") == 1
        assert [image_of(pool, row) for row in (rows[0], rows[2])] == [jpeg(3)] * 2
        assert rows[0]["offset"] != rows[2]["offset"] and rows[0]["uid"] != rows[2]["uid"]


def test_rows_with_a_status_are_passed_on_and_not_asked_for(pool):
    with Server({"/a": Reply(body=jpeg())}) as server:
        given = of_urls([server.url("/a"), server.url("/a"), None, None])
        given[1] |= {"status": "invalid", "error_message": "no_caption", "caption": None}
        given[2] |= {"status": "invalid", "error_message": "bad_row: line 3", "caption": None}
        rows = fetch(pool, Rows({UNIT: given}, carried={"similarity": [0.5, None, 0.25, 1.0]}))
        assert words(rows) == ["success", "no_caption", "bad_row: line 3", "no_url"]
        assert [row["status"] for row in rows] == ["success", "invalid", "invalid", "invalid"]
        assert [row["similarity"] for row in rows] == [0.5, None, 0.25, 1.0]
        assert len({row["uid"] for row in rows}) == 4 and None not in {row["uid"] for row in rows}
        assert server.count("/a") == 1


def test_a_folders_files(pool, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(jpeg(1))
    (tmp_path / "in" / "b.jpg").write_bytes(b"no image")
    (tmp_path / "in" / "big.jpg").write_bytes(jpeg(1) + bytes(2_000))
    (tmp_path / "in" / "dir.jpg").mkdir()
    given = [{"file_name": name, "caption": "same"} for name in ("a.jpg", "b.jpg", "none.jpg", "none2.jpg", "dir.jpg", "big.jpg")]
    rows = fetch(pool, Rows({UNIT: given}, folder=str(tmp_path / "in")), max_bytes=2_000)
    assert words(rows) == [
        "success", "not_image", "missing_file", "missing_file", "missing_file: Is a directory", "too_large: more than 2,000 bytes",
    ]  # fmt: skip
    assert image_of(pool, rows[0]) == jpeg(1) and rows[0]["url"] is None and rows[0]["final_url"] is None
    assert len({row["uid"] for row in rows}) == 6


def test_the_deadline_postpones_what_is_left(pool):
    with Server(lambda path: Reply(delay=0 if path < "/5" else 60, body=jpeg())) as server:
        rows = fetch(pool, [server.url(f"/{number}") for number in range(8)], unit_timeout_s=1.0, image_timeout_s=30)
        assert [(row["status"], row["error_message"]) for row in rows] == [("success", None)] * 5 + [("postponed", "deadline")] * 3


def test_a_unit_that_moves_may_pass_its_deadline(pool):
    with Server(lambda path: Reply(delay=0.1, body=jpeg())) as server:
        rows = fetch(pool, [server.url(f"/{number}") for number in range(25)], connections=1, unit_timeout_s=1.5)
        assert words(rows) == ["success"] * 25


def test_a_unit_that_is_slow_by_politeness_keeps_what_came(pool):
    with Server(lambda path: Reply(body=jpeg())) as server:
        rows = fetch(pool, [server.url(f"/{number}") for number in range(8)], unit_timeout_s=0.5, rate_per_host=5.0)
        came = len(server.log)
    assert 2 <= came <= 4
    assert words(rows) == ["success"] * came + ["deadline"] * (8 - came)
    assert [row["status"] for row in rows[came:]] == ["postponed"] * (8 - came), "--retry_failed asks again for these"
    assert pool.deferred() == {} and pool.committed() == {UNIT}


def test_a_unit_of_which_nothing_came_in_time_is_deferred_until_it_comes(pool):
    with Server(lambda path: Reply(delay=60, body=jpeg())) as server:
        urls = [server.url(f"/{number}") for number in range(8)]
        assert fetch(pool, urls, unit_timeout_s=0.5, image_timeout_s=30) is None
        assert pool.deferred() == {UNIT: {"unit": UNIT, "rows": 8, "why": "8 of 8 rows were postponed at the unit's deadline"}}
        assert pool.committed() == set()
        server.replies = lambda path: Reply(body=jpeg())
        assert words(fetch(pool, urls)) == ["success"] * 8
        assert pool.deferred() == {} and pool.committed() == {UNIT}


@pytest.mark.parametrize(("rows", "committed"), [(19, True), (20, False)])
def test_a_unit_that_only_met_network_errors_is_deferred(pool, rows, committed):
    with Server({}) as server:
        port = server.port
    found = fetch(pool, [f"http://127.0.0.1:{port}/{row}" for row in range(rows)], retries=0)
    assert (found is not None) == committed
    assert (pool.deferred() == {}) == committed
    if not committed:
        assert pool.deferred()[UNIT]["why"] == "all rows failed: connect 20"


def test_the_same_answers_give_the_same_bytes(tmp_path):
    """Whatever the limits, threads, slowness and order; the tar's members are in the order of rows."""
    pictures = {f"/{number}": jpeg(number, side=8 + number % 40) for number in range(150)}

    def run(folder: str, slow: int, **changes) -> tuple[bytes, bytes]:
        with Server(lambda path: Reply(body=pictures.get(path, b"?"), delay=0.05 if int(path[1:]) % slow == 0 else 0)) as server:
            pool = Pool(tmp_path / folder)
            hosts = host_map(tmp_path, {f"h{number}.test": f"127.0.0.1:{server.port}" for number in range(4)})
            rows = fetch(pool, [f"http://h{number % 4}.test/{number}" for number in range(160)], host_map=hosts, **changes)
            assert [image_of(pool, row) for row in rows[:150]] == list(pictures.values())
            assert [row["offset"] for row in rows[:150]] == sorted(row["offset"] for row in rows[:150])
            commit = pool.raw_commit(UNIT)
            tar = pool.store.read(commit.tar)
            assert commit.tar_sha256 == hashlib.sha256(tar).hexdigest()
            return tar, pool.store.read(f"pool/raw/{UNIT}.parquet")

    assert run("a", 7) == run("b", 3, connections=1, threads=1) == run("c", 2, connections_per_host=2, threads=3)


def test_the_sink_writes_in_order_beyond_its_memory(tmp_path):
    """Rows from last to first, most of them through the temporary file, give the tar of rows from first to last."""
    images = [jpeg(row, side=8 + row) for row in range(40)]

    def tar(name: str, order, in_memory: int) -> bytes:
        sink = Sink(tmp_path / name, 40, in_memory=in_memory)
        complete = [sink.put(row, Outcome("success", format="jpeg"), images[row]) for row in order]
        assert complete == [False] * 39 + [True]
        path, sha256 = sink.close()
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        return path.read_bytes()

    assert tar("a", range(40), 10**6) == tar("b", reversed(range(40)), 2_000) == tar("c", [*range(1, 40), 0], 0)


def test_units_side_by_side_and_a_bug_in_one_of_them(pool):
    with Server(lambda path: Reply(body=jpeg(int(path[1:])), delay=0.01)) as server:
        units = {f"{'0' * 16}-{chunk:05d}": of_urls([server.url(f"/{chunk * 30 + row}") for row in range(30)]) for chunk in range(5)}
        rows, engine = Rows(units), Engine(settings(), BlockLists({}), threads=2)
        try:
            broken = Rows({UNIT: [{"file_name": "a.jpg", "caption": "x"}]})  # its read_image raises AssertionError
            failing = submit(engine, pool, broken)
            futures = {unit: submit(engine, pool, rows, unit) for unit in units}
            assert all(future.result(60) for future in futures.values())
            with pytest.raises(AssertionError):
                failing.result(60)
        finally:
            engine.close()
        for chunk, unit in enumerate(units):
            found = pool.read_raw(unit).to_pylist()
            assert [image_of(pool, row, unit) for row in found] == [jpeg(chunk * 30 + row) for row in range(30)]


def test_closing_ends_at_once_and_leaves_no_file(pool, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with Server(lambda path: Reply(body=jpeg(), delay=0 if path < "/5" else 60)) as server:
        engine = Engine(settings(), BlockLists({}), threads=1)
        future = submit(engine, pool, Rows({UNIT: of_urls([server.url(f"/{number}") for number in range(9)])}))
        while len(server.log) < 9:
            time.sleep(0.01)
        assert list((tmp_path / "tmp").iterdir())
        began = time.monotonic()
        engine.close()
        assert time.monotonic() - began < 2
        assert future.cancelled() and pool.committed() == set()
        assert not list((tmp_path / "tmp").glob("pigment*"))


def test_a_unit_without_rows(pool):
    source = Rows({UNIT: []}).read(UNIT)
    assert commit_unit(pool, UNIT, source, [], None, lambda: None, input_digest="x")
    assert fetch(Pool(pool.store.root + "2"), []) == []


def test_closing_while_commits_ask_for_the_network_ends_and_commits_nothing(pool):
    """A commit that waits for canaries, and one behind it, once waited for a loop that had ended."""
    with Server({"/a": Reply(body=jpeg()), "/robots.txt": Reply(hang=True, told=10)}) as server:  # what a canary is asked for
        urls = {
            f"{UNIT[:-1]}{n}": of_urls([server.url("/a")] if n == 0 else [f"http://127.0.0.1:1/{n}-{row}" for row in range(3)])
            for n in range(6)
        }
        rows = Rows(urls)
        engine = Engine(settings(retries=0), NO_LISTS, threads=1)
        assert submit(engine, pool, rows, next(iter(urls))).result(20)
        futures = [submit(engine, pool, rows, unit) for unit in list(urls)[1:]]
        time.sleep(0.5)
        began = time.monotonic()
        engine.close()
        assert time.monotonic() - began < 2
        assert all(future.cancelled() or future.exception() is not None for future in futures)
    assert pool.committed() == {next(iter(urls))}


def test_nothing_holds_a_unit_that_is_through(pool):
    """Its timers did, until the unit's deadline: 300 s of all that was fetched."""
    other = UNIT.replace("-00000", "-00001")
    with Server({"/a": Reply(body=jpeg())}) as server:
        engine = Engine(settings(unit_timeout_s=600.0), NO_LISTS, threads=1)
        try:
            jobs = []
            engine._add, add = lambda job: (jobs.append(weakref.ref(job)), add(job)), engine._add
            for unit in (UNIT, other):  # a thread holds what it did last
                assert submit(engine, pool, Rows({unit: of_urls([server.url("/a")])}), unit).result(10)
            for _ in range(50):
                gc.collect()
                if jobs[0]() is None:
                    break
                time.sleep(0.1)
            assert jobs[0]() is None
        finally:
            engine.close()
