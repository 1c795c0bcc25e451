"""Asking at their urls for what tars of the user's do not hold: which rows, and that they are looked at like any other."""

from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.fetch.summary import summarise
from pipelines.flags import parser
from pipelines.options import UsageError
from pipelines.pool_job import PoolJob, open_pool_job
from pipelines.sources.listing import list_source
from pipelines.sources.rows import RowReader, index_file
from pipelines.steps.fetch_units import FetchUnits
from pipelines.steps.follow_ups import followed_up
from schemas.columns import RAW, table_of
from schemas.follow_ups import FollowUp, follow_up, put_follow_up
from schemas.pool import Pool
from tests.conftest import ingest
from tests.pipelines.fetching import NO_LISTS, Reply, Server, jpeg, settings
from tests.tars import sample, write_tar

TIMEOUT = {"status": "failed_to_download", "error_message": "<urlopen error timed out>"}


def output(folder: Path, rows: list[dict], name: str = "00000") -> Path:
    """An output of img2dataset's: a tar of `rows` that are a success, one at least, and the Parquet file of all."""
    full = [
        {
            "key": f"{number:04}",
            "sha256": None,
            "url": f"http://a.test/{number}",
            "caption": f"n {number}",
            "status": "success",
            "error_message": None,
            **row,
        }
        for number, row in enumerate(rows)
    ]
    members = [part for row in full if row["status"] == "success" for part in sample(row["key"], int(row["key"]), row["caption"])]
    pq.write_table(pa.Table.from_pylist(full), folder / f"{name}.parquet")
    return write_tar(folder / f"{name}.tar", members)


def unit_of(pool: Pool, tar: Path, columns: dict[str, str] | None = None) -> str:
    """The one unit of a tar."""
    (entry,) = list_source(str(tar), columns or {})
    (unit,) = index_file(pool, entry, unit_size=100).units
    return unit


def opened(folder: Path, *flags: object) -> PoolJob:
    """The job that would fetch into folder/d."""
    args, _ = parser().parse_with_beam(["--dataset", str(folder / "d"), "--stop_after", "fetch", *map(str, flags)])
    return open_pool_job(args)


def test_rows_that_are_asked_for_at_their_urls_are_checked_like_any_other(tmp_path):
    pool = Pool(tmp_path / "d")
    failed = [{}, {"caption": " "}, {"url": "ftp://a.test/2"}, {"sha256": "zz"}, {"url": " "}, {"url": None}]
    unit = unit_of(pool, output(tmp_path, [{}, *({**TIMEOUT, **row} for row in failed)]))
    asked = put_follow_up(pool, FollowUp(f"{unit}.r1", unit, 1, tuple(range(1, 7))))
    found = RowReader(pool).read(asked.unit).to_pylist()
    assert [(row["source_line"], row["status"], row["error_message"]) for row in found] == [
        (2, None, None),
        (3, "invalid", "no_caption"),
        (4, "invalid", "bad_url: no http or https url"),
        (5, "invalid", "sha256: the source's digest is no 64 hex digits"),
        (6, "invalid", "no_url"),
        (7, "failed_to_download", "timeout: <urlopen error timed out>"),
    ]
    assert {row["status"] for row in RowReader(pool).read(unit).to_pylist()[1:]} == {"failed_to_download"}, (
        "the tar's own rows are as they were"
    )


def test_a_sample_whose_image_the_tar_lacks_may_have_a_known_column_of_another_type(tmp_path):
    pool = Pool(tmp_path / "d")
    lacking = [
        member
        for number, more in enumerate([{}, {"title": 7}, {"url": 7}, {"url": "http://a.test/3", "mark": 7}], 1)
        for member in sample(f"{number:04}", number, f"n {number}", **{"url": f"http://a.test/{number}", **more})
        if not member[0].endswith(".jpg")
    ]
    unit = unit_of(pool, write_tar(tmp_path / "a.tar", [*sample("0000", 0), *lacking]))
    asked = put_follow_up(pool, FollowUp(f"{unit}.r1", unit, 1, (1, 2, 3, 4)))
    wrong = ("invalid", "wrong_type: a known column holds something else than text")
    assert [(row["status"], row["error_message"]) for row in RowReader(pool).read(asked.unit).to_pylist()] == [
        (None, None), wrong, wrong, (None, None),
    ]  # fmt: skip


