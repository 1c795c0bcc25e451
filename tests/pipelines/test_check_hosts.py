"""Hosts are asked before their images, once for all workers, and what they say is heeded or recorded."""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from pipelines.explain import find, lines_of
from pipelines.fetch.client import Client
from pipelines.fetch.origins import BUCKETS, HostRules, Reading, bucket_of, read_origin
from pipelines.steps.check_hosts import CheckHosts
from pipelines.steps.fetch_units import FetchUnits
from quality.block_lists import ENVIRONMENT, read_lists
from schemas.columns import HOSTS, table_of
from schemas.pool import Pool
from schemas.units import unit_name
from tests.block_lists import write_lists
from tests.pipelines.fetching import HOST_FILES, NO_LISTS, UNIT, Reply, Rows, Server, jpeg, of_urls, settings
from tests.trust.made import jpeg as marked
from tests.trust.made import mining, signed, xmp
from tests.trust.tools import sketch

ROBOTS, TDMREP = HOST_FILES
PIC = jpeg(3)
NO_GPTBOT = Reply(body=b"User-agent: GPTBot\nDisallow: /shut/\n")


@pytest.fixture
def pool(tmp_path):
    return Pool(tmp_path / "data")


def run(pool: Pool, urls: list[str], *, unit: str = unit_name("cd" * 8, 0), deferred: bool = False, lists=None, **changes) -> list[dict]:
    """The rows of a unit that is checked and fetched."""
    rows, told = Rows({unit: of_urls(urls)}), settings(**changes)
    with beam.Pipeline(FnApiRunner(), options=PipelineOptions(direct_running_mode="in_memory")) as pipeline:
        units = (
            pipeline
            | beam.Create([unit])
            | CheckHosts(pool, rows, told, lists=lists)
            | FetchUnits(pool, rows, told, workers=1, lists=lists)
        )
        assert_that(units, equal_to([] if deferred else [unit]))
    return [] if deferred else pool.read_raw(unit).to_pylist()


def said(pool: Pool) -> dict[str, list[Reading]]:
    found: dict[str, list[Reading]] = {}
    for bucket in range(BUCKETS):
        for row in pool.read_hosts(f"{bucket:02d}").to_pylist():
            found.setdefault(row["origin"], []).append(Reading(**row))
    return found


@contextlib.contextmanager
def servers(*replies: dict[str, Reply]) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Server(each)) for each in replies]


def outcomes(rows: list[dict]) -> list[tuple]:
    return [(row["status"], row["error_message"], row["optout"], row["optout_signals"]) for row in rows]


FORBIDDING = {
    ROBOTS: NO_GPTBOT,
    TDMREP: Reply(body=b'[{"location": "/reserved/", "tdm-reservation": 1}, {"location": "/free/", "tdm-reservation": 0}]'),
    "/shut/a": Reply(body=PIC),
    "/reserved/a": Reply(body=PIC),
    "/free/a": Reply(body=PIC),
    "/free/no": Reply(body=PIC, headers={"tdm-reservation": "1"}),
    "/noai": Reply(body=PIC, headers={"X-Robots-Tag": "noai, noimageai"}),
    "/moved": Reply(302, headers={"Location": "/shut/a"}),
    "/moved_noai": Reply(302, headers={"Location": "/free/a", "X-Robots-Tag": "noai"}),
    "/xmp": Reply(body=marked(sketch(), xmp=xmp(elements={"plus:DataMining": "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"}))),
    "/c2pa": Reply(body=signed(marked(sketch()), "image/jpeg", assertions=(mining("c2pa.training-mining", ai_training="constrained"),))),
    "/plain": Reply(body=PIC),
}
PATHS = [path for path in FORBIDDING if path not in HOST_FILES]
GPTBOT, FILE, FREE = "robots:GPTBot", "tdmrep-file:/reserved/=1", "tdmrep-file:/free/=0"
SIGNALS = {
    "/shut/a": ("disallowed", GPTBOT),
    "/reserved/a": ("disallowed", FILE),
    "/free/a": ("allowed", FREE),
    "/free/no": ("disallowed", f"tdmrep-header:1|{FREE}"),
    "/noai": ("disallowed", "x-robots-tag:noai|x-robots-tag:noimageai"),
    "/moved": ("disallowed", GPTBOT),
    "/moved_noai": ("disallowed", "x-robots-tag:noai"),
    "/xmp": ("disallowed", "plus:DMI-PROHIBITED"),
    "/c2pa": ("disallowed", "c2pa.training-mining:ai_training=constrained"),
    "/plain": (None, None),
}


