"""Fetching against img2dataset, against the bare converter and against a bare download, from nginx on loopback, two processes each.

    python -m tests.bench.fetch [--images 12000] [--json]

Rates are images a second from the first request to the last commit; start-up is shown apart. `ratio` is `--store resized` over img2dataset
with the same resize mode, quality and encoder library; `resized_evidence` also reads, as the job does, what the bytes that came say of their
origin, which img2dataset does not. Needs nginx and the extras `dev` and `img2dataset`.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import cv2
import numpy as np
import psutil
import pyarrow as pa
import simplejpeg

from pipelines.fetch.failures import FailureLimit
from pipelines.fetch.settings import FetchSettings
from pipelines.steps.fetch_units import _Fetch
from quality.images.convert import Target, convert
from schemas.columns import SOURCE, table_of
from schemas.pool import Pool
from schemas.units import unit_name

PROCESSES: Final = 2
DISTINCT: Final = 200  # pictures; the urls repeat them
SIDES: Final = (960, 720)
BYTES: Final = 75_000  # of a picture, about
UNIT: Final = 1_000  # rows; also img2dataset's samples a shard
TARGET: Final = Target(resize="keep_ratio", size=256, quality=95)
CONNECTIONS: Final = 32  # of each process
IMG2DATASET_THREADS: Final = 32  # of each process; 16, 64 and 128 were no faster

Part = Callable[..., int]


def picture(number: int, sides: tuple[int, int] = SIDES, size: int = BYTES) -> bytes:
    """A JPEG of about `size` bytes with a photograph's spectrum (amplitude as 1/f), another for each number."""
    noise = np.random.default_rng(number)
    width, height = sides
    pixels = np.zeros((height, width, 3), np.float32)
    for octave in range(9):
        side = 3 << octave
        layer = noise.normal(size=(min(side, height), min(side, width), 3)).astype(np.float32)
        pixels += cv2.resize(layer, sides, interpolation=cv2.INTER_CUBIC) * 60 / 1.7**octave
    pixels = np.clip(pixels + 128, 0, 255).astype(np.uint8)
    low, high = 20, 98
    while high - low > 1:
        quality = (low + high) // 2
        data = simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="420")
        low, high = (quality, high) if len(data) < size else (low, quality)
    return simplejpeg.encode_jpeg(pixels, quality=low, colorspace="RGB", colorsubsampling="420")


