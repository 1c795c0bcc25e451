"""Asking at their urls for what tars of the user's do not hold: which rows, and that they are looked at like any other."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources.listing import list_source
from pipelines.sources.rows import RowReader, index_file
from schemas.follow_ups import FollowUp, put_follow_up
from schemas.pool import Pool
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
