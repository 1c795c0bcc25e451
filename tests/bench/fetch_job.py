"""The main job's fetching, Beam included: `python -m pipelines.ingest --stop_after fetch`, against img2dataset, the bare loop, and a bad web.

    python -m tests.bench.fetch_job [--part small] [--part large] [--part faults] [--part dead] [--scale 0.1] [--json]

small: JPEGs of 75 KB, resized; large: of 3 megapixels; each beside img2dataset and beside a bare loop that does to the bytes what the job
does, on the same two processes. faults: the same with 1 % dead hosts, 5 % slow answers and 10 % 404s against without. dead: 100,000 urls of
which 70 % are dead (time-outs, refused, names that do not exist) against their living part alone.

Rates are images a second from the first request for an image to the last commit; start-up (from the command to that request: imports, robots.txt,
Beam) is shown apart. Images come from nginx on loopback. Needs nginx and the extras `dev` and `img2dataset`.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quality.evidence.carriers import can_carry_watermark
from quality.evidence.manifest import ManifestReader
from quality.evidence.original import OriginalReader
from quality.evidence.reading import mining_signals
from quality.images.convert import Target, convert
from schemas.pool import Pool
from tests.bench.fetch import IMG2DATASET_THREADS, PROCESSES, UNIT, img2dataset, nginx, picture, rate, urls_of
from tests.bench.slow_web import slow_web
from tests.web.names import NameServer

CONNECTIONS: Final = PROCESSES * IMG2DATASET_THREADS  # to the one host, of both together, as img2dataset's threads
SMALL: Final = ((960, 720), 75_000, 200)  # sides, bytes, different pictures
LARGE: Final = ((2048, 1536), 900_000, 40)
TINY: Final = ((320, 240), 10_000, 200)
SLOW_S: Final = 0.5  # before a slow answer
URLS_A_HOST: Final = 10  # of dead hosts

Say = Callable[[str], None]


@dataclass(frozen=True)
class Fetched:
    """What a run of the job gave. rate: images/s. startup_s, fetch_s: before and after the first request for an image. all_s: the command.
    peak_mb, growth: of the memory of all its processes, and the mean of the last quarter over that of the second."""

    count: int
    rate: float
    startup_s: float
    fetch_s: float
    all_s: float
    peak_mb: float
    growth: float
    statuses: dict[str, int]


def job(urls: list[str], folder: Path, *flags: str, unit: int = UNIT) -> Fetched:
    """Runs the main job on urls until they are fetched."""
    folder.mkdir()
    source = folder / "urls.parquet"
    pq.write_table(pa.table({"url": urls, "caption": [f"picture {number}" for number in range(len(urls))]}), source)
    command = [
        sys.executable, "-m", "pipelines.ingest", "--stop_after", "fetch", "--dataset", str(folder / "data"), "--source", str(source),
        "--unit_size", str(unit), "--workers", str(PROCESSES), "--connections_per_host", str(CONNECTIONS), "--allow_private_hosts", *flags,
    ]  # fmt: skip
    asked = time.time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    memory: list[float] = []
    watching = threading.Thread(target=_watch, args=(process.pid, memory), daemon=True)
    watching.start()
    output = process.communicate()[0]
    ended = time.time()
    watching.join()
    if process.returncode not in (0, 3):
        raise RuntimeError(f"the job failed: {output[-3000:]}")
    pool = Pool(folder / "data")
    began = [pc.min(table["began"]).as_py() for unit in pool.committed() if (table := pool.read_requests(unit, ["began"])) is not None]
    first = min(moment.timestamp() for moment in began if moment is not None)
    last = max((folder / "data" / path).stat().st_mtime for path, _ in pool.store.list("pool/raw") if path.endswith(".parquet"))
    statuses: dict[str, int] = {}
    for commit in map(pool.raw_commit, pool.committed()):
        assert commit is not None
        for status, count in commit.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    count = statuses.get("success", 0)
    quarter = max(1, len(memory) // 4)
    growth = (sum(memory[-quarter:]) / quarter) / (sum(memory[quarter : 2 * quarter]) / quarter) if len(memory) >= 4 else 1.0
    return Fetched(count, count / (last - first), first - asked, last - first, ended - asked, max(memory, default=0.0), growth, statuses)


def _watch(pid: int, memory: list[float]) -> None:
    """Appends the megabytes of a process and its children twice a second until it ends."""
    try:
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for each in [process, *process.children(recursive=True)]:
                try:
                    total += each.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            memory.append(total / 1e6)
            time.sleep(0.5)
    except psutil.NoSuchProcess:
        return


def bare(share: int, begin: Callable[[], None], images: list[bytes], count: int, target: Target, evidence: bool) -> int:
    """What the job does to bytes, without asking for them: what they say of mining and of their origin, and the conversion."""
    manifests, reader = ManifestReader(), OriginalReader()
    begin()
    for number in range(share, count, PROCESSES):
        data = images[number % len(images)]
        pixels: list = []
        mining_signals(data, manifests)
        convert(data, target, decoded=pixels.append, halved=evidence and can_carry_watermark(data))
        if evidence:
            reader.read(data, next(iter(pixels), None))
    return len(range(share, count, PROCESSES))


@contextmanager
def pictures(folder: Path, kind: tuple[tuple[int, int], int, int]) -> Iterator[tuple[list[bytes], str]]:
    """(the different pictures, the start of their urls), served by nginx."""
    sides, size, distinct = kind
    served = folder / f"images-{sides[0]}"
    served.mkdir()
    for number in range(distinct):
        (served / f"{number}.jpg").write_bytes(picture(number, sides, size))
    images = [(served / f"{number}.jpg").read_bytes() for number in range(distinct)]
    with nginx(folder, served) as (_, start):
        yield images, start


def against(folder: Path, kind: tuple, count: int, modes: dict[str, float], say: Say) -> dict[str, Any]:
    """Resizing: the job, img2dataset and the bare loop in one run. modes: the resize modes and the ratio to reach over img2dataset."""
    sides, _, distinct = kind
    found: dict[str, Any] = {}
    with pictures(folder, kind) as (images, start):
        say(f"{count:,} requests for {distinct} JPEGs of {sides[0]}x{sides[1]}, {sum(map(len, images)) // distinct:,} bytes on average")
        urls = urls_of(start, count, distinct)
        for mode, goal in modes.items():
            target = Target(resize=mode, size=256, quality=95)  # type: ignore[arg-type]  # a name of RESIZES
            resized = ("--store", "resized", "--store_resize", mode, "--store_size", "256")
            ours = job(urls, folder / f"ours-{mode}", *resized)
            theirs = img2dataset(urls, folder / f"theirs-{mode}", target)
            whole, only = (rate(bare, images, count, target, evidence)["rate"] for evidence in (True, False))
            if ours.count != count or theirs["count"] != count:
                raise RuntimeError(f"{ours.count} and {theirs['count']} of {count} came")
            say(
                f"{mode:20} job {ours.rate:6.0f}/s (start-up {ours.startup_s:4.1f} s)   img2dataset {theirs['rate']:6.0f}/s "
                f"(start-up {theirs['startup_s']:4.1f} s)   bare {whole:6.0f}/s, without evidence {only:6.0f}/s"
            )
            say(
                f"{'':20} over img2dataset {ours.rate / theirs['rate']:5.2f} (goal {goal})   over bare {ours.rate / whole:5.2f} "
                f"  peak {ours.peak_mb:,.0f} MB"
            )
            found[mode] = {
                "rate": ours.rate, "img2dataset": theirs["rate"], "bare": whole, "bare_without_evidence": only,
                "over_img2dataset": ours.rate / theirs["rate"], "over_bare": ours.rate / whole, "startup_s": ours.startup_s,
            }  # fmt: skip
    return found


@contextmanager
def full_port() -> Iterator[int]:
    """A port whose connections neither open nor fail: its queue is full, and nobody takes from it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
            waiting.append(client)
        yield listening.getsockname()[1]
        for client in waiting:
            client.close()


