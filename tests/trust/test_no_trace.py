"""The main job with hits on every kind of list, in several processes: no file that it leaves holds a trace of them."""

import csv
import hashlib
import json
import os
import re
import subprocess
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from quality.block_lists import ENVIRONMENT, LISTED
from quality.images.decode import decode
from quality.traces.views import picture_of
from schemas.columns import uid_of
from schemas.pool import Pool
from schemas.release import Release, latest
from tests.block_lists import write_lists
from tests.conftest import ingest
from tests.pipelines.fetching import Reply, Server
from tests.trust.traces import Needles, Trace, traces
from tests.web.plan import SAMPLE

KINDS = ("md5", "sha1", "sha256", "pdq", "url", "url_md5", "url_sha256", "domain", "page", "redirect_host", "redirect_url", "no_caption")
COUNTS = {"domain": 4, "url": 4, "md5": 1, "sha1": 1, "sha256": 1, "pdq": 1}  # of KINDS, by kind of list
NEVER_ASKED = ("url", "url_md5", "url_sha256", "domain", "page", "no_caption")
COMMON = {"license_url": "https://creativecommons.org/publicdomain/zero/1.0/"}
FLAGS = ("--unit_size", "13", "--engine", "onnxruntime-f32")


@dataclass
class Pair:
    """A row of the source, and the image that its url has. target: where a redirect leads. maker: what the image's metadata say made it."""

    kind: str | None
    url: str
    data: bytes
    row: dict[str, str]
    target: str | None = None
    maker: str | None = None

    def needles(self, name: str) -> Needles:
        found = Needles()
        for column, text in self.row.items():
            if text and column not in COMMON:
                found.text(f"{name}: {column}", text)
        found.digest(f"{name}: uid", bytes.fromhex(uid_of(url=self.url, sha256=None, caption=self.row["caption"] or None)))
        if self.target is not None:
            found.text(f"{name}: target", self.target)
        if self.maker is not None:
            found.text(f"{name}: maker", self.maker)
        found.image(name, self.data)
        return found


