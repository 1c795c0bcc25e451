"""Exports: what is in them is what the release has; they are there whole or not at all, and never in the place of anything else."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipelines import export
from pipelines.exports import pictures
from pipelines.options import UsageError
from pipelines.publish import publish
from quality.block_lists import ENVIRONMENT
from schemas.pool import Pool
from schemas.release import Release
from schemas.store import StoreError, open_store
from tests.block_lists import write_lists
from tests.conftest import ROOT
from tests.releases import make_release

PICTURES = ("imagefolder", "hf-webdataset", "parquet")


def told(chunk: int, row: int) -> dict:
    return {"license": "CC BY 4.0", "creator": f"Ann {chunk}", "title": None if chunk else "a title"}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    publish(*make_release(folder, told=told))
    return folder / "data"


@pytest.fixture
def data(once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(once, tmp_path / "data"))


def run(data: Path, format_: str, out: Path, *flags: str) -> int:
    return export.main(["--dataset", str(data), "--format", format_, "--out", str(out), *flags])


def kept(data: Path) -> dict[str, dict]:
    """By uid: the row of the index, and the image's bytes in the shard."""
    release = Release(Pool(data).store, "one")
    rows = {}
    for shard in release.shards():
        tar = release.store.read(release.shard_path(shard.shard, "tar"))
        for row in release.read_index(shard.shard).to_pylist():
            rows[row["uid"]] = {**row, "image": tar[row["offset"] : row["offset"] + row["size"]]}
    return rows


def exported(out: Path, format_: str) -> dict[str, tuple[str, bytes]]:
    """By uid: caption and image bytes, read without any of our code."""
    if format_ == "imagefolder":
        lines = [json.loads(line) for line in (out / "train" / "metadata.jsonl").read_text("utf-8").splitlines()]
        return {line["uid"]: (line["text"], (out / "train" / line["file_name"]).read_bytes()) for line in lines}
    if format_ == "parquet":
        rows = [row for path in sorted((out / "data").iterdir()) for row in pq.read_table(path).to_pylist()]
        return {row["uid"]: (row["text"], row["image"]["bytes"]) for row in rows}
    members: dict[str, dict[str, bytes]] = {}
    for path in sorted((out / "data").iterdir()):
        with tarfile.open(path) as tar:
            for member in tar:
                members.setdefault(member.name[:32], {})[member.name[33:]] = tar.extractfile(member).read()
    return {uid: (parts["txt"].decode(), parts["jpg"]) for uid, parts in members.items()}


@pytest.mark.parametrize("format_", PICTURES)
def test_images_and_captions_are_those_of_the_shards(data, tmp_path, format_, capsys, monkeypatch):
    monkeypatch.setattr(pictures, "_WINDOW_BYTES", 5_000)  # several windows a shard
    assert run(data, format_, tmp_path / "out") == 0
    rows = kept(data)
    assert exported(tmp_path / "out", format_) == {uid: (row["caption"], row["image"]) for uid, row in rows.items()} and len(rows) == 18
    assert f"18 pairs of release one are in {tmp_path / 'out'}" in capsys.readouterr().out
    lines = pyarrow.csv.read_csv(tmp_path / "out" / "ATTRIBUTION.csv").to_pylist()
    assert {line["uid"] for line in lines} == set(rows), "attribution goes with the pictures"
    assert (tmp_path / "out" / "NOTICE").is_file() and (tmp_path / "out" / "OBLIGATIONS.md").is_file()
    mark = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (mark["format"], mark["release"], mark["pairs"], mark["listed"]) == (format_, "one", 18, 0)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_metadata_of_a_folder(data, tmp_path):
    assert run(data, "imagefolder", tmp_path / "out") == 0
    line = json.loads((tmp_path / "out" / "train" / "metadata.jsonl").read_text("utf-8").splitlines()[0])
    assert list(line) == ["file_name", "text", "uid", "width", "height", "license", "creator", "title", "url"], (
        "what nobody has is not told"
    )
    assert run(data, "imagefolder", tmp_path / "csv", "--csv") == 0
    rows = kept(data)
    table = pyarrow.csv.read_csv(tmp_path / "csv" / "train" / "metadata.csv")
    assert {row["uid"]: row["text"] for row in table.to_pylist()} == {uid: row["caption"] for uid, row in rows.items()}


def test_columns_of_the_parquet(data, tmp_path):
    assert run(data, "parquet", tmp_path / "out") == 0
    schema = pq.read_schema(tmp_path / "out" / "data" / "train-00000-of-00003.parquet")
    assert schema.names[:4] == ["image", "text", "uid", "width"] and "clip.similarity" in schema.names and "offset" not in schema.names
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"} and features["clip.similarity"] == {"dtype": "float32", "_type": "Value"}


