"""`--plan`: what would be asked of hosts, fetched and read, for each kind of source."""

from pathlib import Path

import pytest

from pipelines.flags import parser
from pipelines.plan import plan_lines
from pipelines.pool_job import open_pool_job
from schemas.columns import RAW, table_of
from schemas.follow_ups import FollowUp, put_follow_up
from schemas.pool import Pool
from tests.pipelines.test_follow_ups_of_tars import TIMEOUT, output, unit_of
from tests.scoring import SAMPLE


def planned(folder: Path, *flags: object) -> dict[str, str]:
    """The plan's lines by their first word."""
    args, _ = parser().parse_with_beam(["--dataset", str(folder / "d"), *map(str, flags)])
    return {word: text.strip() for word, _, text in (line.partition(" ") for line in plan_lines(args))}


def add(folder: Path, source: Path) -> None:
    flags = [
        "--dataset",
        str(folder / "d"),
        "--source",
        str(source),
        "--add_source",
        "--contact",
        "me@example.org",
        "--stop_after",
        "fetch",
    ]
    open_pool_job(parser().parse_with_beam([*flags, "--unit_size", "100"])[0])


def commit(pool: Pool, name: str, rows: list[dict]) -> None:
    full = [{"row": row, "url": f"http://a.test/{row}", "status": "success", "size": 10_000_000, **given} for row, given in enumerate(rows)]
    pool.commit(name, table_of(full, RAW), tar=None, input_digest="input")


@pytest.fixture
def tar(tmp_path) -> Path:
    """Five pairs, of which the tar holds two; one has no url, and one is gone."""
    return output(tmp_path, [{}, {}, TIMEOUT, {**TIMEOUT, "url": None}, {**TIMEOUT, "error_message": "HTTP Error 404: Not Found"}])


@pytest.fixture
def listed(tmp_path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("url,caption\n" + "".join(f"http://b.test/{row},n {row}\n" for row in range(7)))
    return path


@pytest.mark.parametrize("turned", [False, True])
def test_requests_are_the_rows_of_url_lists(tmp_path, tar, listed, turned):
    first, second = (listed, tar) if turned else (tar, listed)
    assert planned(tmp_path, "--source", tar)["requests"] == "none: the images are here"
    assert planned(tmp_path, "--source", tar)["bytes"].startswith("none: images stay in their tars; about 0.00 GB to read (75 KB")
    assert planned(tmp_path, "--source", listed)["requests"] == "about 7, retries and redirects apart"
    add(tmp_path, first)
    add(tmp_path, second)
    told = planned(tmp_path)
    assert (told["source"], told["requests"]) == ("2 files, 12 rows", "about 7, retries and redirects apart")
    assert told["bytes"].startswith("about 0.00 GB to fetch and keep; about 0.00 GB to read in tars, where images stay (75 KB")
    assert planned(tmp_path, "--source", SAMPLE, "--add_source")["requests"] == "none: the images are here"


def test_follow_ups_are_requests_too(tmp_path, tar, listed):
    add(tmp_path, tar)
    add(tmp_path, listed)
    pool = Pool(tmp_path / "d")
    mine, lists = unit_of(pool, tar), unit_of(pool, listed)
    failed, gone = ({"status": "failed_to_download", "size": None, "error_message": word} for word in ("timeout", "http_404"))
    commit(pool, mine, [{}, {}, failed, {**failed, "url": None}, gone])
    assert planned(tmp_path, "--source", tar)["requests"] == "none: the images are here"
    told = planned(tmp_path, "--source", tar, "--retry_failed")
    assert (told["retry"], told["requests"]) == (
        "1 pairs failed in a way that can pass, and are asked for again",
        "about 1, retries and redirects apart",
    )
    assert told["bytes"] == "about 0.01 GB to fetch and keep (10000 KB an image, as measured in this pool)"
    assert planned(tmp_path, "--retry_failed")["requests"] == "about 8, retries and redirects apart"
    commit(pool, lists, [failed, *[{}] * 6])
    assert planned(tmp_path, "--source", tar, "--retry_failed")["requests"] == "about 1, retries and redirects apart", (
        "of this source alone"
    )
    assert planned(tmp_path, "--retry_failed")["requests"] == "about 2, retries and redirects apart"
    put_follow_up(pool, FollowUp(f"{mine}.r1", mine, 1, (2,)))
    told = planned(tmp_path)
    assert told["retry"] == "1 pairs are asked for again: a round of --retry_failed was begun, and is gone on with"
    assert told["requests"] == "about 1, retries and redirects apart" and pool.settings("retries") is None
    commit(pool, f"{mine}.r1", [failed])
    assert "retry" not in planned(tmp_path) and planned(tmp_path)["requests"] == "about 0, retries and redirects apart"
