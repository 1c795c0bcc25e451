"""Verify: a whole dataset has no finding; each of many damages has one, which names it."""

import datetime
import hashlib
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.ingest import main as ingest
from pipelines.verify.__main__ import main
from pipelines.verify.dataset import verify
from schemas.columns import HOSTS
from schemas.pool import Pool
from tests.appending import FLAGS
from tests.conftest import Done
from tests.pipelines.corruptions import CORRUPTIONS, Corruption, Dataset
from tests.tars import sample, write_tar


@pytest.fixture(scope="module")
def whole(appended, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The appended dataset, with a host's readings and a derived file, as others have them."""
    root = Path(shutil.copytree(appended[0], tmp_path_factory.mktemp("whole") / "data"))
    _, before, after = appended
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    reading = {"origin": "http://a.test", "read_at": moment, "robots_answer": "ok", "robots": b"User-agent: *"}
    Pool(root).put_hosts("0a", pa.Table.from_pylist([{**dict.fromkeys(HOSTS.names), **reading}], HOSTS))
    type(after)(root, after.name).put_derived("report/report.html", b"a report")
    return root, before.name, after.name


def dataset_of(whole: tuple[Path, str, str], folder: Path) -> Dataset:
    data = Dataset(Path(shutil.copytree(whole[0], folder / "data")), *whole[1:])
    data.hosts = next(path for path, _ in data.pool.store.list("pool/hosts"))
    size = data.sample["size"]
    data.text_at = data.sample["offset"] + size + -size % 512 + 512
    return data


def test_a_whole_dataset_has_no_finding(whole, done: Done):
    assert list(verify(Pool(whole[0]))) == []
    assert list(verify(done.pool)) == []


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_each_damage_is_named_and_nothing_else(whole, tmp_path, corruption: Corruption):
    data = dataset_of(whole, tmp_path)
    corruption.damage(data)
    found = list(verify(Pool(data.root)))
    assert len(found) == 1, "\n".join(finding.text() for finding in found)
    path, place = corruption.path.format(**vars(data)), corruption.place.format(**vars(data))
    assert found[0].path == path.replace(f"{data.unit}.json", f"{data.unit[:16]}.json")
    assert place in found[0].place and bool(place) == bool(found[0].place) and corruption.what in found[0].what
    assert found[0].todo


def test_the_command_tells_what_is_wrong_and_what_to_do(whole, tmp_path, capfd):
    data = dataset_of(whole, tmp_path)
    base = ["--dataset", str(data.root)]
    assert main(base) == 0
    out, _ = capfd.readouterr()
    assert out.startswith("nothing is wrong; ")
    data.flip(data.tar, data.sample["offset"] + 99)
    assert main([*base, "--json"]) == 1
    (line,) = capfd.readouterr().out.splitlines()
    told, image = json.loads(line), data.path(data.tar).read_bytes()[data.sample["offset"] :][: data.sample["size"]]
    assert told == {
        "path": data.tar, "place": data.sample["member"], "what": "sha256 of the image", "expected": data.sample["sha256"],
        "found": hashlib.sha256(image).hexdigest(), "todo": "restore it from a copy",
    }  # fmt: skip
    assert main([*base, "--pool"]) == 0 and main([*base, "--release", data.before.name]) == 0
    assert main([*base, "--pool", "--release", data.after.name]) == 1
    out = capfd.readouterr().out
    assert f"{data.tar}, {data.sample['member']}: sha256 of the image: expected {data.sample['sha256']}, found " in out
    assert "\n  restore it from a copy\n1 finding; " in out


def test_a_tar_of_the_users_that_was_changed_is_told(tmp_path):
    tar = write_tar(tmp_path / "mine.tar", [member for number in range(3) for member in sample(f"{number:04}", number)])
    assert ingest(["--dataset", str(tmp_path / "data"), "--source", str(tar), *FLAGS[:4], "--stop_after", "fetch"]) == 0
    pool = Pool(tmp_path / "data")
    assert list(verify(pool)) == []
    times, data = tar.stat(), bytearray(tar.read_bytes())
    data[600] ^= 1
    tar.write_bytes(data)
    os.utime(tar, ns=(times.st_atime_ns, times.st_mtime_ns))  # as it was measured, but for its bytes
    (found,) = verify(pool)
    assert (found.path, found.place[:5], found.what) == (str(tar), "row 0", "sha256 of the image")
    os.utime(tar, ns=(1, 1))
    (found,) = verify(pool)
    assert found.what == "your own tar is not as it was measured" and "cp -p" in found.todo
