"""A source's SHA-256 is held against the bytes that come: what differs is not stored, row by row."""

import hashlib
import tarfile

import pytest

from pipelines.fetch.store import Outcome, Readers, claims_of, stored_as_claimed
from quality.block_lists import BlockLists
from quality.images.convert import Target
from schemas.columns import SOURCE, table_of
from schemas.pool import Pool
from tests.block_lists import lists_of
from tests.pipelines.fetching import NO_LISTS, UNIT, Reply, Rows, Server, fetch, image_of, of_urls, settings
from tests.tars import shot


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


GOOD, BAD = shot(1), shot(2)  # what the source's maker saw, and what a buyer of the domain serves


def rows_of(server: Server, claims: list[str | None], path: str = "/a") -> Rows:
    return Rows(
        {UNIT: [{**row, "expected_sha256": claim} for row, claim in zip(of_urls([server.url(path)] * len(claims)), claims, strict=True)]}
    )


@pytest.fixture
def pool(tmp_path):
    return Pool(tmp_path / "data")


RESIZED = {"store": "resized", "target": Target(resize="keep_ratio_largest", size=8, format="jpeg", quality=90)}


@pytest.mark.parametrize("changes", [{}, RESIZED])
def test_rows_that_share_a_url_are_judged_by_their_own_claim(pool, changes):
    with Server({"/a": Reply(body=BAD)}) as server:
        found = fetch(pool, rows_of(server, [sha256(GOOD), sha256(BAD).upper(), None, f" {sha256(BAD)} ", ""]), **changes)
        assert found is not None and server.count("/a") == 1
        message = f"sha256: the source says {sha256(GOOD)[:12]}, {sha256(BAD)[:12]} came"
        assert [(row["status"], row["error_message"]) for row in found] == [("failed_to_download", message), *[("success", None)] * 4]
        assert found[0]["sha256"] is None and found[0]["offset"] is None and found[0]["final_url"] == server.url("/a")
        assert {row["sha256"] for row in found[1:]} == {sha256(BAD)}
        assert len({row["offset"] for row in found[1:]}) == 4 and (changes or image_of(pool, found[1]) == BAD)


def test_nothing_is_stored_where_no_claim_fits(pool):
    with Server({"/a": Reply(body=BAD)}) as server:
        found = fetch(pool, rows_of(server, [sha256(GOOD)] * 2))
    assert found is not None and [row["status"] for row in found] == ["failed_to_download"] * 2
    commit = pool.raw_commit(UNIT)
    assert commit is not None and commit.tar is None


def test_a_listed_image_is_blocked_whatever_was_claimed(pool, tmp_path):
    lists = lists_of(tmp_path / "lists", md5=[hashlib.md5(BAD).hexdigest()])
    with Server({"/a": Reply(body=BAD)}) as server:
        found = fetch(pool, rows_of(server, [sha256(GOOD), sha256(BAD), None]), lists=lists)
    assert found is not None and [row["status"] for row in found] == ["blocked"] * 3
    assert pool.incidents() == {UNIT: {"md5": 3}}
    found = judged(BAD, sha256(GOOD), lists)
    assert (found[0].status, found[1]) == ("blocked", None)


def judged(data: bytes, claim: str | None, lists: BlockLists = NO_LISTS) -> tuple[Outcome, bytes | None]:
    told = settings()
    (found,) = stored_as_claimed(data, [claim], told, lists, final_url="http://a.test/", readers=Readers(told), signals={"robots": True})
    return found


def test_what_no_claim_fits_is_not_even_looked_at():
    outcome, data = judged(b"no image", sha256(GOOD))
    assert (outcome.status, data) == ("failed_to_download", None)
    assert outcome.error_message == f"sha256: the source says {sha256(GOOD)[:12]}, {sha256(b'no image')[:12]} came"
    assert outcome.optout is not None, "what the site said of mining is told all the same"
    assert judged(b"no image", None)[0].error_message == "not_image"


def test_failures_of_the_request_stay_what_they_are(pool):
    with Server({}) as server:
        found = fetch(pool, rows_of(server, [sha256(GOOD), None]))
    assert found is not None and [row["error_message"] for row in found] == ["http_404"] * 2


def test_files_of_a_folder_are_held_against_their_claims_too(pool, tmp_path):
    (tmp_path / "a.jpg").write_bytes(BAD)
    given = [
        {"file_name": "a.jpg", "caption": "c", "source_line": row + 1, "expected_sha256": claim}
        for row, claim in enumerate([sha256(GOOD), sha256(BAD)])
    ]
    found = fetch(pool, Rows({UNIT: given}, folder=str(tmp_path)))
    assert found is not None and [row["status"] for row in found] == ["failed_to_download", "success"]
    commit = pool.raw_commit(UNIT)
    assert commit is not None and commit.tar is not None
    with tarfile.open(pool.store.path_of(commit.tar)) as tar:
        assert tar.getnames() == ["000001.jpg"]


def test_claims_are_compared_in_one_form():
    table = table_of([{"expected_sha256": text} for text in (None, "", "  ", " ABCdef ")], SOURCE)
    assert claims_of(table) == [None, None, None, "abcdef"]
