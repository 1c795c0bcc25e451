"""`--fetcher img2dataset`: the ledger of our own engine on a healthy web, and our own rules on any other."""

import gzip
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
from PIL import Image

from pipelines.fetch.img2dataset_fetcher import FetcherError, Img2datasetFetcher
from pipelines.fetch.loop import Engine
from quality.block_lists import ENVIRONMENT, BlockLists, read_lists
from quality.images.convert import Target
from schemas.pool import Pool
from tests.block_lists import write_lists
from tests.conftest import ROOT, ingest
from tests.pipelines.fetching import NO_LISTS, UNIT, Reply, Rows, Server, fetch, host_map, image_of, of_urls, settings, submit
from tests.pipelines.test_apart import runs
from tests.tars import shot

pytest.importorskip("img2dataset", reason="needs the extra img2dataset")

RESIZED = {"store": "resized", "target": Target(resize="keep_ratio_largest", size=64, format="jpeg", quality=90), "evidence": True}


def theirs(pool: Pool, rows: Rows | list, *, lists: BlockLists = NO_LISTS, unit: str = UNIT, **changes) -> list[dict] | None:
    """The committed rows of a unit that img2dataset fetched; None when it was deferred."""
    rows = rows if isinstance(rows, Rows) else Rows({unit: of_urls(rows)})
    engine = Engine(settings(fetcher="img2dataset", **changes), lists, threads=1)
    fetcher = Img2datasetFetcher(engine, lists)
    try:
        committed = submit(fetcher, pool, rows, unit, lists=lists).result(timeout=120)
    finally:
        fetcher.close()
        engine.close()
    return pool.read_raw(unit).to_pylist() if committed else None