@pytest.mark.parametrize("flags", [(), ("--csv",)])
def test_lists(data, tmp_path, flags):
    suffix = "csv" if flags else "parquet"
    read = pyarrow.csv.read_csv if flags else pq.read_table
    rows = kept(data)
    assert run(data, "laion", tmp_path / "laion", *flags) == 0
    found = [row for path in sorted((tmp_path / "laion").glob(f"*.{suffix}")) for row in read(path).to_pylist()]
    assert list(found[0]) == ["URL", "TEXT", "WIDTH", "HEIGHT", "LICENSE", "similarity", "uid"], "nothing that was not measured"
    for row in found:
        ours = rows[row["uid"]]
        assert (row["URL"], row["TEXT"], row["WIDTH"], row["HEIGHT"]) == (ours["url"], ours["caption"], ours["width"], ours["height"])
        assert row["similarity"] == pytest.approx(ours["clip.similarity"])
    assert run(data, "url-list", tmp_path / "urls", *flags) == 0
    found = [row for path in sorted((tmp_path / "urls").glob(f"*.{suffix}")) for row in read(path).to_pylist()]
    assert {row["uid"] for row in found} == set(rows)
    pool = Pool(data)
    for row in found:
        ours = rows[row["uid"]]
        raw = pool.read_raw(ours["unit"]).to_pylist()[ours["row"]]
        assert (row["url"], row["caption"], row["sha256"], row["creator"]) == (raw["url"], raw["caption"], raw["sha256"], raw["creator"])


def test_ids_are_datacomps(data, tmp_path):
    assert run(data, "datacomp-npy", tmp_path / "out") == 0
    array = np.load(tmp_path / "out" / "one.npy", allow_pickle=False)
    assert array.dtype == np.dtype("u8,u8") and [f"{high:016x}{low:016x}" for high, low in array.tolist()] == sorted(kept(data))


@pytest.mark.parametrize("format_", tuple(export.FORMATS))
def test_pairs_on_a_list_are_in_none(data, tmp_path, monkeypatch, capsys, format_):
    rows = kept(data)
    uid, listed = next(iter(sorted(rows.items())))
    monkeypatch.setenv(ENVIRONMENT, str(write_lists(tmp_path / "lists", {"urls": [listed["url"]]})))
    assert run(data, format_, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "17 pairs of release one" in said and "1 more that it kept is on a block list now" in said and "no url" not in said
    for path in (tmp_path / "out").rglob("*"):
        assert uid not in path.name
        if path.is_file():
            found = path.read_bytes()
            assert not any(
                trace in found for trace in (uid.encode(), listed["url"].encode(), listed["caption"].encode(), listed["image"])
            ), path
    if format_ in PICTURES:
        assert set(exported(tmp_path / "out", format_)) == set(rows) - {uid}


def test_nothing_is_overwritten_but_an_export_when_told(data, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert run(data, "laion", out) == 0, "an empty folder is nothing"
    with pytest.raises(UsageError, match="an export stands there; give another folder, or --overwrite"):
        run(data, "url-list", out)
    assert sorted(path.name for path in out.iterdir())[0] == "export.json"
    assert run(data, "datacomp-npy", out, "--overwrite") == 0
    assert sorted(path.name for path in out.iterdir()) == ["export.json", "one.npy"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(out)
    for place in ("mine", "file", "link"):
        with pytest.raises(UsageError, match="there is something that is no export"):
            run(data, "laion", tmp_path / place, "--overwrite")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(UsageError, match="--csv is for imagefolder, laion, url-list"):
        run(data, "parquet", tmp_path / "new", "--csv")
    gone = Release(open_store(data), "gone")
    gone.put_notice(superseded_by="one", why="takedown request 17", removal="0" * 12)
    with pytest.raises(UsageError, match=r"no published release two; there is one$"):
        run(data, "parquet", tmp_path / "new", "--release", "two")
    with pytest.raises(UsageError, match="no dataset here"):
        run(tmp_path / "none", "parquet", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_export_that_fails_leaves_nothing(data, tmp_path):
    tar = next((data / "releases" / "one" / "shards").glob("*2.tar"))
    tar.write_bytes(tar.read_bytes()[:600])
    with pytest.raises(StoreError, match="it was cut"):
        run(data, "imagefolder", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


_SLOW = """
import sys, time
from pipelines import export
from pipelines.exports import pictures
windows = pictures._windows
def slow(*args):
    for window in windows(*args):
        yield window
        print("a window", flush=True)
        time.sleep(60)
pictures._windows = slow
sys.exit(export.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("format_", ["imagefolder", "parquet"])
def test_an_export_that_is_killed_leaves_nothing_that_looks_whole_and_the_next_removes_it(data, tmp_path, format_):
    out = tmp_path / "out"
    flags = ["--dataset", str(data), "--format", format_, "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-c", _SLOW, *flags], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "a window\n"
    with pytest.raises(UsageError, match="another export is writing it"):
        run(data, "laion", out)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not out.exists() and [path.name for path in tmp_path.iterdir() if path.name != "data"] == [".out.exporting"]
    assert run(data, format_, out) == 0
    assert set(exported(out, format_)) == set(kept(data)) and not (tmp_path / ".out.exporting").exists()


def test_pairs_without_an_address_are_left_out_of_lists_and_counted(tmp_path, capsys):
    pool, release = make_release(tmp_path, told=lambda chunk, row: {"url": None} if row < 2 else {})
    publish(pool, release)
    assert run(tmp_path / "data", "url-list", tmp_path / "out") == 0
    assert "12 pairs of release one" in (said := capsys.readouterr().out) and "6 more have no url" in said
    assert sum(pq.read_metadata(path).num_rows for path in (tmp_path / "out").glob("*.parquet")) == 12


def test_it_runs_as_a_command(data, tmp_path):
    command = [sys.executable, "-m", "pipelines.export", "--dataset", str(data), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--format", "png"], cwd=ROOT, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 2 and "imagefolder" in done.stderr and "Traceback" not in done.stderr
