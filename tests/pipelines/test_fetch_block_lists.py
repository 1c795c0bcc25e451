"""Block lists while fetching: nothing is asked that is listed, nothing is stored that is, whichever list it is on."""

import hashlib
import json
import tarfile

import apache_beam as beam
import cv2
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.fetch.commit import why_deferred
from pipelines.fetch.store import Outcome
from pipelines.options import EXIT_USAGE
from pipelines.run import command
from pipelines.sources.listing import list_source
from pipelines.sources.rows import RowReader, index_file
from pipelines.steps.fetch_units import FetchUnits
from quality.block_lists import ENVIRONMENT, LISTED
from quality.images.convert import Target
from quality.scorers.batch import PairBatch
from quality.scorers.image import pdq_of
from schemas.columns import RAW, SOURCE, table_of
from schemas.pool import Pool
from tests.block_lists import lists_of
from tests.pipelines.fetching import UNIT, Reply, Rows, Server, fetch, host_map, image_of, jpeg, settings
from tests.releases import jpeg as picture


@pytest.fixture
def pool(tmp_path):
    return Pool(tmp_path / "data")


def source(urls: list[str], **more: str) -> list[dict]:
    told = {"license": "CC0", "creator": "somebody", "title": "a title", "lang": "en", "source_id": "7", "license_url": "http://l.test/"}
    return [{"url": url, "caption": f"caption {row}", "source_line": row + 1, **told, **more} for row, url in enumerate(urls)]


def is_blank(row: dict) -> bool:
    left = {"status": "blocked", "error_message": LISTED, "row": row["row"]}
    return {name: value for name, value in row.items() if value is not None} == left


def pdq(data: bytes) -> str:
    [pixels] = PairBatch([None], [data]).pixels()
    return pdq_of(pixels)[0].hex()


