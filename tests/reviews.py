"""A dataset with tasks to judge: a pool with a tar of drawings, and reviews/tasks.parquet. And the review's server, as a process."""

import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pg8000.dbapi
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from pipelines.tar import TarWriter
from schemas.columns import RAW, table_of, uid_of
from schemas.pool import Pool
from schemas.reviews import TASKS, TASKS_PATH, task_of
from schemas.units import SourceFile
from tests.pools import FILE, PASS, SCORES, unit

ROOT = Path(__file__).parent.parent
PASSWORD = "correct horse battery"
HOSTILE = {
    "markup": "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\"> &amp; </textarea>{{ 7*7 }}",
    "rtl": "cat \u202egpj.tac\u202c שלום עולם \u2066isolated\u2069",
    "control": "bell \x07 null \x00 escape \x1b[31m red \x7f del\r\nnew line",
    "long": "가나다 letters " * 1000,
    "word": "w" * 10_000,
}


def drawing(seed: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """A JPEG of discs on a noisy ground, about 60 KB at 640x480."""
    generator = np.random.default_rng(seed)
    ground = generator.integers(200, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    image = Image.fromarray(ground).resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    for x, y, r, *colour in generator.integers(0, [*size, 90, 256, 256, 256], (9, 6)).tolist():
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(colour))
    out = io.BytesIO()
    image.save(out, "jpeg", quality=88)
    return out.getvalue()


def make_pool(root: Path, images: int = 24) -> tuple[Pool, list[dict[str, Any]]]:
    """A pool of one unit with real tars and scores, and its rows."""
    pool = Pool(root)
    root.mkdir(parents=True, exist_ok=True)
    pool.put_file(SourceFile(FILE, str(root), "pairs.csv", "rows", 1, "digest", images, images, (0,), (0,)))
    pool.put_pass(PASS)
    rows = []
    captions = list(HOSTILE.values())
    with TarWriter(root / "unit.tar") as tar:
        for row in range(images):
            data = drawing(row)
            url = f"http://host.test/{row}.jpg"
            caption = captions[row] if row < len(captions) else f"a drawing of nine discs, number {row}"
            rows.append(
                {
                    "row": row, "url": url, "caption": caption, "uid": uid_of(url=url, sha256=None, caption=caption), "status": "success",
                    "sha256": hashlib.sha256(data).hexdigest(), "offset": tar.add(f"{row:09d}.jpg", data), "size": len(data),
                    "width": 640, "height": 480, "license": "CC BY 4.0", "license_url": "https://creativecommons.org/licenses/by/4.0/",
                    "creator": "A. Drawer", "image.pdq": hashlib.sha256(data).digest(), "image.pdq_quality": 90, "clip.similarity": 0.1,
                }
            )  # fmt: skip
    commit = pool.commit(unit(0), table_of(rows, RAW), tar=root / "unit.tar", input_digest="input")
    (root / "unit.tar").unlink(missing_ok=True)
    pool.commit_scores(PASS.name, unit(0), table_of(rows, SCORES), input_digest=commit.content_digest)
    for row in rows:
        row["tar"] = commit.tar
    return pool, rows


def task(pair: Mapping[str, Any], order: int, **given: Any) -> dict[str, Any]:
    """A row of TASKS about a pair of :func:`make_pool`."""
    row = {
        "uid": pair["uid"], "question": "clip:low_similarity", "queue": "review", "release": "one", "verdict": "review",
        "reasons": ["clip:low_similarity"], "caption": pair["caption"], "unit": unit(0), "row": pair["row"], "tar": pair["tar"],
        "offset": pair["offset"], "size": pair["size"], "column": "clip.similarity", "value": "0.1", "bound": ">= 0.11",
        "license": pair["license"], "license_url": pair["license_url"], "creator": pair["creator"], "sampling_probability": 1.0,
        "overlap": 1, "order": order, **given,
    }  # fmt: skip
    return {"task": task_of(row["uid"], row["question"]), **row}


def many_tasks(pairs: Sequence[Mapping[str, Any]], n: int, *, gold_every: int = 0, keep_every: int = 0) -> list[dict[str, Any]]:
    """n tasks over the pairs, each with a uid of its own."""
    found = []
    for order in range(n):
        pair = {**pairs[order % len(pairs)], "uid": hashlib.sha256(f"{order}".encode()).hexdigest()[:32]}
        if gold_every and order % gold_every == gold_every - 1:
            found.append(task(pair, order, queue="gold", gold="yes"))
        elif keep_every and order % keep_every == keep_every - 1:
            more = {"column": None, "value": None, "bound": None, "reasons": [], "verdict": "keep", "sampling_probability": 0.05}
            found.append(task(pair, order, question="keep", queue="kept", **more))
        else:
            found.append(task(pair, order))
    return found


def put_tasks(pool: Pool, rows: Sequence[Mapping[str, Any]]) -> None:
    path = Path(pool.store.path_of(TASKS_PATH))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table_of([dict(row) for row in rows], TASKS), path)