@contextmanager
def refusing_port() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def faults(folder: Path, count: int, say: Say) -> dict[str, Any]:
    """A bad web against a good one: 1 % dead, 5 % slow and 10 % 404 of the urls, and as many good ones as without."""
    resized = ("--store", "resized", "--store_resize", "keep_ratio", "--store_size", "256")
    with pictures(folder, SMALL) as (images, start), slow_web(images, SLOW_S) as slow, full_port() as full, refusing_port() as refusing:
        good = urls_of(start, count, len(images))
        bad = list(good)
        for number in range(count):
            if number % 20 == 7:
                bad[number] = f"{slow}/{number}/{number % len(images)}.jpg"
        extra = round(count / 0.89 * 0.10)
        dead = round(count / 0.89 * 0.01)
        bad += [f"{start}/{number}/missing.jpg" for number in range(extra)]
        bad += [f"http://127.0.0.1:{(full, refusing)[number % 2]}/{number}.jpg" for number in range(dead)]
        order = sorted(range(len(bad)), key=lambda number: number * 7_919 % 1_000_003)
        with_faults = job([bad[number] for number in order], folder / "bad", *resized)
        without = job(good, folder / "good", *resized)
    say(
        f"without faults {without.rate:6.0f} images/s; with {with_faults.rate:6.0f}, ratio "
        f"{with_faults.rate / without.rate:.2f} (goal .8); {with_faults.statuses}"
    )
    return {"with": with_faults.rate, "without": without.rate, "ratio": with_faults.rate / without.rate, "statuses": with_faults.statuses}


