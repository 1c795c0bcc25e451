"""A user's own scorer, in a package of theirs, through the main job in its default mode: several processes."""

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from schemas.pool import Pool
from schemas.release import Release, latest
from tests.conftest import ingest

SCORER = '''
"""How red a picture is."""

import pyarrow as pa

from schemas.columns import field


class Red:
    name, version, needs = "my_red", "1", ()
    fields = pa.schema([field("share", pa.float32(), meaning="share of red in the mean colour", range=(0, 1), better="higher")])

    def load(self):
        pass

    def score(self, batch):
        means = [None if image is None else image.reshape(-1, image.shape[-1])[:, :3].mean(0) for image in batch.pixels(side=64)]
        shares = [None if mean is None else round(float(mean[0] / max(1.0, mean.sum())), 4) for mean in means]
        return pa.record_batch([pa.array(shares, pa.float32())], schema=self.fields)
'''
POLICY = """
name = "red"
[[rule]]
column = "my_red.share"
scorer = "my_red:1"
min = 0.4
reason = "image:empty"
"""


def make(root: Path) -> dict[str, str]:
    package = root / "code" / "my_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "scorers.py").write_text(SCORER)
    (root / "policy.toml").write_text(POLICY)
    (root / "photos").mkdir()
    for name, colour in (("red", (200, 10, 10)), ("blue", (10, 10, 200)), ("grey", (90, 90, 90))):
        Image.new("RGB", (96, 96), colour).save(root / "photos" / f"{name}.png")
        (root / "photos" / f"{name}.txt").write_text(f"a {name} square")
    path = [str(root / "code"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in path if part)}


def test_its_column_is_scored_stored_and_decided_by(tmp_path):
    env = make(tmp_path)
    flags = ["--dataset", tmp_path / "data", "--source", tmp_path / "photos", "--scorers", "image,nsfw,embed,clip", "--unit_size", "2"]
    flags += ["--engine", "onnxruntime-f32", "--policy", tmp_path / "policy.toml", "--workers", "2", "--json"]
    run = ingest(*flags, "--scorer", "my_package.scorers:Red", env=env)
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout)
    assert (told["funnel"]["keep"], told["funnel"]["drop"]) == (1, 2)
    pool = Pool(tmp_path / "data")
    release = Release(pool.store, str(latest(pool.store)))
    rows = [row for unit in sorted(pool.committed()) for row in release.read_decisions(unit).to_pylist()]
    names = [name for unit in sorted(pool.committed()) for name in pool.read_raw(unit, ["file_name"])["file_name"].to_pylist()]
    assert {name: row["my_red.share"] for name, row in zip(names, rows, strict=True)} == {
        "blue.png": row_value(10, 220),
        "grey.png": row_value(90, 270),
        "red.png": row_value(200, 220),
    }
    assert {name for name, row in zip(names, rows, strict=True) if row["verdict"] == "keep"} == {"red.png"}
    assert "my_red.share" in release.read_index(0).column_names


def row_value(red: int, total: int) -> float:
    return float(np.float32(round(red / total, 4)))


def test_mistakes_are_told(tmp_path):
    for spec, words in (("image", "write package.module:Class"), ("no_such.module:Red", "no_such")):
        run = ingest("--dataset", tmp_path / "d", "--scorer", spec)
        assert run.returncode == 2 and words in run.stderr and "Traceback" not in run.stderr, run.stderr
        assert not (tmp_path / "d").exists()