def photo(kind: str, *, mode: str = "RGB", size: tuple[int, int] = (120, 80), **more) -> bytes:
    """A smooth picture, as photographs are: filters differ little on it."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    planes = np.stack([127 + 100 * np.sin(x / 17 + plane) * np.cos(y / 13 - plane) for plane in range(len(mode) if mode != "L" else 1)], -1)
    file = io.BytesIO()
    Image.fromarray(planes.clip(0, 255).astype(np.uint8).squeeze(), mode).save(file, kind, **more)
    return file.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    return photo("jpeg", exif=exif, quality=95)


PICTURES = {
    "/a.jpg": photo("jpeg", quality=95),
    "/b.png": photo("png"),
    "/c.webp": photo("webp", quality=95),
    "/grey.jpg": photo("jpeg", mode="L", quality=95),
    "/clear.png": photo("png", mode="RGBA"),
    "/small.jpg": photo("jpeg", size=(40, 30), quality=95),
    "/turned.jpg": turned(),
}
WEB: dict[str, Reply | list[Reply]] = {
    **{path: Reply(body=data) for path, data in PICTURES.items()},
    "/gone": Reply(404),
    "/away": Reply(302, headers={"Location": "/a.jpg"}),
    "/packed": Reply(body=gzip.compress(PICTURES["/b.png"]), headers={"Content-Encoding": "gzip"}),
    "/text": Reply(body=b"<html>no picture"),
    "/later": [Reply(503), Reply(body=PICTURES["/a.jpg"])],
}


def clean(row: dict) -> dict:
    return {
        **row,
        "url": row["url"] and row["url"].rpartition("/")[2],
        "final_url": row["final_url"] and row["final_url"].rpartition("/")[2],
    }


def both(tmp_path, **changes) -> tuple[list[dict], list[dict], Pool, Pool]:
    pools = Pool(tmp_path / "ours"), Pool(tmp_path / "theirs")
    found = []
    for pool, ask in zip(pools, (fetch, theirs), strict=True):
        with Server({path: list(reply) if isinstance(reply, list) else reply for path, reply in WEB.items()}) as server:
            rows = of_urls([server.url(path) for path in [*WEB, "/a.jpg"]])
            for row in rows:
                row["url"] = row["url"].replace(f"127.0.0.1:{server.port}", "web.test")
            mapped = host_map(tmp_path, {"web.test": f"127.0.0.1:{server.port}"})
            found.append(ask(pool, Rows({UNIT: rows}), host_map=mapped, allow_private_hosts=False, **changes))
    assert found[0] is not None and found[1] is not None
    return found[0], found[1], *pools


def test_original_bytes_and_the_whole_ledger_are_the_same(tmp_path):
    ours, others, first, second = both(tmp_path)
    assert others == ours and {row["status"] for row in ours} == {"success", "failed_to_download"}
    one, other = first.raw_commit(UNIT), second.raw_commit(UNIT)
    assert one is not None and other is not None and one.tar_sha256 == other.tar_sha256, "byte for byte"
    assert [row["error_message"] for row in others if row["error_message"]] == ["http_404", "not_image"]


def test_resized_images_differ_in_pixels_alone(tmp_path):
    ours, others, first, second = both(tmp_path, **RESIZED)
    apart = ("offset", "size", "width", "height")
    for row, other in zip(ours, others, strict=True):
        assert {name: value for name, value in other.items() if name not in apart} == {
            name: value for name, value in row.items() if name not in apart
        }
        if row["status"] != "success":
            continue
        path = "/" + row["url"].rpartition("/")[2]
        mine, its = (Image.open(io.BytesIO(image_of(pool, found))) for pool, found in ((first, row), (second, other)))
        if path == "/turned.jpg":  # img2dataset leaves a picture lying on its side, and leaves its orientation out
            assert its.size == mine.size[::-1] and its.getexif() == {}
            its = its.transpose(Image.Transpose.ROTATE_270)
        assert its.size == mine.size and (other["width"], other["height"]) == Image.open(io.BytesIO(image_of(second, other))).size
        # Scaled decoding and bilinear against whole decoding and area, and two encoders: a few levels of 255 on smooth pictures.
        apart_by = np.abs(np.asarray(mine.convert("RGB"), np.int16) - np.asarray(its.convert("RGB"), np.int16)).mean()
        assert apart_by < 3, (path, apart_by)


HOSTILE = [
    (Reply(302, headers={"Location": "http://10.0.0.1/a.jpg"}), ("refused", "private_address")),
    (Reply(302, headers={"Location": "http://2130706433/a.jpg"}), ("refused", "private_address")),
    (Reply(302, headers={"Location": "http://[::ffff:10.0.0.1]/a.jpg"}), ("refused", "private_address")),
    (Reply(302, headers={"Location": "file:///etc/hostname"}), ("refused", "bad_redirect")),
    (Reply(302, headers={"Location": "/4"}), ("failed_to_download", "redirects")),
    (Reply(302, headers={"Location": "http://other.test/a.jpg"}), ("failed_to_download", "dns")),
    (Reply(302, headers={"Location": "http://bad.test/a.jpg"}), ("blocked", "list")),
    (Reply(302, headers={"Location": "http://closed.test/a.jpg"}), ("refused", "optout")),
    (Reply(500), ("failed_to_download", "http_500")),
    (Reply(body=shot(1), told=10_000, close=True), ("failed_to_download", "truncated")),
    (Reply(body=b"x" * 200_000), ("failed_to_download", "too_large")),
    (Reply(body=gzip.compress(bytes(5_000_000)), headers={"Content-Encoding": "gzip"}), ("failed_to_download", "too_large")),
    (Reply(body=shot(1), headers={"X-Robots-Tag": "noai"}), ("refused", "optout")),
    (Reply(body=shot(1), headers={"tdm-reservation": "1"}), ("refused", "optout")),
    (Reply(raw=b"no http at all\r\n\r\n"), ("failed_to_download", "connect")),
    (Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 5_000 + b"\r\n"), ("failed_to_download", "connect")),
    (Reply(body=shot(1)[:50], told=len(shot(1)), hang=True), ("failed_to_download", "timeout")),
    (Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n" + shot(1), hang=True), ("failed_to_download", "timeout")),
    (Reply(206, body=shot(1)), ("failed_to_download", "http_206")),
    (Reply(body=shot(2)), ("success", "")),
]


@pytest.mark.parametrize("ask", [theirs, fetch])
def test_hostile_answers_end_as_in_our_own_engine(tmp_path, monkeypatch, ask):
    monkeypatch.setenv(ENVIRONMENT, str(write_lists(tmp_path / "lists", {"domains": ["bad.test"]})))
    robots = Reply(body=b"User-agent: *\nDisallow: /\n")
    with Server({f"/{number}": answer for number, (answer, _) in enumerate(HOSTILE)}) as server, Server({"/robots.txt": robots}) as closed:
        mapped = host_map(tmp_path, {"web.test": f"127.0.0.1:{server.port}", "closed.test": f"127.0.0.1:{closed.port}"})
        found = ask(
            Pool(tmp_path / "d"), [f"http://web.test/{number}" for number in range(len(HOSTILE))], lists=read_lists(None), host_map=mapped,
            allow_private_hosts=False, contact="me@example.org", max_bytes=100_000, image_timeout_s=4.0,
        )  # fmt: skip
        assert found is not None and closed.log == []
    told = [(row["status"], (row["error_message"] or "").partition(":")[0]) for row in found]
    assert told == [expected for _, expected in HOSTILE]


def test_lists_of_bytes_come_before_any_look_and_claims_too(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, str(write_lists(tmp_path / "lists", {"md5": [hashlib.md5(shot(2)).hexdigest()]})))
    with Server({f"/{number}": Reply(body=shot(number)) for number in range(4)}) as server:
        urls = of_urls([server.url(f"/{number}") for number in (0, 1, 2, 3, 3)])
        urls[1]["expected_sha256"] = urls[4]["expected_sha256"] = hashlib.sha256(shot(1)).hexdigest()
        found = theirs(Pool(tmp_path / "d"), Rows({UNIT: urls}), lists=read_lists(None), **RESIZED)
    assert found is not None
    assert [row["status"] for row in found] == ["success", "success", "blocked", "success", "failed_to_download"]
    assert found[4]["error_message"].startswith("sha256: ") and server.count("/3") == 1
    assert Pool(tmp_path / "d").incidents() == {UNIT: {"md5": 1}}


def test_a_host_is_asked_no_more_than_it_allows(tmp_path):
    with Server(lambda path: Reply(404) if not path[1:].isdigit() else Reply(body=shot(int(path[1:])), delay=0.05)) as server:
        found = theirs(Pool(tmp_path / "d"), [server.url(f"/{number}") for number in range(12)], connections_per_host=2, rate_per_host=20.0)
        assert found is not None and {row["status"] for row in found} == {"success"}
        times = sorted(at for _, path, at in server.log if path[1:].isdigit())
        assert server.most <= 2 and times[-1] - times[0] >= 11 / 20 - 0.02
        agents = {host for host, _, _ in server.log}
        assert len(agents) == 1


def test_hosts_that_redirects_lead_to_are_asked_side_by_side(tmp_path, monkeypatch):
    asked, ask_hosts = [], Engine.ask_hosts
    monkeypatch.setattr(Engine, "ask_hosts", lambda engine, origins: asked.append(len(origins)) or ask_hosts(engine, origins))
    with Server(
        {f"/{number}": Reply(302, headers={"Location": f"http://h{number}.test/a"}) for number in range(4)} | {"/a": Reply(body=shot(1))}
    ) as server:
        mapped = host_map(tmp_path, {f"h{number}.test": f"127.0.0.1:{server.port}" for number in range(4)})
        found = theirs(Pool(tmp_path / "d"), [server.url(f"/{number}") for number in range(4)], host_map=mapped)
    assert found is not None and {row["status"] for row in found} == {"success"}
    assert asked == [4]


def spoil_decoder(folder, monkeypatch, what: str) -> None:
    """In img2dataset's process alone, OpenCV's decoder first does what the expression says of `data`, an array."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'pipelines.fetch.img2dataset_child' in ' '.join(sys.orig_argv):\n"
        "    import ctypes, cv2, os, time\n"
        "    decode = cv2.imdecode\n"
        "    def imdecode(data, flags):\n"
        f"        {what}\n"
        "        return decode(data, flags)\n"
        "    cv2.imdecode = imdecode\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_unit_that_close_interrupts_is_not_committed(tmp_path, monkeypatch):
    """While its process looks at a healthy image: that image is no crash, and no other process is started."""
    looks = tmp_path / "looks"
    looks.mkdir()
    spoil_decoder(tmp_path, monkeypatch, f"open(os.path.join({str(looks)!r}, str(os.getpid())), 'w').close() or time.sleep(30)")
    pool = Pool(tmp_path / "d")
    with Server({f"/{number}": Reply(body=shot(number)) for number in range(3)}) as server:
        engine = Engine(settings(fetcher="img2dataset", **RESIZED), NO_LISTS, threads=1)
        fetcher = Img2datasetFetcher(engine, NO_LISTS)
        try:
            rows = Rows({UNIT: of_urls([server.url(f"/{number}") for number in range(3)])})
            flying, waiting = submit(fetcher, pool, rows), submit(fetcher, pool, rows)
            until = time.monotonic() + 60
            while not any(looks.iterdir()) and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            fetcher.close()
            engine.close()
    for future in (flying, waiting):
        with pytest.raises(CancelledError):
            future.result(timeout=0)
    assert len(list(looks.iterdir())) == 1 and pool.committed() == set()


