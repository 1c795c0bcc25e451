"""The whole job with its dataset, and its source, in an object store on loopback: the bytes of a local run, through kills too."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import pipelines.caption
import pipelines.explain
import pipelines.export
import pipelines.export_ids
import pipelines.ingest
import pipelines.publish
import pipelines.releases
import pipelines.sweep
import pipelines.verify.__main__
import quality.evaluate
import quality.report.__main__
import quality.review.export
import quality.review.tasks
from pipelines.sources.formats import SourceError
from quality.review.files import read_tasks
from quality.review.server.database import open_database
from quality.review.server.images import rendered
from quality.review.server.load import load_tasks
from schemas.pool import Pool
from schemas.release import Release, latest
from schemas.store import StoreError
from tests.captioning import write_captions
from tests.conftest import ROOT, SOAK, digests, ingest
from tests.stores import KINDS, Asked, Remote, remote, uploaded
from tests.tars import write_tar

KILLS = 8  # of each kind of store
PAIRS = 40
POLICY = """
name = "plain"
similarity = "image.sharpness"
[[rule]]
column = "image.sharpness"
min = 6.0
reason = "image:blurred"
[[rule]]
column = "image.smallest_side"
min = 64
do = "review"
reason = "image:too_small"
"""


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory) -> Iterator[None]:
    """What is kept on this machine beside a dataset behind a URL goes to the folder that a job is started in."""
    with contextlib.chdir(tmp_path_factory.mktemp("started")):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Small pictures with their captions in sidecars, in two folders."""
    root, chance = tmp_path_factory.mktemp("pictures") / "source", np.random.default_rng(8)
    for number in range(PAIRS):
        side = 48 if number % 5 == 0 else 80
        path = root / ("a" if number % 3 else "b") / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(chance.integers(0, 255, (number % 7 + 3, 6, 3), np.uint8), (side, side)))
        path.with_suffix(".txt").write_text(f"pattern number {number}")
    return root


@pytest.fixture(scope="module")
def flags(folder, tmp_path_factory) -> Sequence[str]:
    policy = tmp_path_factory.mktemp("policy") / "plain.toml"
    policy.write_text(POLICY)
    return ["--scorers", "image", "--policy", str(policy), "--unit_size", "10", "--running_mode", "in_memory", "--shard_count", "12"]


@pytest.fixture(scope="module")
def local(folder, flags, tmp_path_factory) -> dict[str, bytes]:
    """What the job makes on this machine."""
    root = tmp_path_factory.mktemp("local") / "data"
    said(pipelines.ingest.main, "--dataset", root, "--source", folder, *flags)
    made = digests(root)
    assert sum(name.endswith(".tar") for name in made) > 1 and sum(name.startswith("decisions") for name in made) == 5
    return made


@pytest.fixture(scope="module", params=KINDS)
def store(request) -> Iterator[Remote]:
    with remote(request.param) as running:
        yield running


@dataclass(frozen=True)
class Finished:
    """A dataset in the store, made from a source in it; what the run that made it said, and asked."""

    url: str
    said: str
    asked: Sequence[Asked]


@pytest.fixture(scope="module")
def finished(store, folder, flags, local) -> Finished:
    url, source = f"{store.url}/sets/one", uploaded(folder, f"{store.url}/pictures/source")
    before = len(store.asked)
    text = said(pipelines.ingest.main, "--dataset", url, "--source", source, *flags)
    return Finished(url, text, store.asked[before:])


def said(main: Callable[[Sequence[str]], int], *args: object) -> str:
    """What a command of ours prints, in this process; it ends well."""
    with tempfile.TemporaryFile("w+") as out, contextlib.redirect_stdout(out):
        assert main([str(each) for each in args]) == 0
        out.seek(0)
        return out.read()


def test_dataset_and_source_in_a_store_give_the_bytes_of_a_local_run(finished, local, flags):
    url, text = finished.url, finished.said
    assert digests(url) == local
    assert f"shards     {url}/releases/" in text and f"pool       {url}/pool" in text
    log = re.search(r"log +(.+)", text)
    assert log is not None and Path(log[1]).is_file() and str(Path("pigment-local", *url.split("://"))) in log[1]
    assert "already published" in said(pipelines.ingest.main, "--dataset", url, *flags)


def test_requests_are_few(finished):
    """Of 40 pairs in 5 units, of which each takes some: what grows with pairs and units, not what a run takes anyway (infra/STORES.md)."""
    asked = finished.asked
    images = [request for request in asked if request.method == "GET" and "/pool/raw/" in request.path and ".tar" in request.path]
    commits = [request for request in asked if request.method == "GET" and "/pool/raw/" in request.path and ".parquet" in request.path]
    assert len(images) <= 5 * 3, images  # once to be scored, once for each shard that they go to
    assert len(commits) <= 5 * 2, commits
    assert len(asked) < 500


