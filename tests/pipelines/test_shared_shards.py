"""Shards by reference: a release that refers to an earlier one's shards is read as if it had them, and writes those alone that differ."""

import json
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from pipelines import shards as shards_module
from pipelines.publish import publish
from pipelines.steps.write_shards import WriteShards, generations_after, references_of_line, shards_of
from quality.gates import GateResults
from quality.images import Converted, Target, convert
from schemas.pool import Pool
from schemas.release import Release, ReleaseError
from tests.pools import PASS, unit
from tests.releases import SHARDS, add_unit, make_release, write_shards
from training.releases import open_release
from training.shards import Loader, webdataset_of


def no_gates(*_: object) -> GateResults:
    return GateResults(())


def append(pool: Pool, parent: Release, name: str, *, drop: str | None = None) -> Release:
    """A release of the parent's units and one more, published. drop: a uid that the parent keeps and this one does not."""
    release = Release(pool.store, name)
    add_unit(pool, release, 3, Path(pool.store.root).parent)
    return decide_again(pool, parent, name, drop=drop, shards=1)


def decide_again(pool: Pool, parent: Release, name: str, *, drop: str | None = None, shards: int = 0, own: bool = False) -> Release:
    """A release with the parent's decisions, but for the pair `drop`, published. shards: how many new ones. own: written without a look at the
    parent's."""
    release = Release(pool.store, name)
    for unit_ in parent.manifest()["units"]:
        table = parent.read_decisions(unit_)
        rows = [{**row, "verdict": "drop"} if row["uid"] == drop else row for row in table.to_pylist()]
        release.put_decisions(unit_, pa.Table.from_pylist(rows, table.schema))
    generations = generations_after(parent, shards)
    run = {**(parent.run() or {}), "digest": name, "parent": parent.name, "inherits": parent.name, "referenced": {}}
    release.put_run({**run, "generations": generations.told(), "shards": generations.total})
    write = WriteShards(
        pool, release, Target("no", format="original"), shards=shards, score_columns=[(PASS.name, ["clip.similarity"])], parent=parent
    )
    if own:
        write.writer.parent = None
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        numbers = pipeline | beam.Create(sorted(pool.committed())) | write
        assert_that(numbers, equal_to(list(range(generations.total))))
    release.put_run({**(release.run() or {}), "referenced": references_of_line(release, parent)})
    publish(pool, release, gates=no_gates)
    return release


@pytest.fixture
def first(tmp_path: Path) -> tuple[Pool, Release]:
    pool, release = make_release(tmp_path, planned=4)
    publish(pool, release, gates=no_gates, allow_missing=True)
    return pool, release


def uids(release: Release, shard: int) -> list[str]:
    return release.read_index(shard, ["uid"])["uid"].to_pylist()


def test_an_append_writes_new_shards_alone(first):
    pool, parent = first
    release = append(pool, parent, "two")
    assert release.own_shards() == {3} and release.references() == {0: "one", 1: "one", 2: "one"}
    assert [(entry["shard"], entry["path"]) for entry in release.manifest()["shards"]] == [
        (0, "../one/shards/000000.tar"),
        (1, "../one/shards/000001.tar"),
        (2, "../one/shards/000002.tar"),
        (3, "shards/000003.tar"),
    ]
    assert release.manifest()["generations"] == [{"first_shard": 0, "shards": 3}, {"first_shard": 3, "shards": 1}]
    assert [told["generation"] for _, told in sorted(release.manifest()["units"].items())] == [0, 0, 0, 1]
    assert [release.read_index(shard).equals(parent.read_index(shard)) for shard in range(SHARDS)] == [True] * 3
    new = pool.read_raw(unit(3), ["uid"])["uid"].to_pylist()
    assert set(uids(release, 3)) == set(new[:6])


def test_a_shard_whose_member_left_is_written_again_and_no_other(first):
    pool, parent = first
    gone = uids(parent, 1)[0]
    release = append(pool, parent, "two", drop=gone)
    assert release.own_shards() == {1, 3} and set(release.references()) == {0, 2}
    assert uids(release, 1) == uids(parent, 1)[1:]
    third = decide_again(pool, release, "three")
    assert third.own_shards() == set() and third.references() == {0: "one", 1: "two", 2: "one", 3: "two"}


