"""Shards: bytes a second of WriteShards against webdataset's ShardWriter, and images a second against the bare converter.

    python -m tests.bench.shard [--megabytes 2000] [--folder DIR] [--json]

A temporary pool holds samples of about 40 KB (JPEGs with a photograph's spectrum) in units of 1,000, with captions, licences and scores,
all kept. Ours is WriteShards on the pinned runner in two processes, from decisions and pool to committed shards with index and SHA-256;
the start of Beam and its workers is shown apart. ShardWriter gets the same images, captions and JSON from
memory, in one process, as it is made; `two_writers` has two of them. `ratio` is our bytes a second over ShardWriter's, without conversion,
on the folder's disk; `with_conversion` our images a second, to 256 pixels, over that of the converter alone on two processes.
"""

import argparse
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import webdataset as wds

from pipelines.logs import logs_to
from pipelines.run import run_graph
from pipelines.steps.write_shards import WriteShards, shard_count
from pipelines.tar import TarWriter
from quality.images import Target, convert
from schemas.columns import RAW, table_of, uid_of
from schemas.pool import Pool
from schemas.release import DECISIONS, Release
from tests.bench.convert import photo_like
from tests.pools import PASS, SCORES, unit

PROCESSES: Final = 2
UNIT: Final = 1_000
DISTINCT: Final = 100  # images; the samples are these in turn
SIZE: Final = 40_000  # bytes of an image, about
SIDES: Final = (512, 384)
COPY: Final = Target("no", format="original")
SMALLER: Final = Target("keep_ratio", 256, quality=95)
SCORE_COLUMNS: Final = [(PASS.name, ["clip.similarity", "nsfw.open_nsfw"])]


def sample(number: int, images: list[bytes]) -> dict[str, Any]:
    """All about one pair."""
    url, caption = f"http://host{number % 97}.test/images/{number}.jpg", f"a picture of something, number {number} of many"
    image = images[number % DISTINCT]
    return {
        "uid": uid_of(url=url, sha256=None, caption=caption), "row": number % UNIT, "url": url, "caption": caption, "final_url": url,
        "key": f"{number:09d}", "status": "success", "width": SIDES[0], "height": SIDES[1], "original_width": SIDES[0],
        "original_height": SIDES[1], "format": "jpeg", "sha256": hashlib.sha256(image).hexdigest(), "size": len(image),
        "license_url": "https://creativecommons.org/licenses/by/4.0/", "creator": f"somebody {number % 500}", "source_line": number + 1,
        "clip.similarity": 0.25, "nsfw.open_nsfw": 0.0625, "verdict": "keep", "reasons": [],
    }  # fmt: skip