def test_every_command_reads_from_it(finished, tmp_path):
    url = finished.url
    store = Pool(url).store
    release = Release(store, str(latest(store)))
    uid = release.read_decisions(sorted(Pool(url).committed())[0], ["uid"])["uid"][0].as_py()
    assert "already published" in said(pipelines.publish.main, "--dataset", url, "--release", release.name)
    assert uid in said(pipelines.explain.main, "--dataset", url, "--uid", uid)
    assert "pairs that release" in said(pipelines.export_ids.main, "--dataset", url, "--out", str(tmp_path / "ids.txt"))
    assert len((tmp_path / "ids.txt").read_text().splitlines()) == release.manifest()["counts"]["keep"]  # type: ignore[index]
    report = said(quality.report.__main__.main, "--dataset", url)
    assert f"{url}/{release.path}/report/report.html" in report and b"<html" in store.read(f"{release.path}/report/report.html")[:500]
    assert f"{url}/reviews/tasks.parquet" in said(quality.review.tasks.main, "--dataset", url)
    database = f"sqlite:///{tmp_path / 'review.sqlite'}"
    opened = open_database(database)
    assert load_tasks(opened, Pool(url)).total > 0  # what `serve` begins with
    opened.close()
    task = read_tasks(store).to_pylist()[0]
    assert rendered(store, task["tar"], task["offset"], task["size"], blur_side=0, grey=False).startswith(b"\xff\xd8")
    assert "answers written" in said(quality.review.export.main, "--dataset", url, "--database", database)
    assert store.exists("reviews/decisions.parquet")
    labels = tmp_path / "labels.csv"
    labels.write_text("uid,answer\n" + "".join(f"{each},{word}\n" for each, word in zip(_uids(url), ["yes", "no"] * PAIRS, strict=False)))
    assert "image.sharpness" in said(quality.evaluate.main, "--dataset", url, "--labels", str(labels), "--column", "image.sharpness")
    store.put("pool/raw/0123456789abcdef-00000-abcdef01.tar", b"orphan")
    assert "1 file removed" in said(pipelines.sweep.main, "--dataset", url)


def test_a_dataset_in_a_store_grows_and_is_verified_and_exported(finished, folder, flags, tmp_path):
    """After all that reads the dataset as it was: ten more pairs, here and there."""
    more, here, there = tmp_path / "more", tmp_path / "data", finished.url
    more.mkdir()
    for number in range(10):
        noise = np.random.default_rng(number).integers(0, 255, (64 + 8 * number, 80, 3), np.uint8)
        cv2.imwrite(str(more / f"{number}.jpg"), noise)
        (more / f"{number}.txt").write_text(f"noise number {number}")
    said(pipelines.ingest.main, "--dataset", here, "--source", folder, *flags)
    before = latest(Pool(there).store)
    for root, source in ((here, more), (there, uploaded(more, f"{there}-more"))):
        said(pipelines.ingest.main, "--dataset", root, "--source", source, "--add_source", *flags)
    assert digests(there) == digests(here)
    after = Release(Pool(there).store, str(latest(Pool(there).store)))
    references = after.references()
    assert after.manifest()["parent"] == before and references and references == Release(Pool(here).store, after.name).references()  # type: ignore[index]
    assert "absent -> keep              10 pairs" in said(pipelines.releases.main, "--dataset", there, "--diff", before, after.name)
    assert "nothing is wrong" in said(pipelines.verify.__main__.main, "--dataset", there)
    (tmp_path / "told.toml").write_text('caption = "caption@told"\n' + POLICY)
    write_captions(tmp_path / "told" / "told.csv", {uid: f"told {uid[:4]}" for uid in _uids(there)[3:]})
    for root, folder_of_it in ((here, tmp_path / "told"), (there, uploaded(tmp_path / "told", f"{there}-told"))):
        columns = ("--columns", "uid=ID,caption=TEXT")
        said(pipelines.caption.main, "--dataset", root, "--name", "told", "--captions", f"{folder_of_it}/told.csv", *columns)
        said(pipelines.ingest.main, "--dataset", root, "--start_at", "select", *flags, "--policy", tmp_path / "told.toml")
    assert digests(there) == digests(here)
    after = Release(Pool(there).store, str(latest(Pool(there).store)))
    assert "nothing is wrong" in said(pipelines.verify.__main__.main, "--dataset", there)
    for root, name in ((here, "here"), (there, "there")):
        said(pipelines.export.main, "--dataset", root, "--format", "parquet", "--out", tmp_path / name)
    exported = {path.name: path.read_bytes() for path in (tmp_path / "here").rglob("*.parquet")}
    assert exported and exported == {path.name: path.read_bytes() for path in (tmp_path / "there").rglob("*.parquet")}
    Pool(there).store.put(f"{after.path}/{after.manifest()['shards'][-1]['path']}", b"cut")  # type: ignore[index]
    assert pipelines.verify.__main__.main(["--dataset", there, "--json"]) == 1


