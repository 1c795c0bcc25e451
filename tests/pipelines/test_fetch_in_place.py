"""Units of a user's tar: measured where they lie, committed without a byte copied; a pair on a list makes the unit ours."""

import hashlib
import os
import tarfile
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from pipelines.fetch.in_place import tars_that_hold_listed
from pipelines.sources.listing import list_source
from pipelines.sources.rows import RowReader, index_file
from pipelines.steps.check_hosts import CheckHosts
from pipelines.steps.fetch_units import FetchUnits
from quality.block_lists import ENVIRONMENT, listed_pairs, read_lists
from schemas.attempts import FETCH, TRIES, Attempts
from schemas.pool import Pool
from schemas.store import StoreError
from tests.block_lists import write_lists
from tests.crashing import put_decoder, trap
from tests.pipelines.fetching import Server, settings
from tests.tars import sample, shot, write_tar


@pytest.fixture
def tar(tmp_path):
    columns = [{}, {"url": "http://bad.test/1.jpg"}, {}, {}]
    members = [member for number, more in enumerate(columns) for member in sample(f"{number:04}", number, f"n {number}", **more)]
    return write_tar(tmp_path / "mine" / "a.tar", [*members, ("0009.jpg", b"no image"), ("0009.txt", b"n 9"), ("none.txt", b"none")])


@pytest.fixture(autouse=True)
def folder(tmp_path):
    (tmp_path / "mine").mkdir()


def take(root: Path, tar: Path, *, unit_size: int = 100, **changes) -> tuple[Pool, list[str]]:
    """Runs the fetch step over a tar; returns the pool and its units."""
    pool = Pool(root)
    (entry,) = list_source(str(tar), {})
    units = index_file(pool, entry, unit_size=unit_size).units
    with beam.Pipeline(FnApiRunner(), options=PipelineOptions(direct_running_mode="in_memory")) as pipeline:
        fetched = pipeline | beam.Create(units) | FetchUnits(pool, RowReader(pool), settings(**changes), lists=read_lists(None).digest)
        assert_that(fetched, equal_to(units))
    return pool, units


def list_of(folder: Path, monkeypatch: pytest.MonkeyPatch, **lists: list[str]) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(write_lists(folder / "lists", lists)))


def test_images_stay_where_they_are(tmp_path, tar):
    before = tar.read_bytes()
    pool, (unit,) = take(tmp_path / "d", tar)
    commit = pool.raw_commit(unit)
    assert commit is not None and commit.tar == str(tar) and commit.tar_sha256 is None and pool.images_of(commit) == str(tar)
    rows = pool.read_raw(unit).to_pylist()
    assert [(row["status"], row["error_message"]) for row in rows] == [
        *[("success", None)] * 4,
        ("failed_to_download", "not_image"),
        ("failed_to_download", "missing_file: the tar has no image of the key none"),
    ]
    assert pool.read_bytes(unit, [row["offset"] for row in rows[:4]], [row["size"] for row in rows[:4]]) == [shot(n) for n in range(4)]
    assert [row["sha256"] for row in rows[:4]] == [hashlib.sha256(shot(n)).hexdigest() for n in range(4)]
    assert {(row["width"], row["height"], row["original_width"], row["format"]) for row in rows[:4]} == {(16, 16, 16, "jpeg")}
    assert [row["key"] for row in rows[:4]] == ["0000", "0001", "0002", "0003"]
    assert len({row["uid"] for row in rows}) == 6
    assert list((tmp_path / "d").rglob("*.tar")) == [] and tar.read_bytes() == before
    assert tars_that_hold_listed(pool, {}) == tars_that_hold_listed(pool, {unit: 0}) == []
    assert tars_that_hold_listed(pool, {unit: 1}) == [str(tar)], "a pair of it was listed later"


def test_what_ended_its_process_twice_is_measured_row_by_row(tmp_path, monkeypatch):
    """The decoder of processes that start now crashes at the trap, and a list of pictures has images decoded."""
    members = [*sample("0", 0, "n 0"), ("1.jpg", trap()), ("1.txt", b"a trap"), *sample("2", 2, "n 2")]
    tar = write_tar(tmp_path / "mine" / "a.tar", members)
    monkeypatch.setenv("PYTHONPATH", put_decoder(tmp_path / "decoder"), prepend=os.pathsep)
    list_of(tmp_path, monkeypatch, pdq=["f" * 64])
    (entry,) = list_source(str(tar), {})
    pool = Pool(tmp_path / "d")
    (unit,) = index_file(pool, entry, unit_size=100).units
    for _ in range(TRIES):
        Attempts(pool.store).begin(FETCH, unit)
    take(tmp_path / "d", tar)
    rows = pool.read_raw(unit, ["status", "error_message", "offset"]).to_pylist()
    assert [(row["status"], row["error_message"]) for row in rows] == [("success", None), ("crashed", "crashed"), ("success", None)]
    assert rows[1]["offset"] is None and pool.raw_commit(unit).tar == str(tar)
    assert Attempts(pool.store).noted() == {}


def test_sweep_leaves_the_users_tar_alone(tmp_path, tar):
    pool, (unit,) = take(tmp_path / "d", tar)
    assert pool.sweep() == [] and tar.is_file()
    Path(pool.store.path_of(f"pool/raw/{unit}.parquet")).unlink()
    assert pool.sweep() == [] and tar.is_file(), "not even where no commit names it any more"


