"""The main job on a WebDataset tar: published, reported and reviewed from images that stay in the user's tar."""

import csv
import hashlib
import io
import json
import os
import tarfile

from PIL import Image

from quality.block_lists import ENVIRONMENT
from schemas.pool import Pool
from schemas.release import Release, latest
from tests.block_lists import write_lists
from tests.conftest import QUICK, ROOT, ingest
from tests.crashing import put_decoder, trap
from tests.tars import sample, write_tar

PAIRS = 40


def test_a_tar_is_published_and_a_listed_image_is_told(tmp_path):
    folder = ROOT / "tests" / "data" / "sample"
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))[:PAIRS]
    images = [(folder / pair["file_name"]).read_bytes() for pair in pairs]
    members = []
    for number, (pair, image) in enumerate(zip(pairs, images, strict=True)):
        told = {name: value for name, value in pair.items() if value}
        members += [(f"{number:06}.{pair['file_name'].rpartition('.')[2]}", image), (f"{number:06}.json", json.dumps(told).encode())]
    tar = write_tar(tmp_path / "mine.tar", members)
    before, root = tar.read_bytes(), tmp_path / "d"
    lists = write_lists(tmp_path / "lists", {"sha256": [hashlib.sha256(images[33]).hexdigest()]})
    run = ingest("--dataset", root, "--source", tar, *QUICK, env={**os.environ, ENVIRONMENT: str(lists)})
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"these still hold images that a list stopped:\n    {tar}\n" in run.stdout
    assert tar.read_bytes() == before

    pool = Pool(root)
    release = Release(pool.store, str(latest(pool.store)))
    units = sorted(pool.committed())
    commits = [pool.raw_commit(unit) for unit in units]
    assert [commit is not None and commit.tar == str(tar) for commit in commits] == [True, False]
    decided = [row for unit in units for row in release.read_decisions(unit, ["uid", "verdict", "reasons"]).to_pylist()]
    assert [row["reasons"] for row in decided].count(["list:blocked"]) == 1
    kept = {row["uid"] for row in decided if row["verdict"] == "keep"}
    with tarfile.open(root / release.path / "shards" / "000000.tar") as shard:
        names = shard.getnames()
        assert {name.partition(".")[0] for name in names} == kept and len(kept) > PAIRS // 2
        for name in names:
            if name.endswith(".jpg"):
                Image.open(io.BytesIO(shard.extractfile(name).read())).load()

    for module, *flags in (("quality.report",), ("quality.review", "tasks"), ("pipelines.sweep",)):
        again = ingest(*flags, "--dataset", root, module=module)
        assert again.returncode == 0, again.stdout + again.stderr
    refused = ingest("--dataset", tmp_path / "e", "--source", tar, "--store", "resized")
    assert refused.returncode == 2 and "leave --store resized out" in refused.stderr and not (tmp_path / "e").exists()


def test_an_image_of_a_tar_that_ends_its_process_is_crashed(tmp_path):
    """A PDQ list has it decoded; the graph goes on by itself, and the third attempt finds the pair."""
    members = [member for number in range(6) for member in sample(f"{number:04}", number)]
    members += [("trap.jpg", trap()), ("trap.txt", b"a trap"), *sample("last", 9)]
    tar = write_tar(tmp_path / "mine.tar", members)
    lists = write_lists(tmp_path / "lists", {"pdq": ["ab" * 32]})
    path = os.pathsep.join([put_decoder(tmp_path / "decoder"), str(ROOT)])
    flags = ("--source", tar, "--stop_after", "fetch", "--workers", "2")
    run = ingest("--dataset", tmp_path / "d", *flags, env={**os.environ, ENVIRONMENT: str(lists), "PYTHONPATH": path})
    assert run.returncode == 0, run.stdout + run.stderr
    assert "a worker process was ended by SIGSEGV; going on from the commits" in run.stdout
    pool = Pool(tmp_path / "d")
    (unit,) = pool.committed()
    assert pool.read_raw(unit)["status"].to_pylist() == [*["success"] * 6, "crashed", "success"]
    assert list(pool.store.list("pool/attempts")) == [] and pool.images_of(pool.raw_commit(unit)) == str(tar)