PARENT = """
import signal
from pathlib import Path
from schemas.pool import Pool
from tests.pipelines.test_fetch_img2dataset import RESIZED, theirs
signal.signal(signal.SIGINT, lambda *_: None)
theirs(Pool(Path({pool!r})), [{url!r}], **RESIZED)
"""


def test_its_process_does_not_hear_ctrl_c_and_ends_with_its_parent(tmp_path, monkeypatch):
    looks = tmp_path / "looks"
    looks.mkdir()
    spoil_decoder(tmp_path, monkeypatch, f"open(os.path.join({str(looks)!r}, str(os.getpid())), 'w').close() or time.sleep(30)")
    with Server({"/a": Reply(body=shot(1))}) as server:
        script = PARENT.format(pool=str(tmp_path / "d"), url=server.url("/a"))
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=log, start_new_session=True)
        until = time.monotonic() + 60
        while not any(looks.iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
        (child,) = (int(path.name) for path in looks.iterdir())
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1)
        assert runs(child) and "KeyboardInterrupt" not in (tmp_path / "log").read_text()  # it takes seconds to end of one
        process.kill()
        process.wait()
    until = time.monotonic() + 5
    while runs(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not runs(child)


def test_what_is_not_done_at_the_deadline_is_postponed(tmp_path):
    with Server(
        {"/a": Reply(body=shot(1)), "/b": Reply(body=shot(2)), "/c": Reply(body=shot(3)), "/slow": Reply(hang=True, told=10)}
    ) as server:
        urls = [server.url(path) for path in ("/a", "/b", "/c", "/slow")]
        found = theirs(Pool(tmp_path / "d"), urls, unit_timeout_s=12.0, image_timeout_s=60.0)
    assert found is not None
    assert [(row["status"], row["error_message"]) for row in found] == [*[("success", None)] * 3, ("postponed", "deadline")]


def test_a_deadline_between_two_processes_is_one(tmp_path, monkeypatch):
    """The moment is made: the unit's time is up just when its process has started."""
    whole = Img2datasetFetcher.child

    def child(fetcher: Img2datasetFetcher):
        found = whole(fetcher)
        if fetcher._unit is not None and fetcher._unit._until:
            fetcher._unit.close()
            fetcher.stop()
        return found

    monkeypatch.setattr(Img2datasetFetcher, "child", child)
    with Server({"/a": Reply(body=shot(1))}) as server:
        assert theirs(Pool(tmp_path / "d"), [server.url("/a")]) is None, "nothing came, so that the unit is put off as a whole"
        assert server.log == []


def test_a_picture_that_ends_the_process_is_crashed_and_the_others_go_on(tmp_path, monkeypatch):
    spoil_decoder(tmp_path, monkeypatch, f"ctypes.string_at(0) if data.tobytes() == {shot(2)!r} else None")
    with Server(lambda path: Reply(body=shot(int(path[1:]))) if path[1:].isdigit() else Reply(404)) as server:
        found = theirs(Pool(tmp_path / "d"), [server.url(f"/{number}") for number in range(6)], **RESIZED)
    assert found is not None
    assert [row["status"] for row in found] == ["success", "success", "crashed", "success", "success", "success"]
    assert found[2]["error_message"] == "crashed: img2dataset's process ended with signal 11"


def test_a_missing_extra_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "img2dataset", None)
    engine = Engine(settings(fetcher="img2dataset"), NO_LISTS, threads=1)
    try:
        with pytest.raises(FetcherError, match=r"pip install 'pigment\[img2dataset\]'"):
            Img2datasetFetcher(engine, NO_LISTS)
    finally:
        engine.close()


