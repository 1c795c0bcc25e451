"""The search for traces finds one that was planted, in every kind of file that a job may leave."""

import base64
import gzip
import hashlib
import html
import io
import json
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from quality.traces.views import picture_of
from tests.releases import jpeg
from tests.trust.traces import Needles, traces

CAPTION = 'Höhle der 늑대 "zwei"'
URL = "https://bad.test/pictures/그림 1.jpg?a=b&c=d"
IMAGE = jpeg(7)
SHA256 = hashlib.sha256(IMAGE).digest()


@pytest.fixture(scope="module")
def needles() -> Needles:
    found = Needles()
    found.text("caption", CAPTION)
    found.text("url", URL)
    found.image("image", IMAGE)
    return found


def darker(data: bytes) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".png", (pixels * 0.8).astype(np.uint8))[1].tobytes()


def tar_of(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def parquet_of(table: pa.Table, **how) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", **how)
    return out.getvalue()


def filtered_dictionary() -> pa.Table:
    """The value is in no row any more."""
    return pa.table({"c": pa.array(["x", CAPTION]).dictionary_encode()}).slice(0, 1)


def arrow_of(table: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return out.getvalue()


def zip_of(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a", data)
    return out.getvalue()


def png_with(text: str) -> bytes:
    out, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_itxt("Description", text, zip=True)
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)).save(out, "png", pnginfo=info)
    return out.getvalue()


def sqlite_of(tmp_path: Path, *, delete: bool) -> bytes:
    path = tmp_path / "made.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("CREATE TABLE tasks (uid TEXT, caption TEXT)")
        database.executemany("INSERT INTO tasks VALUES (?, ?)", [("a", "x"), ("b", CAPTION + " and more" * 900)])
        database.commit()
        if delete:
            database.execute("DELETE FROM tasks")
            database.commit()
    return path.read_bytes()


def hashed(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def near_pdq(bits: int) -> bytes:
    found = picture_of(IMAGE)
    assert found is not None
    flips = np.zeros(256, np.uint8)
    flips[:bits] = 1
    return bytes(np.frombuffer(found[0], np.uint8) ^ np.packbits(flips))


PLANTED: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "log line": (lambda _: f"12:00 WARNING x: cannot read {URL}\n".encode(), "url"),
    "utf-16": (lambda _: CAPTION.encode("utf-16"), "caption, UTF-16"),
    "json": (lambda _: json.dumps({"a": [{"b": CAPTION}]}).encode(), "caption"),
    "json key": (lambda _: json.dumps({URL: 1}).encode(), "url"),
    "json within json": (lambda _: json.dumps({"a": json.dumps({"b": CAPTION})}).encode(), "caption"),
    "json lines": (lambda _: (json.dumps({"x": 1}) + "\n" + json.dumps({"b": CAPTION}) + "\n").encode(), "caption"),
    "gzip": (lambda _: gzip.compress(CAPTION.encode()), "caption"),
    "zstd": (lambda _: pa.compress(CAPTION.encode(), codec="zstd", asbytes=True), "caption"),
    "zip": (lambda _: zip_of(CAPTION.encode()), "caption"),
    "tar member": (lambda _: tar_of("a.txt", CAPTION.encode()), "caption"),
    "tar member's name": (lambda _: tar_of(SHA256.hex(), b"x"), "image, sha256, hex"),
    "gzip in tar": (lambda _: tar_of("a.gz", gzip.compress(json.dumps(CAPTION).encode())), "caption"),
    "image in tar": (lambda _: tar_of("a.jpg", IMAGE), "image, bytes"),
    "near image in tar": (lambda _: tar_of("a.png", darker(IMAGE)), "image, picture"),
    "text of an image": (lambda _: png_with(CAPTION), "caption"),
    "parquet column": (lambda _: parquet_of(pa.table({"c": ["x", CAPTION]})), "caption"),
    "parquet nested": (lambda _: parquet_of(pa.table({"c": [[{"k": "x"}], [{"k": URL}]]})), "url"),
    "parquet bytes": (lambda _: parquet_of(pa.table({"c": [b"x", IMAGE]})), "image, bytes"),
    "parquet pdq": (lambda _: parquet_of(pa.table({"c": pa.array([near_pdq(31)], pa.binary(32))})), "image, picture"),
    "parquet dictionary page": (lambda _: parquet_of(filtered_dictionary()), "caption"),
    "parquet metadata": (lambda _: parquet_of(pa.table({"c": [1]}).replace_schema_metadata({"k": json.dumps(CAPTION)})), "caption"),
    "arrow": (lambda _: arrow_of(pa.table({"c": ["x" * 1000, CAPTION]})), "caption"),
    "html data uri": (lambda _: b'<img src="data:image/png;base64,' + base64.b64encode(darker(IMAGE)) + b'">', "image, picture"),
    "html base64 text": (lambda _: b"<script>f('" + base64.urlsafe_b64encode(f"..{CAPTION}.".encode()) + b"')</script>", "caption"),
    "html entities": (lambda _: html.escape(URL).encode("ascii", "xmlcharrefreplace"), "url"),
    "percent escapes": (lambda _: b"GET /?u=" + quote("x" + URL, safe="").replace("%2F", "/").lower().encode(), "url"),
    "raw digest": (lambda _: hashed(np.frombuffer(SHA256, np.uint8)), "image, sha256, raw"),
    "digest in capitals": (lambda _: SHA256.hex().upper().encode(), "image, sha256, hex"),
    "digest in base64": (lambda _: json.dumps({"d": base64.b64encode(SHA256).decode()}).encode(), "image, sha256, base64"),
    "digest of the url": (lambda _: b"x " + hashlib.md5(URL.encode()).hexdigest().encode(), "url, md5, hex"),
    "pdq in hex": (lambda _: json.dumps({"pdq": near_pdq(31).hex()}).encode(), "image, picture"),
    "sqlite row": (lambda folder: sqlite_of(folder, delete=False), "caption"),
    "sqlite page": (lambda folder: sqlite_of(folder, delete=True), "caption"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_trace_is_found(tmp_path, needles, kind):
    make, what = PLANTED[kind]
    (tmp_path / "d" / "deep").mkdir(parents=True)
    path = tmp_path / "d" / "deep" / "file"
    path.write_bytes(make(tmp_path))
    found = traces([tmp_path / "d"], needles)
    assert what in {trace.what for trace in found} and all(trace.where.startswith(str(path)) for trace in found), found


def test_a_name_of_a_file_is_a_trace(tmp_path, needles):
    (tmp_path / SHA256.hex()).mkdir()
    assert [trace.what for trace in traces([tmp_path], needles)] == ["image, sha256, hex"]


def test_what_is_like_it_is_none(tmp_path, needles):
    (tmp_path / "pdq.json").write_text(json.dumps({"pdq": near_pdq(32).hex(), "caption": CAPTION[:-1], "url": URL[:-1]}))
    (tmp_path / "a.tar").write_bytes(tar_of("a.jpg", jpeg(8)))
    (tmp_path / "a.parquet").write_bytes(parquet_of(pa.table({"c": ["x", CAPTION[1:]], "h": pa.array([near_pdq(32)] * 2, pa.binary(32))})))
    assert traces([tmp_path], needles) == []