@dataclass
class World:
    """Pairs served on loopback, the source that lists them, and block lists that hit one of each kind."""

    root: Path
    pairs: list[Pair]
    server: Server
    lists: dict[str, list[str]] = field(default_factory=dict)

    @property
    def hits(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.kind is not None]

    def run(self, dataset: str, *flags: str | Path, lists: Path) -> subprocess.CompletedProcess:
        """Runs the main job with a temporary folder of its own; what it printed is left beside its log."""
        temporary = self.root / "tmp" / dataset
        temporary.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, ENVIRONMENT: str(lists), "TMPDIR": str(temporary)}
        done = ingest("--dataset", self.root / dataset, "--host_map", self.root / "hosts.json", *FLAGS, *flags, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr + (self.root / dataset / "logs" / "ingest.log").read_text("utf-8")[-3000:]
        (self.root / dataset / "printed.txt").write_text(done.stdout + done.stderr, "utf-8")
        return done

    def traces(self, dataset: str, pairs: Sequence[Pair]) -> list[Trace]:
        needles = Needles()
        for number, pair in enumerate(pairs):
            one = pair.needles(f"{number} {pair.kind}")
            needles.patterns.update(one.patterns)
            needles.pictures += one.pictures
        return traces([self.root / dataset, self.root / "tmp" / dataset], needles)


def images(count: int) -> list[bytes]:
    """Images of the sample whose pictures are far from one another."""
    chosen, hashes = list[bytes](), list[np.ndarray]()
    for path in sorted((SAMPLE / "images").rglob("*.*"), key=lambda path: hashlib.sha256(path.name.encode()).digest()):
        data = path.read_bytes()
        found = picture_of(data)
        if found is None or found[1] < 90:
            continue
        hash_ = np.frombuffer(found[0], np.uint8)
        if all(np.bitwise_count(hash_ ^ other).sum() > 70 for other in hashes):
            chosen.append(data)
            hashes.append(hash_)
        if len(chosen) == count:
            return chosen
    raise AssertionError("the sample has too few different images")


def recoded(data: bytes) -> bytes:
    """The same picture in other bytes: smaller, and as JPEG."""
    pixels = cv2.cvtColor(decode(data), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", cv2.resize(pixels, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA), [1, 80])[1].tobytes()


def made_by(data: bytes, maker: str) -> bytes:
    """A PNG with one more text: the program that made it (PNG, 11.3.4.3)."""
    chunk = b"tEXt" + b"Software\0" + maker.encode("latin-1")
    return data[:33] + (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[33:]  # after IHDR


def pair_of(number: int, kind: str | None, data: bytes) -> Pair:
    host = {"domain": "img.bad-host.test", "no_caption": "bad-host.test"}.get(kind or "", "good.test")
    url = f"http://{host}/pictures/{kind or 'fine'}-{number:02d}.img"
    row = {
        "url": url,
        "caption": "" if kind == "no_caption" else f"{kind or 'harmless'} caption number {number:02d} 그림",
        "creator": f"creator of {kind or 'fine'} {number:02d}",
        "title": f"title of {kind or 'fine'} {number:02d}",
        "source_id": f"id-{kind or 'fine'}-{number:02d}",
        "source_page": f"https://{'www.bad-host.test' if kind == 'page' else 'pages.test'}/{kind or 'fine'}/{number:02d}",
        "note": f"note on {kind or 'fine'} {number:02d}",
        **COMMON,
    }
    target = {"redirect_host": "http://cdn.bad-host.test/moved", "redirect_url": "http://good.test/moved/bad"}.get(kind or "")
    maker = f"Painter of {kind or 'fine'} {number:02d}" if data.startswith(b"\x89PNG") else None
    return Pair(kind, url, data if maker is None else made_by(data, maker), row, target, maker)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    kinds = [kind for kind in KINDS for kind in (kind, None)]  # a hit, a harmless pair, and so on
    pairs = [pair_of(number, kind, data) for number, (kind, data) in enumerate(zip(kinds, images(len(kinds)), strict=True))]
    by_path = {"/" + pair.url.split("/", 3)[3]: pair for pair in pairs}

    def reply(path: str) -> Reply:
        pair = by_path[path]
        return Reply(body=pair.data) if pair.target is None else Reply(302, headers={"Location": pair.target})

    of = {pair.kind: pair for pair in pairs}
    listed = {kind: [hashlib.new(kind, of[kind].data).hexdigest()] for kind in ("md5", "sha1", "sha256")}
    found = picture_of(recoded(of["pdq"].data))
    assert found is not None
    listed |= {
        "pdq": [found[0].hex()],
        "urls": [
            of["url"].url.upper().replace("HTTP://GOOD.TEST/PICTURES/URL", "https://GOOD.test/pictures/url").replace("IMG", "img"),
            "good.test/moved/bad",
        ],
        "url_md5": [hashlib.md5(of["url_md5"].url.encode()).hexdigest()],
        "url_sha256": [hashlib.sha256(of["url_sha256"].url.encode()).hexdigest()],
        "domains": ["bad-host.test"],
    }
    write_lists(root / "lists", listed)
    with (root / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, pairs[0].row)
        writer.writeheader()
        writer.writerows(pair.row for pair in pairs)
    with Server(reply) as server:
        hosts = ("good.test", "bad-host.test", "img.bad-host.test", "cdn.bad-host.test")
        (root / "hosts.json").write_text(json.dumps(dict.fromkeys(hosts, f"127.0.0.1:{server.port}")))
        yield World(root, pairs, server, listed)


@pytest.fixture(scope="module")
def printed(world: World) -> str:
    """What the main job said: fetched, scored, selected, sharded and published."""
    return world.run("data", "--source", world.root / "pairs.csv", lists=world.root / "lists").stdout


def raw_rows(world: World, dataset: str) -> list[dict]:
    pool = Pool(world.root / dataset)
    return [row for unit in sorted(pool.committed()) for row in pool.read_raw(unit).to_pylist()]


def is_blank(row: dict) -> bool:
    return {name for name, value in row.items() if value is not None} == {"row", "status", "error_message"} and row[
        "error_message"
    ] == LISTED


def test_every_kind_hits_and_nothing_else(world: World, printed: str):
    assert [is_blank(row) for row in raw_rows(world, "data")] == [pair.kind is not None for pair in world.pairs]
    assert all(row["status"] == "success" for row, pair in zip(raw_rows(world, "data"), world.pairs, strict=True) if pair.kind is None)
    incidents = Pool(world.root / "data").incidents()
    assert sum((Counter(blocked) for blocked in incidents.values()), Counter()) == COUNTS
    assert re.search(rf"list:blocked +{len(KINDS)} ", printed)
    assert f"{len(KINDS)} pairs stopped, {len(KINDS)} of them before anything" in printed


def test_listed_addresses_were_not_asked_for(world: World, printed: str):
    asked = {path for _, path, _ in world.server.log}
    assert not asked & {"/" + pair.url.split("/", 3)[3] for pair in world.pairs if pair.kind in NEVER_ASKED}
    assert not asked & {"/moved", "/moved/bad"} and {host for host, _, _ in world.server.log} == {"good.test"}


def test_no_file_holds_a_trace_of_a_hit(world: World, printed: str):
    assert world.traces("data", world.hits) == []


def test_a_resized_pool_keeps_what_files_say_and_no_trace_of_a_hit(world: World):
    world.run("resized", "--source", world.root / "pairs.csv", "--store", "resized", lists=world.root / "lists")
    assert world.traces("resized", world.hits) == []
    rows = raw_rows(world, "resized")
    assert [row["evidence"] is None for row in rows] == [is_blank(row) for row in rows] == [pair.kind is not None for pair in world.pairs]
    assert any(pair.kind is not None and pair.maker is not None for pair in world.pairs), "a hit has something to say"
    for pair, row in zip(world.pairs, rows, strict=True):
        if pair.kind is None and pair.maker is not None:
            assert json.loads(row["evidence"])["editor"] == pair.maker
    pair = next(pair for pair in world.pairs if pair.kind is None and pair.maker is not None)
    found = [trace for trace in world.traces("resized", [pair]) if trace.what.endswith(": maker")]
    for wanted in ("/pool/raw/", "/pool/scores/"):
        assert any(wanted in trace.where for trace in found), (wanted, found)
    pool = Pool(world.root / "resized")
    manifest = Release(pool.store, str(latest(pool.store))).manifest()
    assert manifest is not None and manifest["evidence"] == {"can_be_read_again": False, "read_when_fetched_as": "metadata"}


def test_the_same_search_finds_a_pair_that_was_kept(world: World, printed: str):
    release = Release(Pool(world.root / "data").store, str(latest(Pool(world.root / "data").store)))
    kept = {row["url"] for shard in release.shards() for row in release.read_index(shard.shard).to_pylist()}
    pair = next(pair for pair in world.pairs if pair.url in kept)
    found = world.traces("data", [pair])
    places = [trace.where.removeprefix(str(world.root / "data")) for trace in found]
    for wanted in ("/pool/raw/", "/decisions/", "/shards/"):
        assert any(wanted in place for place in places), (wanted, places)
    whats = {trace.what.removeprefix("0 None: ") for trace in found}
    assert {"caption", "url", "creator", "note", "uid, hex", "0 None, picture", "0 None, bytes", "0 None, sha256, hex"} <= whats


@pytest.mark.parametrize("store", ["original", "resized"])
def test_no_trace_of_resized_images_and_of_folders(world: World, store: str):
    """A folder's hits are by bytes and pictures; its files are the user's, and stay."""
    folder = world.root / f"folder-{store}"
    folder.mkdir()
    for number, pair in enumerate(world.pairs):
        suffix = "png" if pair.data.startswith(b"\x89PNG") else "webp"
        (folder / f"{number:02d}.{suffix}").write_bytes(pair.data)
        (folder / f"{number:02d}.json").write_text(json.dumps({**pair.row, "url": None, "caption": pair.row["caption"] or "x"}))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    dataset = f"folder-{store}-data"
    world.run(dataset, "--source", folder, "--store", store, "--stop_after", "fetch", lists=world.root / "lists")
    hits = [pair for pair in world.pairs if pair.kind in ("md5", "sha1", "sha256", "pdq", "page")]
    assert [is_blank(row) for row in raw_rows(world, dataset)] == [pair in hits for pair in world.pairs]
    assert world.traces(dataset, hits) == [] and len(world.traces(dataset, [world.pairs[1]])) > 3
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_lists_that_came_after_the_pool(world: World, printed: str):
    """A new release holds no trace; the pool does, and the summary says so."""
    pool = Pool(world.root / "data")
    before = str(latest(pool.store))
    late = [pair for pair in world.pairs if pair.kind is None][:3]
    picture = picture_of(recoded(late[2].data))
    assert picture is not None
    more = {**world.lists, "sha256": [hashlib.sha256(late[0].data).hexdigest()], "pdq": [picture[0].hex()], "urls": [late[1].url]}
    write_lists(world.root / "lists-later", more)
    done = world.run("data", "--start_at", "select", lists=world.root / "lists-later")
    after = str(latest(pool.store))
    assert after != before, "the lists are part of what a release is made from"
    assert "3 were fetched before they were listed" in done.stdout and "in the pool" in done.stdout
    assert "MD5 and SHA-1 lists were held against what was fetched since" in done.stdout
    found = world.traces("data", late)
    known = [trace for trace in found if any(f"{world.root}/data/{place}/" in trace.where for place in ("pool", f"releases/{before}"))]
    assert known and [trace for trace in found if trace not in known] == []