def test_a_job_knows_whether_follow_ups_of_tars_ask_the_web(tmp_path):
    """And asks for who asks: without a contact no row would come, and none would be asked for again."""
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
    mine, other = output(tmp_path / "mine", [{}, TIMEOUT]), output(tmp_path / "other", [{}, {}, TIMEOUT])
    first = opened(tmp_path, "--source", mine)
    assert not first.asks_hosts and "asking as" not in first.headline()
    opened(tmp_path, "--source", other, "--add_source")
    unit = unit_of(first.pool, mine)
    with pytest.raises(UsageError, match=r"what the tars lack is asked for at its urls: say who asks, .* --contact"):
        opened(tmp_path, "--retry_failed")
    assert first.pool.settings("retries") is None, "nothing was begun"
    again = opened(tmp_path, "--retry_failed", "--contact", "me@example.org")
    assert again.asks_hosts and "asking as pigment/0.1 (text-image data sets; me@example.org); of one host" in again.headline()
    put_follow_up(first.pool, FollowUp(f"{unit}.r1", unit, 1, (1,)))
    for source in ((), ("--source", mine)):
        with pytest.raises(UsageError, match="--contact"):
            opened(tmp_path, *source)
        assert opened(tmp_path, *source, "--contact", "me@example.org").asks_hosts
    assert not opened(tmp_path, "--source", other).asks_hosts, "its follow-ups are those of the other tar"
    first.pool.commit(f"{unit}.r1", table_of([{"row": 0, "status": "success"}], RAW), tar=None, input_digest="input")
    assert not opened(tmp_path).asks_hosts, "all that was planned is committed"


def test_what_has_no_url_is_not_asked_for_again(tmp_path):
    """It could never come: every round would have planned it again, as another pair."""
    tar = output(tmp_path, [{}, TIMEOUT, {**TIMEOUT, "url": None}, {**TIMEOUT, "url": " "}, TIMEOUT])
    with beam.Pipeline(FnApiRunner()) as pipeline:
        pool = Pool(tmp_path / "d")
        unit = unit_of(pool, tar)
        _ = pipeline | beam.Create([unit]) | FetchUnits(pool, RowReader(pool), settings())
    assert pool.read_raw(unit)["status"].to_pylist() == ["success", *["failed_to_download"] * 4]
    assert followed_up(unit, pool, 1) == [unit, f"{unit}.r1"]
    assert follow_up(pool, f"{unit}.r1") == FollowUp(f"{unit}.r1", unit, 1, (1, 4), {"failed_to_download": 2})
    assert summarise(pool, NO_LISTS).passing == 2, "the summary promises no more"
    (tmp_path / "none").mkdir()
    none = unit_of(pool, output(tmp_path / "none", [{}, {**TIMEOUT, "url": None}]))
    with beam.Pipeline(FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([none]) | FetchUnits(pool, RowReader(pool), settings())
    assert followed_up(none, pool, 1) == [none]


def test_what_tars_lack_is_fetched_as_politely_as_a_url_list(tmp_path):
    with Server(lambda path: Reply(body=jpeg(7))) as server:
        output(tmp_path, [{}, {**TIMEOUT, "url": server.url("/1")}])
        flags = ("--dataset", tmp_path / "d", "--source", tmp_path / "00000.tar", "--stop_after", "fetch", "--running_mode", "in_memory")
        first = ingest(*flags)
        assert first.returncode == 0 and server.log == [] and server.host_files == [], first.stderr
        assert "asking as" not in first.stdout and "fetched 2 pairs" not in first.stdout
        again = ingest(*flags, "--retry_failed", "--allow_private_hosts")
        assert again.returncode == 0, again.stderr
        assert [path for _, path, _ in server.log] == ["/1"] and "/robots.txt" in {path for _, path, _ in server.host_files}
    for told in ("\nasking as ", "\nfetched 1 pair in ", "asked again for 1 pair that had failed, of 1 unit (round 1): 1 came"):
        assert told in again.stdout
    assert list((tmp_path / "d" / "pool" / "hosts").glob("*.parquet")) != []