@pytest.mark.parametrize("damaged", [False, True])
def test_what_the_parent_has_converted_is_not_converted_again_unless_it_is_damaged(first, monkeypatch, damaged):
    pool, parent = first
    target = Target("no", format="original")
    parent.put_run({**(parent.run() or {}), "target_digest": target.digest()})
    gone, stays, *_ = parent.read_index(1).to_pylist()
    if damaged:
        path = Path(pool.store.path_of(parent.shard_path(1, "tar")))
        data = bytearray(path.read_bytes())
        data[stays["offset"] + 30] ^= 1
        path.write_bytes(data)
    converted = list[bytes]()

    def counting(stored: bytes, target: Target) -> Converted:
        converted.append(stored)
        return convert(stored, target)

    monkeypatch.setattr(shards_module, "convert", counting)
    release = append(pool, parent, "two", drop=gone["uid"])
    assert release.own_shards() == {1, 3} and len(converted) == 6 + damaged  # the six new pairs
    assert release.read_index(1, ["uid", "sha256", "width", "height"]).to_pylist() == [
        {name: row[name] for name in ("uid", "sha256", "width", "height")} for row in parent.read_index(1).to_pylist()[1:]
    ]
    scratch = decide_again(pool, release, "three", own=True)
    assert scratch.references() == {} and [one.sha256 for one in scratch.shards()][1] == [one.sha256 for one in release.shards()][1]


def test_the_whole_release_is_loaded_for_training(first):
    pool, parent = first
    release = append(pool, parent, "two")
    training = open_release(pool.store.root, licenses=None, optouts=False)
    assert training.release.name == "two" and len(training.samples) == 24
    loader = Loader(training, size=32, batch=4, ahead=0)
    seen = [uid for batch, _ in zip(loader, range(5), strict=False) for uid in batch.uids]
    assert len(set(seen)) == 20
    kept = {uid for shard in range(4) for uid in uids(release, shard)}
    assert {sample["__key__"] for sample in webdataset_of(training, shuffle=0)} == kept == {training.samples.uid_of(n) for n in range(24)}


def test_an_index_whose_release_is_gone_is_told(first):
    pool, parent = first
    release = append(pool, parent, "two")
    for path in [path for path, _ in pool.store.list(parent.path)]:
        pool.store.delete(path)
    with pytest.raises(ReleaseError, match=r"release two has its shard 0 in release one, and .*000000.parquet is not there; restore it"):
        Release(pool.store, "two").read_index(0)
    assert [shard.shard for shard in release.shards()] == [3]


@pytest.mark.parametrize("path", ["../../etc/shards/000000.tar", "../one/shards/000001.tar", "/tmp/000000.tar", "../../shards/000000.tar"])
def test_a_path_that_no_release_has_is_refused(first, path):
    pool, _ = first
    manifest = json.loads(pool.store.read("releases/one/manifest.json"))
    manifest["shards"][0]["path"] = path
    pool.store.put("releases/one/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ReleaseError, match=r"shard 0 has the path .*, which no release has"):
        Release(pool.store, "one").shard_path(0, "tar")


def test_an_equal_input_gives_an_equal_digest_whatever_else_is_written(tmp_path):
    pool, release = make_release(tmp_path)
    other = Release(pool.store, "again")
    for chunk in range(3):
        other.put_decisions(unit(chunk), release.read_decisions(unit(chunk)))
    write_shards(pool, other)
    assert [shard.input_digest for shard in other.shards()] == [shard.input_digest for shard in release.shards()]
    assert len({shard.input_digest for shard in release.shards()}) == SHARDS


def test_pairs_are_spread_over_the_shards_of_their_generation(first):
    pool, parent = first
    release = append(pool, parent, "two")
    for shard in range(SHARDS):
        assert (shards_of(release.read_index(shard)["uid"], SHARDS) == shard).all()
