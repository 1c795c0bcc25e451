"""The fetch summary: every figure of a small pool, what is not named, older pools, and what a run says at its end."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.fetch.summary import SLICES, Host, Latency, Reason, Retried, Spell, Straggler, spells_of, summarise
from pipelines.fetch_summary import bars, short_text, text_of
from pipelines.sources.listing import list_source
from pipelines.sources.rows import RowReader, index_file
from pipelines.steps.fetch_units import FetchUnits
from quality.block_lists import read_lists
from schemas.columns import RAW, RAW_ALWAYS, REQUESTS, table_of
from schemas.follow_ups import FollowUp, put_follow_up
from schemas.pool import Pool
from schemas.units import SourceFile
from tests.block_lists import write_lists
from tests.conftest import ingest
from tests.pipelines.fetching import NO_LISTS, Reply, Server, jpeg, settings
from tests.pools import FILE, unit
from tests.tars import sample, shot, write_tar

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def commit(pool: Pool, name: str, rows: list[dict], requests: list[dict] | None) -> None:
    full = [{"row": row, "status": "success", "size": 1000, **given} for row, given in enumerate(rows)]
    pool.commit(name, table_of(full, RAW), tar=None, input_digest="input")
    if requests is not None:
        pool.put_requests(name, table_of([{"row": row, **given} for row, given in enumerate(requests)], REQUESTS))


def asked(host: str, after_s: float, seconds: float, requests: int = 1, size: int = 1000) -> dict:
    return {"host": host, "began": NOON + timedelta(seconds=after_s), "seconds": seconds, "requests": requests, "bytes": size}


@pytest.fixture
def pool(tmp_path) -> Pool:
    """Two units of four rows, the second an hour later; a third that is deferred and a fourth that nobody has fetched; one row came later."""
    pool = Pool(tmp_path / "data")
    starts = tuple(range(0, 16, 4))
    pool.put_file(SourceFile(FILE, str(tmp_path), "pairs.csv", "rows", 1, "digest", 16, 4, starts, starts))
    pool.adopt_settings("source", {})
    failed = {"status": "failed_to_download", "size": None}
    commit(
        pool, unit(0),
        [
            {"url": "http://a.test/0", "optout": "allowed", "optout_signals": "tdm-policy"},
            {"url": "http://a.test/1", **failed, "error_message": "http_503"},
            {"url": "http://B.test:8080/2", **failed, "error_message": "http_404"},
            {"url": "http://a.test/3", "status": "refused", "size": None, "error_message": "robots", "optout": "disallowed",
             "optout_signals": "robots|tdm-policy"},
        ],
        [asked("a.test", 0, 0.5), asked("a.test", 0, 3.25, 3, 30), asked("b.test", 9, 0.25, 2, 20), {"requests": 0, "bytes": 0}],
    )  # fmt: skip
    commit(
        pool, unit(1),
        [
            {"url": "http://b.test/0", **failed, "error_message": "timeout"},
            {"url": "http://c.test/1", "size": 500},
            {"url": "http://c.test/1", "size": 500},  # the same answer
            {"status": "blocked", "size": None, "error_message": "list"},
        ],
        [asked("b.test", 3600, 30.0, 3, 0), asked("c.test", 3601, 0.125), {}, {}],
    )  # fmt: skip
    pool.defer(unit(2), 4, "all rows failed: connect 4")
    put_follow_up(pool, FollowUp(f"{unit(0)}.r1", unit(0), 1, (1,), {"failed_to_download": 1}))
    commit(pool, f"{unit(0)}.r1", [{"url": "http://a.test/1"}], [asked("a.test", 3630, 1.0, 1, 1000)])
    return pool


def test_every_figure(pool):
    summary = summarise(pool, NO_LISTS)
    assert (summary.units, summary.measured, summary.rows) == (3, 3, 8)
    assert summary.statuses == {"blocked": 1, "failed_to_download": 2, "refused": 1, "success": 4}
    assert (summary.stored, summary.requests, summary.received) == (3000, 11, 4050 - 1000)
    assert summary.reasons == [
        Reason("blocked", "list", 1, False),
        Reason("failed_to_download", "http_404", 1, False),
        Reason("failed_to_download", "timeout", 1, True),
        Reason("refused", "robots", 1, False),
    ]
    assert summary.passing == 1, "what came later cannot pass any more"
    assert summary.hosts == [Host("b.test", 2, 2, "http_404")] and summary.failing_hosts == 1
    assert summary.stragglers[:3] == [
        Straggler("http://b.test/0", unit(1), 0, "failed_to_download", 30.0, 3),
        Straggler("http://a.test/1", unit(0), 1, "failed_to_download", 3.25, 3),
        Straggler("http://a.test/1", f"{unit(0)}.r1", 0, "success", 1.0, 1),
    ]
    assert summary.latency == Latency(pytest.approx(0.5, rel=0.01), 30.0, 30.0, 30.0)
    assert summary.optouts == {"robots": {"disallowed": 1}, "tdm-policy": {"allowed": 1, "disallowed": 1}}
    assert summary.deferred == {
        unit(2): {"rows": 4, "why": "all rows failed: connect 4"},
        unit(3): {"rows": 4, "why": "not fetched yet"},
    }
    assert summary.retried == Retried(1, 1, 1, 0)
    assert [(spell.began, spell.seconds, spell.pairs, spell.bytes) for spell in summary.spells] == [
        (NOON, 10, 3, 1050),
        (NOON + timedelta(seconds=3601), 31, 3, 2000),
    ]
    assert [part for part in summary.spells[0].slices if any(part)] == [(1, 0, 1000), (1, 1, 30), (1, 1, 20)]
    assert [len(spell.slices) for spell in summary.spells] == [SLICES, SLICES]


def test_json_is_the_same_figures(pool):
    summary = summarise(pool, NO_LISTS)
    told = json.loads(json.dumps(summary.as_dict()))
    assert told["spells"][0]["began"] == "2026-11-28T12:00:00+00:00" and told["passing"] == 1
    assert told["retried"] == {"follow_ups": 1, "pairs": 1, "came": 1, "planned": 0}
    assert told["hosts"] == [{"host": "b.test", "asked": 2, "failed": 2, "commonest": "http_404"}]
    assert set(told) == {*summary.__dataclass_fields__, "passing"}


def test_what_is_on_a_list_by_now_is_not_named(pool, tmp_path):
    lists = read_lists(
        None, {"PIGMENT_BLOCK_LISTS": str(write_lists(tmp_path / "lists", {"domains": ["b.test"], "urls": ["http://a.test/1"]}))}
    )
    summary = summarise(pool, lists)
    assert summary.hosts == [] and summary.failing_hosts == 1
    assert [each.url for each in summary.stragglers] == ["http://a.test/0", "http://c.test/1"]
    told = "\n".join(text_of(summary, "cats")) + json.dumps(summary.as_dict())
    assert "b.test" not in told and "a.test/1" not in told


def test_some_units_alone(pool):
    summary = summarise(pool, NO_LISTS, units=[f"{unit(0)}.r1"])
    assert (summary.units, summary.rows, summary.statuses, summary.requests) == (1, 1, {"success": 1}, 1)
    assert summary.deferred == {} and summary.retried == Retried(1, 1, 1, 0)
    assert summarise(pool, NO_LISTS, units=[unit(0)]).passing == 1, "its follow-up is not looked at"


def test_an_older_pool_has_counts_and_no_times(tmp_path):
    pool = Pool(tmp_path / "data")
    rows = [{"row": 0, "url": "http://a.test/0", "status": "failed_to_download", "error_message": "dns"}, {"row": 1, "status": "success"}]
    table = table_of(rows, RAW_ALWAYS)
    pool.put_parquet(f"pool/raw/{unit(0)}.parquet", table, {"unit": unit(0), "input_digest": "i", "content_digest": "c", "rows": 2})
    summary = summarise(pool, NO_LISTS)
    assert (summary.rows, summary.measured, summary.requests, summary.received, summary.latency, summary.spells) == (
        2,
        0,
        None,
        None,
        None,
        [],
    )
    assert summary.optouts is None and summary.hosts == [Host("a.test", 1, 1, "dns")] and summary.stragglers == []
    assert "           1 unit without a table of requests: not in what follows of time" in text_of(summary, "cats")


def test_images_that_stay_in_a_tar_are_not_stored_and_their_unit_lacks_no_requests(tmp_path, monkeypatch):
    tar = write_tar(tmp_path / "a.tar", [member for number in range(4) for member in sample(f"{number}", number)])
    pool = Pool(tmp_path / "data")
    (entry,) = list_source(str(tar), {})
    first, second = index_file(pool, entry, unit_size=2).units
    lists = write_lists(tmp_path / "lists", {"sha256": [hashlib.sha256(shot(3)).hexdigest()]})
    monkeypatch.setenv("PIGMENT_BLOCK_LISTS", str(lists))
    with beam.Pipeline(FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([first, second]) | FetchUnits(pool, RowReader(pool), settings(), lists=read_lists(None).digest)
    put_follow_up(pool, FollowUp(f"{first}.r1", first, 1, (0,)))
    commit(pool, f"{first}.r1", [{"url": "http://a.test/0", "size": 7}], [asked("a.test", 0, 0.5)])
    summary = summarise(pool, NO_LISTS)
    assert (summary.units, summary.in_place, summary.measured, summary.rows) == (3, 2, 1, 4)
    assert summary.stored == 7 + len(shot(2)), "the pool has a tar of its own for the unit with a listed image"
    lines = text_of(summary, "cats")
    assert "           2 units of your own tars: nothing was asked for" in lines
    assert not any("without a table of requests" in line for line in lines)


def test_nothing_was_fetched_yet(tmp_path):
    summary = summarise(Pool(tmp_path / "data"), NO_LISTS)
    assert (summary.rows, summary.statuses, summary.spells, summary.optouts) == (0, {}, [], None)
    assert text_of(summary, "cats")[0] == "Fetch of cats: 0 pairs in 0 units"


def test_the_text(pool):
    lines = text_of(summarise(pool, NO_LISTS), "cats")
    for line in (
        "Fetch of cats: 8 pairs in 3 units",
        "  success                       4   50.0%",
        "bytes      3.0 KB stored, 3.0 KB received in 11 requests",
        "latency    p50 0.504 s, p95 30 s, p99 30 s, longest 30 s",
        "  2026-11-28 12:00:00  █      █             █    3 pairs in 10 s (0.3/s, 105 B/s)",
        "  failed_to_download: timeout                           1  can pass",
        "  b.test                                                2 of 2, 100%, mostly http_404",
        "     30.00 s  3 requests  failed_to_download  http://b.test/0",
        "  tdm-policy                                  1 allowed, 1 disallowed",
        "deferred   2 units (8 pairs): run the same command again",
        "asked again for 1 pair in 1 follow-up: 1 came",
        "1 failure can pass: --retry_failed asks again",
    ):
        assert line in lines, "\n".join(lines)
    assert short_text(summarise(pool, NO_LISTS), "cats")[0].endswith(
        ": success 4, failed_to_download 2 (http_404 1, timeout 1), blocked 1 (list 1), refused 1 (robots 1)"
    )


def test_text_of_others_cannot_move_the_cursor(tmp_path):
    pool = Pool(tmp_path / "data")
    commit(pool, unit(0), [{"url": "http://a.test/\x1b[2J" + "x" * 999}], [asked("a.test", 0, 1.0)])
    [line] = [line for line in text_of(summarise(pool, NO_LISTS), "cats") if "a.test" in line]
    assert "http://a.test/\\x1b[2Jxxx" in line and len(line) < 400 and line.endswith("…")


def test_a_spell_ends_after_ten_minutes_of_nothing():
    one = [1, 0, 5]
    found = spells_of({second: _figures(one) for second in (0, 599, 1198, 1798)})
    assert [(spell.seconds, spell.pairs, spell.bytes) for spell in found] == [(1199, 3, 15), (1, 1, 5)]
    assert found[0].slices[0] == (1, 0, 5) and found[0].slices[-1] == (1, 0, 5)
    assert spells_of({}) == [] and isinstance(found[1], Spell)


def _figures(values: list[int]) -> np.ndarray:
    return np.array(values)


def test_bars():
    assert bars([0, 1, 4, 8]) == " ▁▄█" and bars([1000, 1, 999]) == "█▁█" and bars([0, 0]) == "  " and bars([]) == ""


def test_a_run_tells_what_it_fetched_and_the_command_tells_all(tmp_path):
    def reply(path: str) -> Reply:
        return {"/1": Reply(404), "/2": Reply(503)}.get(path, Reply(body=jpeg(4 * int(path[1:]) if path[1:].isdigit() else 0)))

    with Server(reply) as server:
        rows = "".join(f"{server.url(f'/{row}')},picture {row}\n" for row in range(8))
        (tmp_path / "pairs.csv").write_text("url,caption\n" + rows)
        flags = ("--dataset", tmp_path / "data", "--source", tmp_path / "pairs.csv", "--running_mode", "in_memory", "--retries", "1")
        run = ingest(*flags, "--allow_private_hosts", "--stop_after", "fetch")
        assert run.returncode == 0, run.stderr
        again = ingest(*flags, "--allow_private_hosts", "--stop_after", "fetch")
    assert "fetched 8 pairs in " in run.stdout and ": success 6, failed_to_download 2 (http_404 1, http_503 1)\n" in run.stdout
    assert "  1 failure can pass: --retry_failed asks again\n" in run.stdout and "a pair took p50" in run.stdout
    assert "fetched" not in again.stdout, "it fetched nothing"
    told = ingest("--dataset", tmp_path / "data", "--json", module="pipelines.fetch_summary")
    summary = json.loads(told.stdout)
    assert (summary["rows"], summary["measured"], summary["requests"]) == (8, 1, 9) and summary["received"] >= 6 * len(jpeg())
    assert sum(pairs for spell in summary["spells"] for pairs, _, _ in spell["slices"]) == 8
    assert summary["hosts"] == [{"host": "127.0.0.1", "asked": 8, "failed": 2, "commonest": "http_404"}]
    assert {each["requests"] for each in summary["stragglers"]} == {1, 2}
    text = ingest("--dataset", tmp_path / "data", module="pipelines.fetch_summary")
    assert text.returncode == 0 and f"Fetch of {tmp_path / 'data'}: 8 pairs in 1 unit\n" in text.stdout
    missing = ingest("--dataset", tmp_path / "none", module="pipelines.fetch_summary")
    assert missing.returncode == 2 and "no dataset here" in missing.stderr