def command(*args: str | Path, stdin: str | None = None, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess:
    """Runs `python -m quality.review` as a user does; never raises."""
    line = [sys.executable, "-m", "quality.review", *map(str, args)]
    full = {**os.environ, **(env or {})}
    return subprocess.run(line, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=120, env=full)


class Server:
    """The server on a port of its own, which it keeps over restarts."""

    def __init__(self, root: Path, *flags: str, env: Mapping[str, str] | None = None):
        self.root, self.flags, self.env = root, flags, {**os.environ, **(env or {})}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.said = ""

    def start(self) -> "Server":
        line = [sys.executable, "-m", "quality.review", "serve", "--dataset", str(self.root), "--port", str(self.port), *self.flags]
        self.process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env)
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.said += text
            if text.startswith("Serving"):
                return self
        raise RuntimeError(f"the server ended: {self.said}")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)


@contextmanager
def serving(root: Path, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    server = Server(root, *flags, env=env).start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


class Postgres(NamedTuple):
    """url: of its database. pid: of its first process."""

    url: str
    pid: int


@contextmanager
def postgres(*settings: str) -> Iterator[Postgres]:
    """A PostgreSQL of its own. It refuses to run as root: then the account `nobody` runs it. settings: NAME=VALUE.

    Its folder is not below pytest's: each start of pytest takes the rights of others from /tmp/pytest-of-USER, and a PostgreSQL of another
    account below it then dies at its next checkpoint.
    """
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="pigment-postgres-") as data, socket.socket() as free:
        if user:
            shutil.chown(data, "nobody", "nogroup")
        quiet: dict[str, Any] = {"cwd": data, "stdout": subprocess.DEVNULL, **user}
        subprocess.run(["initdb", "-D", data, "-U", "review", "-A", "trust", "--no-sync", "-E", "UTF8"], check=True, **quiet)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        said = [f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={data}", *settings]
        log = Path(data, "log")
        with log.open("wb") as errors:
            flags = [each for setting in said for each in ("-c", setting)]
            process = subprocess.Popen(["postgres", "-D", data, *flags], stderr=errors, **quiet)
        try:
            _wait_for(process, port, log)
            yield Postgres(f"postgresql://review@127.0.0.1:{port}/postgres", process.pid)
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait(60)


def _wait_for(process: subprocess.Popen, port: int, log: Path) -> None:
    """Until the PostgreSQL answers: it takes connections a little before that, and refuses them."""
    until = time.monotonic() + 60
    while True:
        try:
            pg8000.dbapi.connect("review", host="127.0.0.1", port=port, database="postgres", timeout=10).close()
            return
        except pg8000.dbapi.Error as error:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL does not answer: {error}; it said: {log.read_text()}") from error
        time.sleep(0.1)