def test_the_fetcher_is_the_pools_and_nothing_is_left_behind(tmp_path, monkeypatch):
    """Through the command, in several processes: a pool is fetched in one way, and its resized images are img2dataset's."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with Server({f"/{number}": Reply(body=photo("png", size=(90 + number, 60))) for number in range(6)}) as server:
        pairs = tmp_path / "pairs.csv"
        pairs.write_text("url,caption\n" + "".join(f"{server.url(f'/{number}')},picture {number}\n" for number in range(6)))
        flags = ("--dataset", tmp_path / "d", "--source", pairs, "--stop_after", "fetch", "--allow_private_hosts", "--unit_size", "3")
        resized = ("--store", "resized", "--store_size", "32")
        run = ingest(*flags, *resized, "--fetcher", "img2dataset", env={**os.environ, "TMPDIR": str(temporary)})
        assert run.returncode == 0, run.stdout + run.stderr
        again = ingest(*flags, *resized)
        assert again.returncode == 2 and "was begun with fetcher = img2dataset, not pigment" in again.stderr
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / "a.png").write_bytes(photo("png"))
        folder = ingest("--dataset", tmp_path / "e", "--source", tmp_path / "images", "--fetcher", "img2dataset")
        assert folder.returncode == 2 and "this source is a folder of images" in folder.stderr
    pool = Pool(tmp_path / "d")
    rows = [row for unit in sorted(pool.committed()) for row in pool.read_raw(unit).to_pylist()]
    assert [(row["status"], row["width"], row["format"]) for row in rows] == [("success", 32, "jpeg")] * 6
    assert (pool.settings("source") or {})["fetch"]["fetcher"] == "img2dataset"
    assert [path.name for path in temporary.iterdir() if path.name.startswith("pigment-")] == []
