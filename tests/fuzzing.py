"""What fetching and scoring do to bytes, all of it, on spoilt images and answers. Runs in a process of its own, which a crash may end."""

import ctypes
import faulthandler
import gzip
import io
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageCms

from pipelines.fetch.loop import Engine
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.store import Readers, stored
from quality.block_lists import BlockLists
from quality.images.convert import Target, convert
from quality.images.decode import ImageError, decode
from quality.images.header import read_header
from quality.scorers.batch import PairBatch
from quality.scorers.evidence import Evidence
from quality.scorers.image import Image as ImageScorer
from schemas.pool import Pool
from schemas.reasons import error_word
from tests.mutations import mutated
from tests.pipelines.fetching import NO_LISTS, UNIT, Rows, host_map, of_urls, settings, submit
from tests.scoring import SAMPLE
from tests.trust.made import jpeg, png, signed, webp
from tests.trust.tools import picture
from tests.web.hostile import CHUNKED, GZIP, LAST, chunk, head, whole
from tests.web.hostile_images import OTHER, OWN
from tests.web.hostile_server import HostileServer, raw

MAX_PIXELS: Final = 4_000_000
MAX_BYTES: Final = 1_000_000
UNIT_ROWS: Final = 500  # answers that are fetched side by side
IMAGE_TIMEOUT_S: Final = 5.0
UNIT_TIMEOUT_S: Final = 60.0
HANGS_S: Final = 150  # without a next case: the child then ends itself, and says where it stood

Note = Callable[[int, bytes], object]  # told of each seed before it is tried, and of its bytes


@dataclass
class Found:
    """seconds: the longest of one case, and its seed. grown: bytes of memory between the first quarter's end and the last case's.
    words: how often each outcome. left: names of temporary files."""

    seconds: float = 0.0
    slowest: int = -1
    grown: int = 0
    words: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)


def apart(case: str, seeds: range, folder: Path) -> Found:
    """Runs `images`, `answers` or `deaths` over seeds in a child process. Raises AssertionError that names the seed at which it ended."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
            return child.submit(_in_child, case, seeds, folder).result()
    except Exception as error:
        tried = (folder / "seed").read_text() if (folder / "seed").exists() else "none"
        died = "the process died" if isinstance(error, BrokenProcessPool) else f"{type(error).__name__}: {error}"
        raise AssertionError(f"{case}, seed {tried}, whose bytes are in {folder / 'bytes'}: {died}") from error


def _in_child(case: str, seeds: range, folder: Path) -> Found:
    temporary = folder / "temporary"
    temporary.mkdir()
    tempfile.tempdir = str(temporary)

    def note(seed: int, data: bytes) -> None:
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        (folder / "seed").write_text(str(seed))
        (folder / "bytes").write_bytes(data)

    found = Found()
    settled = seeds.start + len(seeds) // 4
    began_with = 0
    for seed, words, seconds in {"images": images, "answers": answers, "deaths": deaths}[case](seeds, note):
        found.words.update(words)
        if seconds > found.seconds:
            found.seconds, found.slowest = seconds, seed
        if seed <= settled or not began_with:
            began_with = _memory()
    faulthandler.cancel_dump_traceback_later()
    found.grown = _memory() - began_with
    found.left = sorted(path.name for path in temporary.iterdir() if path.suffix != ".lock")  # which stays (schemas.scratch)
    return found


def _memory() -> int:
    """Bytes of this process in memory. Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def deaths(seeds: range, note: Note) -> Iterator[tuple[int, list[str], float]]:
    """What a crash looks like: seed 7 reads where nothing is."""
    for seed in seeds:
        note(seed, b"seventh" if seed == 7 else b"")
        if seed == 7:
            ctypes.string_at(0)
        yield seed, [], 0.0


# ---- images


@cache
def whole_images() -> list[bytes]:
    """Real pictures in every format and most of their forms."""
    paths = sorted(path for path in (SAMPLE / "images").rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
    found = [path.read_bytes() for path in paths[::60]]
    image = picture().resize((160, 120))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x9286] = 6, "Maker", b"ASCII\0\0\0Steps: 20, Sampler: Euler a"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    grey, palette = image.convert("L"), image.quantize(16)
    frames = [image, image.rotate(90), image.rotate(180)]
    forms: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (image, "jpeg", {"progressive": True, "exif": exif}), (image, "jpeg", {"icc_profile": profile}), (grey, "jpeg", {}),
        (image.convert("CMYK"), "jpeg", {}), (image, "jpeg", {"subsampling": 0, "restart_marker_rows": 1}),
        (palette, "png", {"transparency": 3}), (image.convert("RGBA"), "png", {"exif": exif}), (grey.convert("I;16"), "png", {}),
        (image, "png", {"icc_profile": profile}), (image.convert("1"), "png", {}),
        (palette, "gif", {}), (frames[0], "gif", {"save_all": True, "append_images": frames[1:], "duration": 50}),
        (image, "webp", {"lossless": True}), (image.convert("RGBA"), "webp", {"exif": exif, "icc_profile": profile}),
        (frames[0], "webp", {"save_all": True, "append_images": frames[1:], "duration": 50}),
        (image, "bmp", {}), (palette, "bmp", {}),
        *((image, "tiff", {"compression": kind}) for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        (image.convert("1"), "tiff", {"compression": "group4"}), (image.convert("CMYK"), "tiff", {}), (image.convert("F"), "tiff", {}),
    ]  # fmt: skip
    for form, kind, options in forms:
        file = io.BytesIO()
        form.save(file, kind, **options)
        found.append(file.getvalue())
    for made, mime in ((jpeg, "image/jpeg"), (png, "image/png"), (webp, "image/webp")):
        found.append(signed(made(picture()), mime))
    return found


