"""--store resized: what the bytes that came say of their origin is read before they are gone, and an image that breaks the reader costs a row."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.fetch import store
from pipelines.steps.loaded_scorers import LoadedScorers
from pipelines.steps.score_units import score_unit
from quality.evidence.manifest import read_anchors
from quality.evidence.original import OriginalReader
from quality.images.convert import Target
from quality.scorers.batch import PairBatch
from quality.scorers.evidence import Evidence, StoredEvidence
from schemas.columns import RAW_ALWAYS
from schemas.pool import Pool
from tests.block_lists import lists_of
from tests.pipelines.fetching import UNIT, Reply, Server, fetch, image_of
from tests.trust.labelled import labelled, trust_list

NAMES = (
    "automatic1111-png",
    "c2pa-trusted-trained-jpeg",
    "iptc-trained",
    "watermark-webp",
    "camera-shaped-gps",
    "drawing-512",
    "c2pa-broken",
)
RESIZED = {"store": "resized", "target": Target(size=64), "evidence": True}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {item.name: item.make() for item in labelled() if item.name in NAMES}


@pytest.fixture
def pool(tmp_path) -> Pool:
    return Pool(tmp_path / "data")


@pytest.fixture
def server(files):
    with Server({f"/{name}": Reply(body=data) for name, data in files.items()}) as server:
        yield server


def scores(pool: Pool, scorer) -> list[dict]:
    with ThreadPoolExecutor(1) as executor:
        return score_unit(pool, UNIT, LoadedScorers([scorer]), executor=executor).to_pylist()


def test_a_resized_pool_says_what_the_bytes_said(pool, server, files, tmp_path):
    trust = trust_list(tmp_path)
    urls = [server.url(f"/{name}") for name in (*files, "missing")]
    rows = fetch(pool, urls, threads=2, trust_anchors=read_anchors(trust), **RESIZED)
    assert [row["status"] for row in rows] == ["success"] * len(files) + ["failed_to_download"]
    assert all(image_of(pool, row) != data for row, data in zip(rows, files.values(), strict=False))
    fresh = Evidence(trust)
    fresh.load()
    said = fresh.score(PairBatch([None] * len(files), [*files.values()])).to_pylist()
    told = scores(pool, StoredEvidence("metadata"))
    assert told == [{f"evidence.{name}": value for name, value in row.items()} for row in said] + [dict.fromkeys(told[0])]
    assert {row["evidence.c2pa"] for row in told} == {"none", "trusted", "unreadable", None}
    assert {"stable-diffusion-xl"} < {row["evidence.watermark"] for row in told}
    lost = scores(pool, Evidence(trust))  # what the stored bytes say: next to nothing
    assert {row["evidence.c2pa"] for row in lost} == {"none", None} and {row["evidence.generator"] for row in lost} == {None}


def test_bytes_that_are_kept_are_not_read(pool, server):
    [row] = fetch(pool, [server.url("/iptc-trained")])
    assert row["status"] == "success" and row["evidence"] is None


def test_nothing_is_read_of_a_listed_image(pool, server, files, tmp_path):
    lists = lists_of(tmp_path / "lists", sha256=[hashlib.sha256(files["iptc-trained"]).hexdigest()])
    listed, other = fetch(pool, [server.url("/iptc-trained"), server.url("/drawing-512")], lists=lists, **RESIZED)
    assert listed["status"] == "blocked" and listed["evidence"] is None and other["evidence"] is not None


def test_an_image_that_breaks_the_reader_is_a_row_and_not_a_unit(pool, server, files, monkeypatch):
    class Fragile(OriginalReader):
        def read(self, data: bytes, pixels=None) -> str:
            if data == files["c2pa-broken"]:
                raise RuntimeError("a reader's bug, with bytes \ud800 of the file")
            return super().read(data, pixels)

    monkeypatch.setattr(store, "OriginalReader", Fragile)
    broken, fine = fetch(pool, [server.url("/c2pa-broken"), server.url("/drawing-512")], **RESIZED)
    assert (broken["status"], broken["error_message"]) == ("failed_to_resize", "evidence: RuntimeError")
    assert broken["offset"] is None and broken["evidence"] is None
    assert fine["status"] == "success" and fine["evidence"] is not None


def test_a_unit_that_is_older_than_the_column_has_no_evidence(pool, server, monkeypatch):
    fetch(pool, [server.url("/iptc-trained")], store="resized", target=Target(size=64))
    old = pool.read_raw(UNIT).drop_columns(["evidence", "optout", "optout_signals"])
    tar = pool.raw_commit(UNIT).tar
    monkeypatch.setattr("schemas.pool.RAW", RAW_ALWAYS)
    older = Pool(pool.store.path_of("older"))
    older.commit(UNIT, old, tar=Path(pool.store.path_of(tar)), input_digest="input")
    monkeypatch.undo()
    assert scores(older, StoredEvidence("unread")) == [dict.fromkeys(f"evidence.{name}" for name in StoredEvidence.fields.names)]
