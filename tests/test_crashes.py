"""The main job over pairs that crash native code in its worker processes: it ends, says which they were, and loses nothing else."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from pipelines.steps.score_apart import CRASHED
from schemas.pool import Pool
from tests.conftest import ROOT, ingest
from tests.crashing import HANGING_DECODER, put_decoder, trap
from tests.scoring import SAMPLE

TRAPS = {"b-05.jpg": 5, "b-17.jpg": 17}  # file: shade; two units of ten have one each
JOB = ("--unit_size", "10", "--workers", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """30 pairs; the traps stand among them, and decode where nothing is spoilt."""
    made = tmp_path_factory.mktemp("pairs") / "pairs"
    made.mkdir()
    images = sorted((SAMPLE / "images").rglob("*.jpg"))[:30]
    for number, image in enumerate(images):
        name = f"b-{number:02d}.jpg"
        if name in TRAPS:
            (made / name).write_bytes(trap(TRAPS[name]))
        else:
            shutil.copy(image, made / name)
        (made / name).with_suffix(".txt").write_text(f"a drawing of something, number {number}", "utf-8")
    return made


def rows_of(pool: Pool) -> dict[str, dict]:
    return {row["file_name"]: {**row, "unit": unit} for unit in sorted(pool.committed()) for row in pool.read_raw(unit).to_pylist()}


def without_place(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "offset"}


def test_a_crash_while_fetching(folder, tmp_path):
    """Resized, by a decoder that crashes: the graph goes on by itself, twice for each trap."""
    resized = (
        "--source",
        folder,
        "--store",
        "resized",
        "--store_size",
        "32",
        "--stop_after",
        "fetch",
        *JOB,
    )  # smaller: nothing is copied undecoded
    path = os.pathsep.join([put_decoder(tmp_path / "decoder"), str(ROOT)])
    run = ingest("--dataset", tmp_path / "crashed", *resized, env={**os.environ, "PYTHONPATH": path})
    assert run.returncode == 0, run.stdout + run.stderr
    assert "a worker process was ended by SIGSEGV; going on from the commits" in run.stdout
    plain = ingest("--dataset", tmp_path / "plain", *resized)
    assert plain.returncode == 0, plain.stdout + plain.stderr
    pool, other = Pool(tmp_path / "crashed"), Pool(tmp_path / "plain")
    found, expected = rows_of(pool), rows_of(other)
    assert Counter(row["status"] for row in expected.values()) == {"success": 30}
    assert {name: (row["status"], row["error_message"]) for name, row in found.items() if row["status"] != "success"} == dict.fromkeys(
        TRAPS, ("crashed", "crashed")
    )
    for name in set(found) - set(TRAPS):
        assert without_place(found[name]) == without_place(expected[name])
        (mine,), (theirs,) = (
            rows.read_bytes(row["unit"], [row["offset"]], [row["size"]]) for rows, row in ((pool, found[name]), (other, expected[name]))
        )
        assert mine == theirs
    assert list(pool.store.list("pool/attempts")) == []


def test_a_hang_while_fetching(folder, tmp_path):
    """A decoder that does not come back at a trap, in two attempts and then apart; seconds instead of minutes."""
    (tmp_path / "decoder").mkdir()
    (tmp_path / "decoder" / "sitecustomize.py").write_text(HANGING_DECODER)
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for path in sorted(folder.iterdir()):
        if path.stem in ("b-04", "b-05", "b-06", "b-12"):  # two units of three, since others have to go on
            shutil.copy(path, pairs / path.name)
    resized = ("--store", "resized", "--store_size", "32", "--stop_after", "fetch", "--unit_size", "3", "--workers", "2")
    path = os.pathsep.join([str(tmp_path / "decoder"), str(ROOT)])
    run = ingest("--dataset", tmp_path / "d", "--source", pairs, *resized, env={**os.environ, "PYTHONPATH": path})
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("a worker process was ended by SIGABRT; going on from the commits") == 2
    told = {name: (row["status"], row["error_message"]) for name, row in rows_of(Pool(tmp_path / "d")).items()}
    assert told == {**dict.fromkeys(("b-04.jpg", "b-06.jpg", "b-12.jpg"), ("success", None)), "b-05.jpg": ("crashed", "crashed")}


def test_a_crash_while_scoring(folder, tmp_path):
    """A user's scorer that crashes: the pairs are told, and all others have their scores."""
    scorers = ("--scorers", "image", "--scorer", "tests.crashing:Crashes", "--stop_after", "score")
    run = ingest("--dataset", tmp_path / "data", "--source", folder, *scorers, *JOB)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "a worker process was ended by SIGSEGV; going on from the commits" in run.stdout
    pool = Pool(tmp_path / "data")
    (pass_,) = pool.passes()
    seen = {}
    for unit in sorted(pool.committed()):
        names = pool.read_raw(unit)["file_name"].to_pylist()
        scores = pool.read_scores(pass_.name, unit, ["image.error", "image.entropy", "lengths.caption", "lengths.bytes"]).to_pylist()
        seen |= dict(zip(names, scores, strict=True))
    assert len(seen) == 30
    for name, row in seen.items():
        if name in TRAPS:
            assert row == {"image.error": CRASHED, "image.entropy": None, "lengths.caption": None, "lengths.bytes": None}
        else:
            assert row["image.error"] is None
            assert row["lengths.bytes"] == (folder / name).stat().st_size and row["image.entropy"] > 0
    assert list(pool.store.list("pool/attempts")) == []
