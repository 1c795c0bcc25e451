"""An output that img2dataset itself made enters the pool: every row of it in order, and no image byte copied. PIGMENT_SOAK=1: 5,000 pairs."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from schemas.pool import Pool
from tests.conftest import SOAK, ingest
from tests.pipelines.fetching import Reply, Server

PAIRS, SHARD = (5_000, 1_000) if SOAK else (200, 80)
MISSING = 7  # every so many-th image is a 404

pytest.importorskip("img2dataset", reason="needs the extra img2dataset")


def noise(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)).save(file, "png")
    return file.getvalue()


def answer(path: str) -> Reply:
    number = int(path[1:])
    return Reply(404) if number % MISSING == 0 else Reply(body=noise(number))


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("img2dataset")
    with Server(answer) as server:
        pairs = folder / "pairs.csv"
        pairs.write_text("url,caption,more\n" + "".join(f"{server.url(f'/{n}')},picture {n},{n}\n" for n in range(PAIRS)))
        told = {
            "url_list": str(pairs), "output_folder": str(folder / "out"), "input_format": "csv", "output_format": "webdataset", "url_col": "url",
            "caption_col": "caption", "save_additional_columns": ["more"], "image_size": 16, "resize_mode": "keep_ratio",
            "number_sample_per_shard": SHARD, "processes_count": 1, "thread_count": 16, "enable_wandb": False, "retries": 0,
        }  # fmt: skip
        command = [sys.executable, "-c", "import img2dataset, json, sys; img2dataset.download(**json.loads(sys.argv[1]))", json.dumps(told)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    return folder / "out"


def test_every_row_enters_and_no_image_is_copied(output, tmp_path):
    tars = sorted(output.glob("*.tar"))
    before = {tar: (tar.stat(), hashlib.sha256(tar.read_bytes()).hexdigest()) for tar in tars}
    run = ingest("--dataset", tmp_path / "d", "--source", output, "--stop_after", "fetch")
    assert run.returncode == 0, run.stdout + run.stderr
    assert list((tmp_path / "d").rglob("*.tar")) == []
    for tar, (stat, digest) in before.items():
        now = tar.stat()
        assert (now.st_ino, now.st_nlink, now.st_mtime_ns) == (stat.st_ino, stat.st_nlink, stat.st_mtime_ns)
        assert hashlib.sha256(tar.read_bytes()).hexdigest() == digest

    pool, seen = Pool(tmp_path / "d"), 0
    files = {file.path: file for file in pool.files()}
    assert sorted(files) == [tar.name for tar in tars] and {file.kind for file in files.values()} == {"img2dataset"}
    for tar in tars:
        (unit,) = files[tar.name].units
        theirs = pq.read_table(tar.with_suffix(".parquet")).to_pylist()
        ours = pool.read_raw(unit).to_pylist()
        assert [(row["url"], row["caption"], row["more"]) for row in ours] == [(row["url"], row["caption"], row["more"]) for row in theirs]
        with tarfile.open(tar) as opened:
            images = {name.partition(".")[0]: opened.extractfile(name).read() for name in opened.getnames() if name.endswith(".jpg")}
        kept = [row for row in ours if row["status"] == "success"]
        assert pool.read_bytes(unit, [row["offset"] for row in kept], [row["size"] for row in kept]) == [images[row["key"]] for row in kept]
        assert len(kept) == len(images)
        for row, told in zip(ours, theirs, strict=True):
            seen += 1
            if int(told["url"].rpartition("/")[2]) % MISSING == 0:
                assert (row["status"], row["error_message"]) == ("failed_to_download", "http_404: HTTP Error 404: OK")
            else:
                assert row["status"] == "success" and row["sha256"] == hashlib.sha256(images[row["key"]]).hexdigest()
                assert (row["width"], row["height"], row["original_width"], row["original_height"]) == (24, 16, 30, 20)
                assert row["expected_sha256"] == told["sha256"] == hashlib.sha256(noise(int(told["more"]))).hexdigest() != row["sha256"]
    assert seen == PAIRS