def test_what_forbids_mining_is_not_asked_for_or_not_stored(pool):
    with Server(FORBIDDING) as server:
        rows = run(pool, [server.url(path) for path in PATHS])
        assert [path for _, path, _ in server.host_files] == [ROBOTS, TDMREP]
        asked = {path for _, path, _ in server.log}
    for path, row in zip(PATHS, rows, strict=True):
        state, signals = SIGNALS[path]
        assert (row["optout"], row["optout_signals"]) == (state, signals), path
        if state != "disallowed":
            assert (row["status"], row["error_message"]) == ("success", None), path
            continue
        forbids = "|".join(signal for signal in signals.split("|") if signal != FREE)
        assert (row["status"], row["error_message"]) == ("refused", f"optout: {forbids}"), path
        assert (row["sha256"], row["offset"], row["size"]) == (None, None, None), path
    assert asked == {*PATHS} - {"/shut/a", "/reserved/a"}, "what the host's files forbid is not asked for"
    assert set(said(pool)) == {server.url("")}


def test_record_fetches_and_notes_all_of_it(pool):
    with Server(FORBIDDING) as server:
        rows = run(pool, [server.url(path) for path in PATHS], optouts="record")
    assert {row["status"] for row in rows} == {"success"}
    notes = SIGNALS | {"/moved_noai": ("disallowed", f"x-robots-tag:noai|{FREE}")}  # here the picture's own place is looked at too
    assert {path: (row["optout"], row["optout_signals"]) for path, row in zip(PATHS, rows, strict=True)} == notes


def test_the_host_that_a_redirect_points_to_is_asked_too(pool):
    shut = {ROBOTS: Reply(body=b"User-agent: *\nDisallow: /\n"), "/a": Reply(body=PIC)}
    with servers(shut, {"/b": Reply(body=PIC)}) as (other, free):
        moving = {f"/{row}": Reply(302, headers={"Location": other.url("/a")}) for row in range(5)}
        moving["/free"] = Reply(302, headers={"Location": free.url("/b")})
        with Server(moving) as server:
            rows = run(pool, [*(server.url(f"/{row}") for row in range(5)), server.url("/free")])
        assert outcomes(rows[:5]) == [("refused", "optout: robots:*", "disallowed", "robots:*")] * 5
        assert rows[5]["status"] == "success" and rows[5]["final_url"] == free.url("/b")
        assert not other.log and len(other.host_files) == 2, "asked once, and for nothing else"
        assert set(said(pool)) == {each.url("") for each in (server, other, free)}, "what it said is kept"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(404), ("success", None)),
        (Reply(403), ("success", None)),  # RFC 9309, 2.3.1.3: unavailable, so anything may be asked for
        (Reply(410), ("success", None)),
        (Reply(500), ("refused", "robots_unreachable: http_500")),  # 2.3.1.4: unreachable, so nothing may
        (Reply(503), ("refused", "robots_unreachable: http_503")),
        (Reply(429), ("refused", "robots_unreachable: http_429")),
        (Reply(hang=True, told=10), ("failed_to_download", "timeout: robots.txt")),
        (Reply(body=b"Us", told=500, close=True), ("refused", "robots_unreachable: truncated")),
        (Reply(raw=b""), ("failed_to_download", "connect: robots.txt")),
        (Reply(302, headers={"Location": ROBOTS}), ("success", None)),  # 2.3.1.2: more than five redirects, taken as unavailable
        (Reply(302, headers={"Location": "http://10.0.0.1/robots.txt"}), ("success", None)),
        (Reply(302, headers={"Location": "file:///etc/passwd"}), ("success", None)),
        (Reply(301, headers={"Location": "/rules"}), ("refused", "optout: robots:*")),
        (Reply(body=b"\x89PNG" + bytes(5000)), ("success", None)),
        (Reply(body=b"#" * 600_000 + b"\nUser-agent: *\nDisallow: /\n"), ("success", None)),
    ],
)
def test_how_robots_is_answered(pool, reply, outcome):
    changes = {"allow_private_hosts": False} if "10.0.0.1" in str(reply.headers) else {}
    replies = {ROBOTS: reply, "/rules": Reply(body=b"User-agent: *\nDisallow: /\n"), "/a": Reply(body=PIC)}
    with Server(replies) as server:
        urls = [server.url("/a")]
        if changes:
            hosts = pool.store.path_of("hosts.json")
            Path(hosts).parent.mkdir(parents=True)
            Path(hosts).write_text(f'{{"a.test": "127.0.0.1:{server.port}"}}')
            urls, changes = ["http://a.test/a"], {**changes, "host_map": hosts}
        [row] = run(pool, urls, image_timeout_s=1.0, **changes)
    assert (row["status"], row["error_message"]) == outcome