def images(seeds: range, note: Note) -> Iterator[tuple[int, list[str], float]]:
    """(seed, outcome words, seconds) of each spoilt image. Raises what any step raises that should not."""
    known, run = whole_images(), Steps()
    for seed in seeds:
        note(seed, data := mutated(known[seed % len(known)], known, seed))
        began = time.monotonic()
        words = run(data)
        yield seed, words, time.monotonic() - began


class Steps:
    """All that is done to the bytes of an image between the network and a shard, models apart."""

    def __init__(self) -> None:
        small = {"max_pixels": MAX_PIXELS, "optouts": "record"}
        self._original = FetchSettings(**small)
        self._resized = FetchSettings(**small, store="resized", target=Target(size=64), evidence=True)
        self._readers = Readers(self._resized)
        self._lists = BlockLists({"pdq": frozenset({bytes(32)})})
        self._scorers = (ImageScorer(), Evidence())
        for scorer in self._scorers:
            scorer.load()

    def __call__(self, data: bytes) -> list[str]:
        words = []
        for given in (self._original, self._resized):
            outcome, kept = stored(data, given, self._lists, final_url=None, readers=self._readers, signals={})
            words.append(error_word(outcome.error_message) or outcome.status)
            if kept is not None:
                header = read_header(kept)
                assert header is not None and (header.width, header.height, header.format) == (
                    outcome.width,
                    outcome.height,
                    outcome.format,
                )
        if kept is not None:
            decode(kept)  # what was converted is whole
        batch = PairBatch(["a caption"], [data], max_pixels=MAX_PIXELS)
        for scorer in self._scorers:
            assert len(scorer.score(batch)) == 1
        for target in (Target(resize="no", format="original"), Target(resize="border", size=48, format="webp", enlarge=True)):
            try:
                decode(convert(data, target, max_pixels=MAX_PIXELS).data)
            except ImageError as error:
                words.append(error.word)
        return words


# ---- answers


@cache
def whole_answers() -> list[bytes]:
    """Real answers, head and body, in most of the forms that HTTP knows."""
    moved = whole(b"", "Location: /next", status="302 Found")
    return [
        whole(), whole(OTHER, "Content-Type: image/jpeg", "ETag: \"x\"", "Date: Wed, 01 Jan 2020 00:00:00 GMT"), head() + OWN, moved,
        CHUNKED + chunk(OWN[:200]) + chunk(OWN[200:], b";name=value") + LAST, CHUNKED + chunk(OWN) + b"0\r\nTrailer: x\r\n\r\n",
        whole(gzip.compress(OWN), GZIP), head(GZIP, "Transfer-Encoding: chunked") + chunk(gzip.compress(OWN)) + LAST,
        head(status="103 Early Hints") + whole(), whole(b"busy", "Retry-After: 0", status="503 Busy"),
        whole(OWN, "X-Robots-Tag: noai, otherbot: noindex", "tdm-reservation: 0"), whole(b"no", status="404 Not Found"),
        head(status="304 Not Modified"),
        whole(OWN) + whole(OTHER), moved + whole(OTHER),
    ]  # fmt: skip


def answers(seeds: range, note: Note) -> Iterator[tuple[int, list[str], float]]:
    """(last seed, outcome words, seconds) of each unit of spoilt answers, over client and engine. Raises what they raise."""
    known = whole_answers()
    for first in range(seeds.start, seeds.stop, UNIT_ROWS):
        unit = range(first, min(first + UNIT_ROWS, seeds.stop))
        note(first, b"")
        hosts = {f"a{seed}.fuzz.test": raw(mutated(known[seed % len(known)], known, seed)) for seed in unit}
        with tempfile.TemporaryDirectory() as folder, HostileServer(hosts) as server:
            began = time.monotonic()
            given = settings(
                host_map=host_map(Path(folder), server.host_map()), image_timeout_s=IMAGE_TIMEOUT_S, max_bytes=MAX_BYTES,
                unit_timeout_s=UNIT_TIMEOUT_S, retries=1, backoff_s=0.01, optouts="record",
            )  # fmt: skip
            engine = Engine(given, NO_LISTS, threads=1)
            try:
                pool, urls = Pool(Path(folder, "data")), [f"http://{host}/" for host in hosts]
                assert submit(engine, pool, Rows({UNIT: of_urls(urls)})).result(timeout=2 * UNIT_TIMEOUT_S)
            finally:
                engine.close()
            yield (
                unit[-1],
                [error_word(row["error_message"]) or row["status"] for row in pool.read_raw(UNIT).to_pylist()],
                time.monotonic() - began,
            )