def test_units_are_chunks_and_adopted_when_they_stand(tmp_path, tar):
    pool, units = take(tmp_path / "d", tar, unit_size=4)
    assert [pool.read_raw(unit)["caption"].to_pylist() for unit in units] == [["n 0", "n 1", "n 2", "n 3"], ["n 9", "none"]]
    before = [pool.store.read(f"pool/raw/{unit}.parquet") for unit in units]
    take(tmp_path / "d", tar, unit_size=4)
    assert [pool.store.read(f"pool/raw/{unit}.parquet") for unit in units] == before
    other, _ = take(tmp_path / "e", tar, unit_size=4)
    assert [other.read_raw(unit).equals(pool.read_raw(unit)) for unit in units] == [True, True]


def test_a_tar_that_was_changed_is_not_read(tmp_path, tar):
    pool, (unit,) = take(tmp_path / "d", tar)
    tar.write_bytes(tar.read_bytes()[::-1])
    with pytest.raises(StoreError, match="was changed after its images were measured"):
        pool.read_bytes(unit, [512], [10])


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_listed_image_makes_the_unit_ours(tmp_path, tar, monkeypatch, kind):
    list_of(tmp_path, monkeypatch, **{kind: [hashlib.new(kind, shot(2)).hexdigest()]})
    before = tar.read_bytes()
    pool, (unit,) = take(tmp_path / "d", tar)
    commit = pool.raw_commit(unit)
    assert commit is not None and commit.user_tar is None and commit.tar is not None
    rows = pool.read_raw(unit).to_pylist()
    assert [row["status"] for row in rows[:4]] == ["success", "success", "blocked", "success"]
    for number, row in enumerate(rows[:4]):
        if row["status"] == "blocked":
            assert {name for name, value in row.items() if value is not None} == {"row", "status", "error_message"}
        else:
            assert pool.read_bytes(unit, [row["offset"]], [row["size"]]) == [shot(number)] and row["key"] == f"{number:06}"
    with tarfile.open(pool.store.path_of(commit.tar)) as ours:
        assert ours.getnames() == [f"{number:06}.jpg" for number in (0, 1, 3)]
    assert tars_that_hold_listed(pool, {unit: 1}) == tars_that_hold_listed(pool, {}) == [str(tar)] and tar.read_bytes() == before
    assert pool.incidents()[unit] == {kind: 1}


def test_a_listed_address_makes_the_unit_ours(tmp_path, tar, monkeypatch):
    list_of(tmp_path, monkeypatch, domains=["bad.test"])
    pool, units = take(tmp_path / "d", tar, unit_size=2)
    assert [pool.read_raw(unit)["status"].to_pylist() for unit in units] == [
        ["success", "blocked"],
        ["success", "success"],
        ["failed_to_download", "failed_to_download"],
    ]
    commits = [pool.raw_commit(unit) for unit in units]
    assert [commit is not None and commit.user_tar is None for commit in commits] == [True, False, False]


def test_images_that_are_listed_later_are_found_in_the_users_tar(tmp_path, tar, monkeypatch):
    pool, (unit,) = take(tmp_path / "d", tar)
    list_of(tmp_path, monkeypatch, md5=[hashlib.md5(shot(3)).hexdigest()])
    assert listed_pairs(pool, unit, read_lists(None), [0, 1, 2, 3]).tolist() == [False, False, False, True]
    assert np.array_equal(listed_pairs(pool, unit, read_lists(None), [3]), [True])


def test_images_that_are_too_large_are_told(tmp_path, tar):
    pool, (unit,) = take(tmp_path / "d", tar, max_bytes=100)
    assert set(pool.read_raw(unit)["error_message"].to_pylist()[:4]) == {"too_large: more than 100 bytes"}


def test_no_host_of_a_tar_is_asked(tmp_path):
    with Server({}) as server:
        tar = write_tar(tmp_path / "mine" / "a.tar", sample("0001", 1, url=server.url("/1.jpg")))
        pool = Pool(tmp_path / "d")
        reader, (entry,) = RowReader(pool), list_source(str(tar), {})
        units = index_file(pool, entry, unit_size=10).units
        with beam.Pipeline(FnApiRunner(), options=PipelineOptions(direct_running_mode="in_memory")) as pipeline:
            named = pipeline | beam.Create(units) | CheckHosts(pool, reader, settings())
            assert_that(named | FetchUnits(pool, reader, settings()), equal_to(units))
        assert server.log == [] and pool.read_raw(units[0])["status"].to_pylist() == ["success"]


@pytest.mark.parametrize("optouts", ["obey", "record"])
def test_what_an_image_says_of_mining_is_obeyed(tmp_path, optouts):
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        b'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" plus:DataMining="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"/></rdf:RDF></x:xmpmeta>'
    )
    said = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    image = shot(1)[:2] + b"\xff\xe1" + (len(said) + 2).to_bytes(2, "big") + said + shot(1)[2:]
    tar = write_tar(tmp_path / "mine" / "a.tar", [("0001.jpg", image), ("0001.txt", b"c")])
    pool, (unit,) = take(tmp_path / "d", tar, optouts=optouts)
    (row,) = pool.read_raw(unit).to_pylist()
    assert (row["optout"], row["optout_signals"]) == ("disallowed", "plus:DMI-PROHIBITED")
    assert (row["status"], row["offset"] is None) == (("refused", True) if optouts == "obey" else ("success", False))