def test_a_host_that_fails_once_is_asked_again(pool):
    with Server({ROBOTS: [Reply(503), Reply(body=b"User-agent: *\nDisallow: /\n")], "/a": Reply(body=PIC)}) as server:
        [row] = run(pool, [server.url("/a")])
    assert row["error_message"] == "optout: robots:*"


def test_a_day_counts_and_a_failure_is_asked_again_by_the_next_run(pool):
    origin = "http://a.test"
    hosts = HostRules(pool, "pigment")
    fresh = Reading(origin, datetime.now(UTC).replace(microsecond=0), "http_404", None, "http_404", None)
    hosts.add([replace(fresh, read_at=fresh.read_at - timedelta(hours=25))])
    assert HostRules(pool, "pigment").unread([origin]) == [origin]
    HostRules(pool, "pigment").add([fresh])
    assert hosts.unread([origin]) == [], "what another process has read is seen"
    assert hosts.unreachable([origin]) == []
    hosts.add([replace(fresh, robots_answer="http_503", tdmrep_answer=None)])
    assert hosts.unread([origin]) == [] and hosts.unreachable([origin]) == [origin]
    assert len(said(pool)[origin]) == 3, "readings are added, never replaced"


def test_of_two_readings_in_one_second_the_later_counts(pool):
    with Server({ROBOTS: [Reply(503, delay=0.01), Reply(404)]}) as server:

        async def read_twice() -> list[Reading]:
            told = settings(retries=0)
            client = Client(told)
            try:
                return [await read_origin(client, server.url(""), told, NO_LISTS) for _ in range(2)]
            finally:
                await client.close()

        first, second = asyncio.run(read_twice())
    assert first.read_at < second.read_at and (first.robots_answer, second.robots_answer) == ("http_503", "http_404")
    for reading in (second, first):  # the later one is put first
        HostRules(pool, "pigment").add([reading])
    assert HostRules(pool, "pigment").unreachable([first.origin]) == []
    assert sorted(said(pool)[first.origin], key=lambda reading: reading.read_at) == [first, second], "no digit of a time is lost"


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_readings_at_one_moment_the_same_counts_whichever_is_listed_first(pool, monkeypatch, order):
    origin = "http://a.test"
    silent = Reading(origin, datetime.now(UTC).replace(microsecond=0), "connect")
    for reading in (silent, replace(silent, robots_answer="ok", robots=b"User-agent: *\nDisallow: /a\n", tdmrep_answer="http_404")):
        HostRules(pool, "pigment").add([reading])
    listed = sorted(pool.read_hosts(bucket_of(origin)).to_pylist(), key=lambda row: row["robots_answer"])
    monkeypatch.setattr(Pool, "read_hosts", lambda pool, bucket: table_of(listed[::order], HOSTS))
    assert HostRules(pool, "pigment").unreachable([origin]) == []