def make_pool(root: Path, images: list[bytes], count: int) -> Pool:
    pool = Pool(root)
    pool.put_pass(PASS)
    pool.adopt_settings("source", {"fetch": {"store": "original"}})
    for chunk in range(-(-count // UNIT)):
        rows = [sample(number, images) for number in range(chunk * UNIT, min(count, (chunk + 1) * UNIT))]
        path = root.parent / "unit.tar"
        with TarWriter(path) as tar:
            for number, row in enumerate(rows, chunk * UNIT):
                row["offset"] = tar.add(f"{row['key']}.jpg", images[number % DISTINCT])
        commit = pool.commit(unit(chunk), table_of(rows, RAW), tar=path, input_digest="input", tar_sha256=tar.close())
        pool.commit_scores(PASS.name, unit(chunk), table_of(rows, SCORES), input_digest=commit.content_digest)
        for release in ("shards", "converted"):
            Release(pool.store, release).put_decisions(unit(chunk), table_of(rows, DECISIONS))
        path.unlink()
    return pool


def write(pool: Pool, release: str, target: Target, units: list[str], shards: int) -> tuple[float, float]:
    """Seconds from the first unit's arrival at a worker to the last shard's commit, and seconds of the run before and after."""
    found = Release(pool.store, release)
    marks = Path(pool.store.root, f"marks-{release}")
    marks.mkdir()

    def build(pipeline: beam.Pipeline) -> object:
        step = WriteShards(pool, found, target, shards=shards, score_columns=SCORE_COLUMNS)
        return pipeline | beam.Create(units) | beam.Reshuffle() | beam.Map(mark, str(marks)) | step

    os.sync()
    start = time.perf_counter()
    run_graph(build, runner="DirectRunner", mode="multi_processing", workers=PROCESSES)
    whole = time.perf_counter() - start
    last = max(Path(pool.store.path_of(found.shard_path(shard.shard, "parquet"))).stat().st_mtime for shard in found.shards())
    work = last - min(path.stat().st_mtime for path in marks.iterdir())
    return work, whole - work


def mark(unit: str, folder: str) -> str:
    Path(folder, unit).touch()
    return unit


def on_processes(work: Callable[..., None], *arguments: Any, processes: int = PROCESSES) -> float:
    """Seconds of `work(share, ready, ...)` on all processes at once, from when all have called `ready` to the end of the last."""
    context = get_context("spawn")
    barrier = context.Barrier(processes + 1)
    started = [context.Process(target=work, args=(share, barrier, *arguments)) for share in range(processes)]
    for process in started:
        process.start()
    os.sync()
    barrier.wait()
    start = time.perf_counter()
    for process in started:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a process of the peer ended with {process.exitcode}")
    return time.perf_counter() - start


def shard_writer(share: int, barrier: Any, folder: str, images: list[bytes], count: int, processes: int, max_bytes: float) -> None:
    def told(number: int) -> dict[str, Any]:
        row = sample(number, images)
        known = {name: row.get(name) for name in [*RAW.names, *SCORE_COLUMNS[0][1]] if name not in ("key", "status", "offset", "size")}
        return {"__key__": row["uid"], "jpg": images[number % DISTINCT], "txt": row["caption"], "json": known}

    samples: Iterator[dict[str, Any]] = iter([told(number) for number in range(share, count, processes)])
    barrier.wait()
    with wds.ShardWriter(f"{folder}/{share}-%06d.tar", maxsize=max_bytes, maxcount=10_000, verbose=0) as writer:
        for one in samples:
            writer.write(one)


def converter(share: int, barrier: Any, images: list[bytes], count: int) -> None:
    barrier.wait()
    for number in range(share, count, PROCESSES):
        convert(images[number % DISTINCT], SMALLER)


def measure(folder: Path, megabytes: int) -> dict[str, float]:
    images = [photo_like(number, SIDES, SIZE) for number in range(DISTINCT)]
    mean = sum(map(len, images)) / DISTINCT
    count = max(UNIT, round(megabytes * 1e6 / mean))
    pool = make_pool(folder / "data", images, count)
    units = sorted(pool.committed())
    total = mean * count
    shards = -(-shard_count(count, int(total)) // PROCESSES) * PROCESSES
    seconds, startup = write(pool, "shards", COPY, units, shards)
    ours = total / seconds / 1e6
    assert sum(shard.count for shard in Release(pool.store, "shards").shards()) == count
    shutil.rmtree(folder / "data/releases/shards")

    rates = []
    for processes in (1, PROCESSES):
        peer = folder / f"peer{processes}"
        peer.mkdir()
        rates.append(total / on_processes(shard_writer, str(peer), images, count, processes, total / shards, processes=processes) / 1e6)
        shutil.rmtree(peer)

    some = units[: max(PROCESSES, 10)]
    converted = min(count, len(some) * UNIT)
    rate = converted / write(pool, "converted", SMALLER, some, PROCESSES)[0]
    bare = converted / on_processes(converter, images, converted)
    return {
        "ratio": ours / rates[0],
        "with_conversion": rate / bare,
        "over_two_writers": ours / rates[1],
        "megabytes_per_second": ours,
        "shard_writer": rates[0],
        "two_writers": rates[1],
        "converted_per_second": rate,
        "bare_converter": bare,
        "startup_s": startup,
        "samples": count,
        "mean_bytes": mean,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000, help="of images in the pool; two and a half times as much disk is used")
    parser.add_argument("--folder", type=Path, help="where on disk; default: the system's folder for temporary files")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pigment-bench-", dir=arguments.folder) as folder, logs_to(Path(folder, "log")):
        result = {name: round(value, 3) for name, value in measure(Path(folder), arguments.megabytes).items()}
    if arguments.json:
        print(json.dumps({"bench": "shard", **result}))
        return
    print(f"{result['samples']:.0f} samples of {result['mean_bytes'] / 1e3:.0f} KB; start of Beam and workers: {result['startup_s']:.1f} s")
    print(f"{'without conversion, MB/s':28}{'ours':>10}{'ShardWriter':>14}{'two of them':>14}{'ratio':>8}")
    rates = (result["megabytes_per_second"], result["shard_writer"], result["two_writers"])
    print(f"{'':28}{rates[0]:>10.0f}{rates[1]:>14.0f}{rates[2]:>14.0f}{result['ratio']:>8.2f}   at least 2.5")
    print(f"{'with conversion, images/s':28}{'ours':>10}{'converter':>14}{'':14}{'ratio':>8}")
    rates = (result["converted_per_second"], result["bare_converter"], 0.0)
    print(f"{'':28}{rates[0]:>10.0f}{rates[1]:>14.0f}{'':14}{result['with_conversion']:>8.2f}   at least 0.85")


if __name__ == "__main__":
    main()