def dead(folder: Path, count: int, say: Say) -> dict[str, Any]:
    """70 % dead urls, of hosts that time out, refuse, or have no address, URLS_A_HOST each; the living 30 % of as many hosts by nginx."""
    with pictures(folder, TINY) as (images, start), full_port() as full, refusing_port() as refusing:
        port = start.rpartition(":")[2]
        ports = {"live": port, "late": full, "shut": refusing, "none": port}

        def found(name: str):
            return "unknown" if name.startswith("none") else ("127.0.0.1",)

        kinds = ["live"] * 9 + ["late"] * 7 + ["shut"] * 7 + ["none"] * 7
        urls = []
        for number in range(count):
            kind = kinds[number * 7 % 30]
            urls.append(
                f"http://{kind}-{number // (30 * URLS_A_HOST)}-{number % 30}.test:{ports[kind]}/{number}/{number % len(images)}.jpg"
            )
        live = [url for url in urls if url.startswith("http://live")]
        with NameServer(found) as names:
            flags = ("--resolver", names.address)
            alone = job(live, folder / "live", *flags)
            whole = job(urls, folder / "whole", *flags)
    deadline = 30.0
    allowed = 1.3 * alone.all_s + deadline
    say(
        f"{len(live):,} living urls alone {alone.all_s:.1f} s ({alone.rate:.0f} images/s); {count:,} with 70 % dead {whole.all_s:.1f} s, "
        f"{allowed:.1f} allowed; {whole.statuses}"
    )
    say(f"memory: peak {whole.peak_mb:,.0f} MB, of the living alone {alone.peak_mb:,.0f}; last quarter over second {whole.growth:.2f}")
    return {
        "alone_s": alone.all_s, "whole_s": whole.all_s, "allowed_s": allowed, "peak_mb": whole.peak_mb, "alone_peak_mb": alone.peak_mb,
        "growth": whole.growth, "statuses": whole.statuses,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("small", "large", "faults", "dead"), action="append", help="which to run (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of urls (default 1: 12,000, 4,000, 12,000 and 100,000)")
    parser.add_argument("--json", action="store_true", help="one JSON line instead of the text")
    args = parser.parse_args()
    parts: dict[str, Callable[[Path, Say], dict[str, Any]]] = {
        "small": lambda folder, say: against(folder, SMALL, round(12_000 * args.scale), {"keep_ratio": 2.0}, say),
        "large": lambda folder, say: against(
            folder, LARGE, round(4_000 * args.scale), {"center_crop": 2.0, "keep_ratio_largest": 1.5}, say
        ),
        "faults": lambda folder, say: faults(folder, round(12_000 * args.scale), say),
        "dead": lambda folder, say: dead(folder, round(100_000 * args.scale), say),
    }
    found = {}
    for part in args.part or parts:
        with tempfile.TemporaryDirectory(prefix="pigment-bench-") as name:
            found[part] = parts[part](Path(name), (lambda line: None) if args.json else print)
    if args.json:
        print(json.dumps({"bench": "fetch_job", **found}))


if __name__ == "__main__":
    main()