def test_a_pool_that_is_fetched_asks_no_host_again(pool):
    with Server({"/a": Reply(body=PIC)}) as server:
        run(pool, [server.url("/a")])
        asked = len(server.host_files)
        run(pool, [server.url("/a")])
        assert len(server.host_files) == asked == 2


def test_a_listed_host_is_asked_for_nothing(pool, tmp_path, monkeypatch):
    with Server({"/a": Reply(body=PIC)}) as server:
        url = server.url("/a")
        digest = hashlib.sha256(url.encode()).hexdigest()
        monkeypatch.setenv(ENVIRONMENT, str(write_lists(tmp_path / "lists", {"url_sha256": [digest]})))
        [row] = run(pool, [url], lists=read_lists(None).digest)
        assert row["status"] == "blocked" and row["optout_signals"] is None
        assert not server.log and not server.host_files


def test_a_crawl_delay_is_kept(pool):
    with Server({ROBOTS: Reply(body=b"User-agent: *\nCrawl-delay: 0.2\n"), **{f"/{row}": Reply(body=PIC) for row in range(6)}}) as server:
        run(pool, [server.url(f"/{row}") for row in range(6)])
        times = [when for _, _, when in server.log]
    assert times[-1] - times[0] >= 5 * 0.2 * 0.95


def test_requests_are_measured(pool):
    with Server({"/a": [Reply(503), Reply(body=PIC)], "/b": Reply(302, headers={"Location": "/a"}), "/c": Reply(404)}) as server:
        before = datetime.now(UTC)
        rows = run(pool, [server.url("/a"), server.url("/b"), server.url("/c"), server.url("/a"), "no url"])
    table = pool.read_requests(next(iter(pool.committed())))
    assert table is not None
    took = table.to_pylist()
    assert [each["requests"] for each in took[:3]] == [2, 2, 1] and took[0]["bytes"] == len(PIC) == rows[0]["size"]
    assert [each["host"] for each in took] == ["127.0.0.1"] * 3 + [None, None], "a second row of a url took nothing"
    assert all(before - timedelta(seconds=1) <= each["began"] <= datetime.now(UTC) and 0 < each["seconds"] < 3 for each in took[:3])


def test_an_error_page_says_nothing_about_an_image(pool):
    headers = {"X-Robots-Tag": "noindex"}
    with Server({"/a": Reply(404, headers=headers), "/b": [Reply(503, headers=headers), Reply(body=PIC)]}) as server:
        gone, came = run(pool, [server.url("/a"), server.url("/b")])
    assert outcomes([gone, came]) == [("failed_to_download", "http_404", None, None), ("success", None, None, None)]


def test_explain_tells_who_forbids_and_when(pool):
    with Server(FORBIDDING) as server:
        run(pool, [server.url("/shut/a"), server.url("/noai"), server.url("/plain")])
        shut, noai, plain = ("\n".join(lines) for lines in stories(pool, server.url("/shut/a"), server.url("/noai"), server.url("/plain")))
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert f"mining     disallowed: {GPTBOT}  (robots.txt and TDMRep read {day}" in shut and "headers and file read" not in shut
    assert "mining     disallowed: x-robots-tag:noai|x-robots-tag:noimageai" in noai and f"headers and file read {day}" in noai
    assert "mining" not in plain


def stories(pool: Pool, *urls: str) -> Iterator[list[str]]:
    for url in urls:
        [found] = find(pool, None, uid=None, url=url)
        yield lines_of(pool, None, found, None)