@contextmanager
def nginx(folder: Path, images: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Serves images/<n>.jpg under any /<anything>/<n>.jpg; yields its process and the url's start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root; " if os.geteuid() == 0 else ""  # else nginx's workers may not read our folder
    config.write_text(
        f"{user}daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; events {{ worker_connections 4096; }}"
        f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ image/jpeg jpg; }} {temporary}"
        f" open_file_cache max=1000; server {{ listen 127.0.0.1:{port} backlog=1024;"
        f" location ~ ^/[^/]+/([0-9]+[.]jpg)$ {{ alias {images}/$1; }} }} }}"
    )
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        sys.exit("this bench serves its images from nginx, which is not here: apt-get install nginx-light")
    server = subprocess.Popen([program, "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield psutil.Process(server.pid), f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def cpu_seconds(server: psutil.Process) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in (server, *server.children()))


def urls_of(start: str, count: int, distinct: int = DISTINCT) -> list[str]:
    return [f"{start}/{number}/{number % distinct}.jpg" for number in range(count)]


class Rows:
    """Row reader over a list of urls, UNIT rows a unit."""

    def __init__(self, urls: list[str]):
        self.urls = urls

    def units(self) -> list[str]:
        return [unit_name("0" * 16, chunk) for chunk in range(-(-len(self.urls) // UNIT))]

    def read(self, unit: str) -> pa.Table:
        chunk = int(unit[-5:])
        urls = self.urls[chunk * UNIT : (chunk + 1) * UNIT]
        return table_of([{"url": url, "caption": f"picture {url}"} for url in urls], SOURCE)

    def read_image(self, file_name: str) -> bytes:
        raise FileNotFoundError(file_name)

    def in_place(self, unit: str) -> None:
        return None

    def input_digest(self, unit: str) -> str:
        return unit


# ---- the parts: each runs in PROCESSES processes; part(share) does its share of the images and returns how many it did


def ours(share: int, begin: Callable[[], None], urls: list[str], root: str, target: Target | None, evidence: bool = False) -> int:
    rows = Rows(urls)
    settings = FetchSettings(
        store="original" if target is None else "resized",
        target=target,
        evidence=evidence,
        allow_private_hosts=True,
        connections=CONNECTIONS,
        connections_per_host=CONNECTIONS,
    )
    step = _Fetch(Pool(root), rows, settings, max(1, len(os.sched_getaffinity(0)) // PROCESSES), None, FailureLimit(None))
    step.setup()
    begin()
    step.start_bundle()
    done = [unit for name in rows.units()[share::PROCESSES] for unit in step.process(name)]
    done += [value.value for value in step.finish_bundle()]
    step.teardown()
    commits = [Pool(root).raw_commit(unit) for unit in done]
    return sum(commit.statuses.get("success", 0) for commit in commits if commit is not None)


def bare_convert(share: int, begin: Callable[[], None], images: list[bytes], count: int) -> int:
    begin()
    for number in range(share, count, PROCESSES):
        convert(images[number % DISTINCT], TARGET)
    return len(range(share, count, PROCESSES))


def simplejpeg_limit(share: int, begin: Callable[[], None], images: list[bytes], count: int) -> int:
    """The least work that gives images of the target's size: DCT-scaled decoding, the cheapest resize, encoding; no check of anything."""
    cv2.setNumThreads(1)
    size = TARGET.size
    scaled = (size * SIDES[0] // SIDES[1], size)
    begin()
    for number in range(share, count, PROCESSES):
        pixels = simplejpeg.decode_jpeg(images[number % DISTINCT], colorspace="RGB", min_height=scaled[1], min_width=scaled[0])
        pixels = cv2.resize(pixels, scaled, interpolation=cv2.INTER_LINEAR)
        simplejpeg.encode_jpeg(pixels, quality=TARGET.quality, colorspace="RGB", colorsubsampling="420")
    return len(range(share, count, PROCESSES))


def bare_download(share: int, begin: Callable[[], None], urls: list[str]) -> int:
    async def main() -> int:
        mine = iter(urls[share::PROCESSES])
        done = 0

        async def take(session: aiohttp.ClientSession) -> None:
            nonlocal done
            for url in mine:
                async with session.get(url) as response:
                    await response.read()
                done += 1

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            begin()
            await asyncio.gather(*(take(session) for _ in range(CONNECTIONS)))
        return done

    return asyncio.run(main())


def _run_part(part: Part, share: int, barrier: Any, results: Any, arguments: tuple[Any, ...]) -> None:
    began = []

    def begin() -> None:
        barrier.wait()
        began.append(time.monotonic())

    try:
        count = part(share, begin, *arguments)
    except BaseException as error:
        barrier.abort()
        results.put(repr(error))
        raise
    results.put((began[0], time.monotonic(), count))


def rate(part: Part, *arguments: Any) -> dict[str, float]:
    """Runs a part in PROCESSES new processes. Returns rate (images/s), startup_s (until all were ready) and count."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    asked = time.monotonic()
    processes = [context.Process(target=_run_part, args=(part, share, barrier, results, arguments)) for share in range(PROCESSES)]
    for process in processes:
        process.start()
    found = [results.get(timeout=1200) for _ in processes]
    for process in processes:
        process.join()
    if failures := [result for result in found if isinstance(result, str)]:
        raise RuntimeError(f"{part.__name__} failed: {failures[0]}")
    first, last = min(began for began, _, _ in found), max(ended for _, ended, _ in found)
    count = sum(count for _, _, count in found)
    return {"rate": count / (last - first), "startup_s": first - asked, "count": count}


def img2dataset(urls: list[str], folder: Path, target: Target) -> dict[str, float]:
    """img2dataset's rate by the start and end that it writes down for its shards; it is not told target.format."""
    folder.mkdir()
    url_list = folder / "urls.txt"
    url_list.write_text("\n".join(urls))
    asked = time.time()
    command = [sys.executable, "-c", "import img2dataset, json, sys; img2dataset.download(**json.loads(sys.argv[1]))"]
    options = {
        "url_list": str(url_list),
        "output_folder": str(folder / "out"),
        "output_format": "webdataset",
        "processes_count": PROCESSES,
        "thread_count": IMG2DATASET_THREADS,
        "number_sample_per_shard": UNIT,
        "image_size": target.size,
        "resize_mode": target.resize,
        "resize_only_if_bigger": True,
        "encode_quality": target.quality,
    }
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
    done = subprocess.run([*command, json.dumps(options)], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"img2dataset failed: {done.stderr[-2000:]}")
    shards = [json.loads(path.read_text()) for path in (folder / "out").glob("*_stats.json")]
    first, last = min(shard["start_time"] for shard in shards), max(shard["end_time"] for shard in shards)
    count = sum(shard["successes"] for shard in shards)
    return {"rate": count / (last - first), "startup_s": first - asked, "count": count}


def measure(count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All parts one after the other; `say` gets a line for each."""
    with tempfile.TemporaryDirectory(prefix="pigment-bench-") as name:
        folder = Path(name)
        pictures = folder / "images"
        pictures.mkdir()
        for number in range(DISTINCT):
            (pictures / f"{number}.jpg").write_bytes(picture(number))
        images = [(pictures / f"{number}.jpg").read_bytes() for number in range(DISTINCT)]
        say(f"{count} requests for {DISTINCT} JPEGs of {SIDES[0]}x{SIDES[1]}, {sum(map(len, images)) // DISTINCT} bytes on average")
        with nginx(folder, pictures) as (server, start):
            urls = urls_of(start, count)
            parts: dict[str, Callable[[], dict[str, float]]] = {
                "resized": lambda: rate(ours, urls, str(folder / "resized"), TARGET),
                "resized_evidence": lambda: rate(ours, urls, str(folder / "evidence"), TARGET, True),
                "img2dataset": lambda: img2dataset(urls, folder / "theirs", TARGET),
                "bare_convert": lambda: rate(bare_convert, images, count),
                "simplejpeg": lambda: rate(simplejpeg_limit, images, count),
                "original": lambda: rate(ours, urls, str(folder / "original"), None),
                "img2dataset_no_resize": lambda: img2dataset(urls, folder / "theirs-no", replace(TARGET, resize="no")),
                "bare_download": lambda: rate(bare_download, urls),
            }
            rates, startups = {}, {}
            for part, run in parts.items():
                busy, began = cpu_seconds(server), time.monotonic()
                result = run()
                share = (cpu_seconds(server) - busy) / max(result["count"], 1) * result["rate"]
                if result["count"] != count:
                    raise RuntimeError(f"{part} fetched {result['count']} of {count}")
                rates[part], startups[part] = result["rate"], result["startup_s"]
                say(
                    f"{part:22} {result['rate']:8.0f} images/s   start-up {result['startup_s']:4.1f} s"
                    f"   all {time.monotonic() - began:5.1f} s   nginx {share:4.0%} of a core"
                )
                for used in ("resized", "evidence", "original", "theirs", "theirs-no"):
                    shutil.rmtree(folder / used, ignore_errors=True)
    return {
        "bench": "fetch",
        "images": count,
        "ratio": rates["resized"] / rates["img2dataset"],
        "resized_over_bare": rates["resized"] / rates["bare_convert"],
        "evidence_over_img2dataset": rates["resized_evidence"] / rates["img2dataset"],
        "bare_over_simplejpeg": rates["bare_convert"] / rates["simplejpeg"],
        "original_over_img2dataset_no_resize": rates["original"] / rates["img2dataset_no_resize"],
        "original_over_bare_download": rates["original"] / rates["bare_download"],
        "rates": rates,
        "startup_s": startups,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12_000, help="requests of each part (default 12000)")
    parser.add_argument("--json", action="store_true", help="one JSON line instead of the table")
    arguments = parser.parse_args()
    result = measure(arguments.images, (lambda line: None) if arguments.json else print)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, goal in (
        ("ratio", "at least 2"),
        ("evidence_over_img2dataset", "at least 2, with what img2dataset does not do"),
        ("resized_over_bare", "at least 0.8"),
        ("bare_over_simplejpeg", "at least 0.95"),
        ("original_over_img2dataset_no_resize", "at least 4, or"),
        ("original_over_bare_download", "at least 0.5"),
    ):
        print(f"{name:36} {result[name]:6.2f}   {goal}")


if __name__ == "__main__":
    main()