def again(data: bytes) -> bytes:
    """The same picture in other bytes, darker."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", (pixels * 0.8).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()


def test_listed_addresses_are_never_asked_for(pool, tmp_path):
    hosts = {"good.test": "", "cdn.bad.test": "", "page.test": ""}
    with Server(lambda path: Reply(body=jpeg(3)) if path != "/moved" else Reply(302, headers={"Location": "/listed"})) as server:
        mapped = host_map(tmp_path, dict.fromkeys(hosts, f"127.0.0.1:{server.port}"))
        urls = [
            "http://good.test/a",
            "http://CDN.bad.test/b",
            "http://good.test/listed#x",
            "http://good.test/hashed",
            "http://good.test/moved",
        ]
        digest = hashlib.sha256(b"https://good.test/hashed").hexdigest()
        lists = lists_of(tmp_path / "lists", domains=["bad.test"], urls=["https://good.test/listed"], url_sha256=[digest])
        rows = fetch(pool, Rows({UNIT: source(urls)}, carried={"score": [1, 2, 3, 4, 5]}), lists=lists, host_map=mapped)
    assert [path for _, path, _ in server.log] == ["/a", "/moved"]
    assert rows[0]["status"] == "success" and rows[0]["score"] == 1
    assert [row["row"] for row in rows if is_blank(row)] == [1, 2, 3, 4]
    assert pool.incidents() == {UNIT: {"domain": 1, "url": 3}}


def test_a_digest_that_the_source_gives_is_believed_before_the_request(pool, tmp_path):
    with Server({"/a": Reply(body=jpeg(1)), "/b": Reply(body=jpeg(2))}) as server:
        rows = [source([server.url(path)], expected_sha256=told)[0] for path, told in (("/a", "AB" * 32), ("/b", "no digest"))]
        found = fetch(pool, Rows({UNIT: rows}), lists=lists_of(tmp_path / "lists", sha256=["ab" * 32]))
        assert [path for _, path, _ in server.log] == ["/b"]
    assert [is_blank(row) for row in found] == [True, False] and pool.incidents() == {UNIT: {"sha256": 1}}


@pytest.mark.parametrize("target", ["http://cdn.bad.test/x", "//BAD.test./x", "https://bad.test:8443/x"])
def test_a_redirect_to_a_listed_host_ends_there(pool, tmp_path, target):
    with Server({"/a": Reply(302, headers={"Location": target}), "/b": Reply(301, headers={"Location": "/a"})}) as server:
        mapped = host_map(tmp_path, dict.fromkeys(("good.test", "cdn.bad.test", "bad.test"), f"127.0.0.1:{server.port}"))
        lists = lists_of(tmp_path / "lists", domains=["bad.test"])
        rows = fetch(pool, Rows({UNIT: source(["http://good.test/b"])}), lists=lists, host_map=mapped)
    assert [host for host, _, _ in server.log] == ["good.test", "good.test"]
    assert is_blank(rows[0]) and pool.incidents() == {UNIT: {"domain": 1}}


def test_rows_that_are_no_pairs_are_blanked_too(pool, tmp_path):
    """Their text would be stored as well: a listed url without a caption, one that cannot be asked for, one whose page is listed."""
    rows = source(["http://bad.test/a", "http://user@bad.test/b", "ftp://bad.test/c", "http://user@good.test/d"])
    rows[0] |= {"status": "invalid", "error_message": "no_caption", "caption": None}
    rows.append(source(["http://[bad/e"], source_page="https://www.bad.test/page")[0])
    found = fetch(pool, Rows({UNIT: rows}), lists=lists_of(tmp_path / "lists", domains=["bad.test"]))
    assert [is_blank(row) for row in found] == [True, True, True, False, True]
    assert (found[3]["status"], found[3]["error_message"], found[3]["url"]) == ("invalid", "bad_url", "http://user@good.test/d")


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
@pytest.mark.parametrize("store", ["original", "resized"])
def test_listed_bytes_are_not_stored(pool, tmp_path, name, store):
    bodies = [picture(1), picture(2), b"no image at all", picture(3)]
    lists = lists_of(tmp_path / "lists", **{name: [hashlib.new(name, bodies[place]).hexdigest().upper() for place in (1, 2)]})
    target = {"store": store, "target": Target(size=32) if store == "resized" else None}
    with Server({f"/{place}": Reply(body=body) for place, body in enumerate(bodies)}) as server:
        urls = [server.url(f"/{place}") for place in (0, 1, 2, 3, 1)]
        rows = fetch(pool, Rows({UNIT: source(urls)}), lists=lists, **target)
    assert [is_blank(row) for row in rows] == [False, True, True, False, True]
    assert pool.incidents() == {UNIT: {name: 3}}
    if store == "original":
        assert [image_of(pool, rows[place]) for place in (0, 3)] == [bodies[0], bodies[3]]
    tar = pool.raw_commit(UNIT).tar
    with tarfile.open(pool.store.path_of(tar)) as opened:
        assert opened.getnames() == ["000000.jpg", "000003.jpg"]


@pytest.mark.parametrize("store", ["original", "resized"])
def test_a_picture_near_a_listed_one_is_not_stored(pool, tmp_path, store):
    bodies = [picture(1), again(picture(2)), picture(3), picture(2)[:-400]]
    lists = lists_of(tmp_path / "lists", pdq=[pdq(picture(2))])
    assert pdq(bodies[1]) != pdq(picture(2)) and hashlib.md5(bodies[1]).digest() != hashlib.md5(picture(2)).digest()
    target = {"store": store, "target": Target(size=32) if store == "resized" else None}
    with Server({f"/{place}": Reply(body=body) for place, body in enumerate(bodies)}) as server:
        rows = fetch(pool, Rows({UNIT: source([server.url(f"/{place}") for place in range(4)])}), lists=lists, **target)
    assert [is_blank(row) for row in rows] == [False, True, False, False]
    assert rows[3]["status"] == "failed_to_resize" and rows[3]["error_message"].startswith("undecodable"), (
        "it cannot be held against the list"
    )
    assert pool.incidents() == {UNIT: {"pdq": 1}}


def test_files_of_a_folder(pool, tmp_path):
    for place in range(4):
        (tmp_path / f"{place}.jpg").write_bytes(picture(place))
    lists = lists_of(tmp_path / "lists", sha256=[hashlib.sha256(picture(1)).hexdigest()], pdq=[pdq(again(picture(2)))])
    given = [{"file_name": f"{place}.jpg", "caption": "x", "source_line": place + 1} for place in range(4)]
    rows = fetch(pool, Rows({UNIT: given}, folder=str(tmp_path)), lists=lists)
    assert [is_blank(row) for row in rows] == [False, True, True, False]
    assert pool.incidents() == {UNIT: {"pdq": 1, "sha256": 1}}


def test_the_incident_holds_counts_alone(pool, tmp_path):
    fetch(pool, Rows({UNIT: source(["http://bad.test/a"])}), lists=lists_of(tmp_path / "lists", domains=["bad.test"]))
    assert json.loads(pool.store.read(f"pool/incidents/{UNIT}.json")) == {"unit": UNIT, "blocked": {"domain": 1}}
    assert pool.raw_commit(UNIT).statuses == {"blocked": 1} and pool.raw_commit(UNIT).tar is None
    assert pool.raw_schema(UNIT).names == RAW.names


def test_listed_rows_say_nothing_about_the_network():
    outcomes = [Outcome("blocked", LISTED, blocked_by="domain")] * 5 + [Outcome("failed_to_download", "connect")] * 20
    rows = table_of([{"url": "x"}] * 25, SOURCE)
    assert why_deferred(rows, outcomes, lambda: None) == "all rows failed: connect 20"
    assert why_deferred(rows.slice(0, 5), outcomes[:5], lambda: None) is None


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_workers_read_the_lists_themselves_or_stop(pool, tmp_path, monkeypatch, capsys, mode):
    lists = lists_of(tmp_path / "lists", md5=[hashlib.md5(picture(1)).hexdigest()])
    options = PipelineOptions(direct_num_workers=2, direct_running_mode=mode)
    (tmp_path / "images").mkdir()
    for place in range(2):
        (tmp_path / "images" / f"{place}.jpg").write_bytes(picture(place))
        (tmp_path / "images" / f"{place}.txt").write_text("x")
    [entry] = list_source(str(tmp_path / "images"), {})
    [unit] = index_file(pool, entry, unit_size=10).units

    def run() -> int:
        with beam.Pipeline(FnApiRunner(), options=options) as pipeline:
            _ = pipeline | beam.Create([unit]) | FetchUnits(pool, RowReader(pool), settings(), workers=2, lists=lists.digest)
        return 0

    def refusal() -> str:
        assert command(run) == EXIT_USAGE
        [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pigment: ")]
        return line

    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert refusal().startswith("pigment: error: the block lists of this worker are not those that the job was started with; ")
    (tmp_path / "lists" / "md5.txt").rename(tmp_path / "lists" / "md6.txt")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "lists"))
    assert "lists/md6.txt is no list that pigment knows" in refusal()
    assert [path.split("/")[1] for path, _ in pool.store.list("pool")] == ["files"]
    (tmp_path / "lists" / "md6.txt").rename(tmp_path / "lists" / "md5.txt")
    assert command(run) == 0
    assert [row["status"] for row in pool.read_raw(unit).to_pylist()] == ["success", "blocked"]