def test_a_day_that_ends_while_others_are_asked_forbids_as_before(pool, monkeypatch):
    """The reading was good when the unit began; nothing is allowed because it has become a moment older."""
    monkeypatch.setattr("pipelines.fetch.origins.MAX_AGE", timedelta(seconds=2))
    slow = {ROBOTS: Reply(404, delay=1.5), "/a": Reply(body=PIC)}
    with servers({ROBOTS: Reply(body=b"User-agent: *\nDisallow: /\n"), "/a": Reply(body=PIC)}, slow) as (shut, other):
        HostRules(pool, "pigment").add(
            [Reading(shut.url(""), datetime.now(UTC) - timedelta(seconds=1), "ok", b"User-agent: *\nDisallow: /\n")]
        )
        rows = Rows({UNIT: of_urls([shut.url("/a"), other.url("/a")])})
        with beam.Pipeline(FnApiRunner(), options=PipelineOptions(direct_running_mode="in_memory")) as pipeline:
            _ = pipeline | beam.Create([UNIT]) | FetchUnits(pool, rows, settings(), workers=1)
        assert [row["status"] for row in pool.read_raw(UNIT).to_pylist()] == ["refused", "success"]
        assert not shut.log


def test_rules_are_of_the_newest_reading_whoever_read_it(pool):
    origin, old = "http://a.test", datetime.now(UTC).replace(microsecond=0)
    mine, others = HostRules(pool, "pigment"), HostRules(pool, "pigment")
    mine.add([Reading(origin, old - timedelta(hours=25), "http_404", None, "http_404")])
    assert mine.of(origin, max_age=None).signals(origin + "/a") == {}
    others.add([Reading(origin, old, "ok", b"User-agent: *\nDisallow: /\n", "http_404")])
    assert mine.unread([origin]) == []
    assert mine.of(origin).signals(origin + "/a") == {"robots:*": False}


def test_a_pool_of_large_files_is_read_a_bucket_at_a_time(pool, monkeypatch):
    monkeypatch.setattr("pipelines.fetch.origins._KEPT", 20_000)
    origins = [f"http://{number}.test" for number in range(300)]
    now = datetime.now(UTC).replace(microsecond=0)
    HostRules(pool, "pigment").add([Reading(origin, now, "ok", b"#" * 1000, "http_404") for origin in origins])
    loads = []
    read = Pool.read_hosts
    monkeypatch.setattr(Pool, "read_hosts", lambda self, bucket: loads.append(bucket) or read(self, bucket))
    hosts = HostRules(pool, "pigment")
    assert hosts.unread(origins) == [] and len(hosts.all_of(origins)) == 300
    assert len(loads) <= 2 * BUCKETS


def test_a_robots_txt_that_moves_to_a_listed_address_is_not_followed(pool, tmp_path, monkeypatch):
    with (
        servers({"/rules": Reply(body=b"")}) as (listed,),
        Server({ROBOTS: Reply(302, headers={"Location": listed.url("/rules")}), "/a": Reply(body=PIC)}) as server,
    ):
        digest = hashlib.sha256(listed.url("/rules").encode()).hexdigest()
        monkeypatch.setenv(ENVIRONMENT, str(write_lists(tmp_path / "lists", {"url_sha256": [digest]})))
        [row] = run(pool, [server.url("/a")], lists=read_lists(None).digest)
    assert row["status"] == "success" and not listed.log


def test_what_hosts_of_redirects_said_is_put_with_the_unit(pool):
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(Server({"/a": Reply(body=PIC)})) for _ in range(6)]
        moving = stack.enter_context(Server({f"/{n}": Reply(302, headers={"Location": other.url("/a")}) for n, other in enumerate(others)}))
        rows = run(pool, [moving.url(f"/{n}") for n in range(6)])
        assert {row["status"] for row in rows} == {"success"}
        assert set(said(pool)) == {each.url("") for each in (moving, *others)}


def test_a_host_that_many_files_are_kept_at_is_asked_politely(pool):
    with Server({"/rules": Reply(404, delay=0.05)}) as central, contextlib.ExitStack() as stack:
        replies = {ROBOTS: Reply(302, headers={"Location": central.url("/rules")}), "/a": Reply(body=PIC)}
        many = [stack.enter_context(Server(replies)) for _ in range(12)]
        run(pool, [each.url("/a") for each in many], connections_per_host=3)
        assert central.most <= 3 and len(central.log) == 12