def _uids(url: str) -> list[str]:
    pool = Pool(url)
    return [uid for unit in sorted(pool.committed()) for uid in pool.read_raw(unit, ["uid"])["uid"].to_pylist()]


@pytest.mark.skipif(not SOAK, reason="not run: minutes of killing (make soak)")
def test_kills_change_no_byte(store, folder, flags, local):
    """SIGKILL to the process group at seeded moments of what a whole run takes; the same command goes on, and ends as one that was not killed."""
    moments, at = random.Random(f"8-{store.kind}"), Counter[str]()
    whole_s = time.monotonic()
    first = ingest("--dataset", f"{store.url}/sets/first", "--source", folder, *flags)
    whole_s = time.monotonic() - whole_s
    assert first.returncode == 0 and digests(f"{store.url}/sets/first") == local, first.stdout + first.stderr
    chains = 0
    while at.total() < KILLS:
        url, ended = f"{store.url}/sets/killed-{chains}", False
        command = [sys.executable, "-m", "pipelines.ingest", "--dataset", url, "--source", str(folder), *flags]
        while not ended and at.total() < KILLS:
            run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                assert run.wait(timeout=moments.uniform(0.3, 1.0) * whole_s) == 0
                ended = True
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
                at[_step_of(url)] += 1
        chains += 1
        last = ingest(*command[3:])
        assert last.returncode == 0, last.stdout + last.stderr
        pool = Pool(url)
        assert digests(url) == local, f"{at.total()} kills, chain {chains}"
        assert sum(commit.rows for unit in pool.committed() if (commit := pool.raw_commit(unit))) == PAIRS
        assert ingest("--dataset", url, module="pipelines.sweep").returncode == 0
        named = {commit.tar for unit in pool.committed() if (commit := pool.raw_commit(unit))}
        assert {path for path, _ in pool.store.list("pool/raw") if path.endswith(".tar")} == named
    print(f"{store.kind}: {at.total()} kills in {chains} chains, at {dict(at)}")


def _step_of(url: str) -> str:
    """The step that a run was at, by what it has left."""
    there = [path for path, _ in Pool(url).store.list()]
    marks = {"publish": "manifest", "shard": "/shards/", "select": "/decisions/", "score": "pool/scores/image", "fetch": "pool/files/"}
    return next((step for step, mark in marks.items() if any(mark in path for path in there)), "start")


def test_what_cannot_be_reached_is_told(store, folder, flags):
    with pytest.raises(StoreError, match="there is no such bucket"):
        pipelines.ingest.main(["--dataset", f"{store.kind}://nowhere/set", "--source", str(folder), *flags])
    with pytest.raises(SourceError, match="no such object or folder"):
        pipelines.ingest.main(["--dataset", f"{store.url}/set", "--source", f"{store.url}/nothing/here", *flags])


@pytest.mark.parametrize("kind", ["lines", "tars"])
def test_other_sources_in_a_store_give_the_same_pool(store, kind, tmp_path):
    """A pattern of row files, and tars whose images stay where they are: the units, and what is stored of them, are those of a local source."""
    here = tmp_path / "here"
    (here / "deep").mkdir(parents=True)
    if kind == "tars":
        for number in range(2):
            image = cv2.imencode(".jpg", np.full((70, 70, 3), 40 * number + 20, np.uint8))[1].tobytes()
            write_tar(here / "deep" / f"{number}.tar", [(f"{number}.jpg", image), (f"{number}.txt", b"a grey square")])
        pattern = "**/*.tar"
    else:
        for number in range(2):
            rows = [{"url": "no url", "caption": f"line {row}"} for row in range(30)]
            (here / "deep" / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        pattern = "deep/?.jsonl"
    far, found = uploaded(here, f"{store.url}/{tmp_path.name}/here"), list[dict[str, Any]]()
    for source, dataset in ((str(here), str(tmp_path / "data")), (far, f"{store.url}/{tmp_path.name}/data")):
        more = ("--stop_after", "fetch", "--unit_size", "20", "--contact", "a@b.org", "--running_mode", "in_memory")
        said(pipelines.ingest.main, "--dataset", dataset, "--source", f"{source}/{pattern}", *more)
        pool = Pool(dataset)
        commits = {unit: pool.raw_commit(unit) for unit in pool.committed()}
        found.append({unit: (commit.content_digest, commit.statuses) for unit, commit in commits.items() if commit is not None})
        if kind == "tars":
            unit = min(commits)
            row = pool.read_raw(unit, ["offset", "size"]).to_pylist()[0]
            assert pool.read_bytes(unit, [row["offset"]], [row["size"]])[0].startswith(b"\xff\xd8")
    assert found[0] == found[1] and len(found[0]) == (2 if kind == "tars" else 4)
