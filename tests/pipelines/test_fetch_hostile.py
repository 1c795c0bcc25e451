"""Servers that mean harm get their words, take no other url's place, and cost bounded time and memory (tests/web/hostile.py)."""

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pipelines.fetch.loop import Engine
from quality.images.convert import Target
from schemas.pool import Pool
from tests.pipelines.fetching import NO_LISTS, UNIT, Rows, fetch, host_map, of_urls, settings, submit
from tests.web.hostile import MAX_BYTES, MAX_PIXELS, REDIRECTS, TABLE, hosts_of
from tests.web.hostile_server import HostileServer

LIMITS: dict[str, Any] = {
    "allow_private_hosts": False,
    "store": "resized",
    "target": Target(size=16),
    "evidence": True,
    "max_bytes": MAX_BYTES,
    "max_pixels": MAX_PIXELS,
    "max_redirects": REDIRECTS,
    "retries": 1,
    "connections": 64,
    "unit_timeout_s": 60.0,
}
NAMES = [row.name for row in TABLE]
IMAGE_TIMEOUT_S = 3.0
SECONDS = 2.0  # of one image that ends before its time is up: an inflating body or a bomb's decoding, on a busy machine
MEMORY = 64_000_000  # bytes above what the process had: MAX_PIXELS as RGB several times over; the bombs hold 400 MB


def test_each_gets_its_words(tmp_path):
    assert len({row.host for row in TABLE}) == len(TABLE) >= 40
    pool = Pool(tmp_path / "data")
    with HostileServer(hosts_of(TABLE)) as server:
        hosts = host_map(tmp_path, server.host_map())
        began = time.monotonic()
        found = fetch(pool, [row.url for row in TABLE], host_map=hosts, image_timeout_s=IMAGE_TIMEOUT_S, **LIMITS)
        assert time.monotonic() - began < 10 * IMAGE_TIMEOUT_S
    said = [(row["status"], row["error_message"], row["original_width"] if row["status"] == "success" else None) for row in found]
    wanted = [(row.status, row.error, row.side) for row in TABLE]
    assert dict(zip(NAMES, said, strict=True)) == dict(zip(NAMES, wanted, strict=True))


def test_each_is_bounded_in_time_and_memory(tmp_path):
    with HostileServer(hosts_of(TABLE)) as server:
        hosts = host_map(tmp_path, server.host_map())
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:  # so that the server's memory is not counted
            measured = process.submit(measure, [row.url for row in TABLE], hosts).result()
    seconds, grown = zip(*measured, strict=True)
    late = {row.name: took for row, took in zip(TABLE, seconds, strict=True) if took > (1.0 if row.slow else 0.0) + SECONDS}
    assert late == {}
    assert {name: size for name, size in zip(NAMES, grown, strict=True) if size > MEMORY} == {}


def measure(urls: list[str], hosts: str) -> list[tuple[float, int]]:
    """(seconds, bytes by which the process's peak rose above what it had) of each url, fetched alone. Linux."""
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(settings(host_map=hosts, image_timeout_s=1.0, **LIMITS), NO_LISTS, threads=1)
        try:
            fetch_alone = lambda number, url: submit(  # noqa: E731
                engine, Pool(Path(folder, str(number))), Rows({UNIT: of_urls([url])})
            ).result(60)
            fetch_alone(-1, next(row.url for row in TABLE if row.name == "jpeg_and_zip"))  # what is loaded on first use
            for number, url in enumerate(urls):
                Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
                before, began = _status("VmRSS"), time.monotonic()
                fetch_alone(number, url)
                measured.append((time.monotonic() - began, _status("VmHWM") - before))
        finally:
            engine.close()
    return measured


def _status(name: str) -> int:
    """A size of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
