"""Append through the main job, as a user types it: the pairs and bytes of a run from scratch, and old shards alone that had to change."""

import csv
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.ingest import main
from pipelines.options import UsageError
from schemas.pool import Pool
from schemas.release import Release, latest
from tests.conftest import digests

BASE, NEW, SHARDS = 60, 6, 6
POLICY = """name = "appended"
similarity = "image.sharpness"
[duplicates]
near = true
[[rule]]
column = "image.smallest_side"
min = 16
reason = "image:too_small"
"""
TOP = '[[rule]]\ncolumn = "image.entropy"\ntop_fraction = 0.5\nof = "passing"\nreason = "image:empty"\n'
FLAGS = ("--running_mode", "in_memory", "--workers", "1", "--scorers", "image", "--unit_size", "20", "--shard_count", str(BASE // SHARDS))
TWIN_OF = 7  # of the base, whose better twin is among the new pairs


def png(number: int, scale: int = 8) -> bytes:
    """Blocks, some columns of them white, so that entropies differ."""
    pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    pixels[:, 8 - number % 4 :] = 255
    out = io.BytesIO()
    Image.fromarray(np.kron(pixels, np.ones((scale, scale, 1), np.uint8))).save(out, "png")
    return out.getvalue()


def folder(path: Path, pairs: dict[str, bytes]) -> Path:
    path.mkdir()
    with (path / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file_name", "caption", "license"))
        for number, (caption, data) in enumerate(pairs.items()):
            (path / f"{number}.png").write_bytes(data)
            rows.writerow((f"{number}.png", caption, "CC BY 4.0"))
    return path


def captions(first: int, count: int) -> dict[str, bytes]:
    return {f"blocks number {number}": png(number) for number in range(first, first + count)}


def run(root: Path, *flags: str | Path) -> Release:
    assert main(["--dataset", str(root), *map(str, flags), *FLAGS]) == 0
    store = Pool(root).store
    return Release(store, str(latest(store)))


def uid_of(release: Release, caption: str) -> str | None:
    indexes = [release.read_index(shard.shard, ["uid", "caption"]).to_pylist() for shard in release.shards()]
    return next((row["uid"] for index in indexes for row in index if row["caption"] == caption), None)


def kept(release: Release) -> set[str]:
    return {uid for shard in release.shards() for uid in release.read_index(shard.shard, ["uid"])["uid"].to_pylist()}


def samples(release: Release) -> dict[str, bytes]:
    """Members of all tars by name."""
    found = {}
    for shard in release.shards():
        with tarfile.open(release.store.path_of(release.shard_path(shard.shard, "tar"))) as tar:
            found.update({member.name: tar.extractfile(member).read() for member in tar})
    return found


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("sources")
    twin = {f"blocks number {TWIN_OF}": png(TWIN_OF, 16)}  # the same picture of twice the side
    return folder(place / "base", captions(0, BASE)), folder(place / "new", {**captions(BASE, NEW), **twin})


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "appended.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture(scope="module")
def appended(sources, policy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release, Release]:
    """(dataset, its release before the append, its release after)."""
    root = tmp_path_factory.mktemp("appended") / "data"
    before = run(root, "--source", sources[0], "--policy", policy)
    return root, before, run(root, "--source", sources[1], "--add_source", "--policy", policy)


@pytest.fixture(scope="module")
def scratch(sources, policy, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A run that has both sources before it decides anything."""
    root = tmp_path_factory.mktemp("scratch") / "data"
    main(["--dataset", str(root), "--source", str(sources[0]), *FLAGS, "--stop_after", "score"])
    return run(root, "--source", sources[1], "--add_source", "--policy", policy)


def test_an_append_keeps_the_pairs_and_bytes_of_a_run_from_scratch(appended, scratch):
    _, before, after = appended
    assert len(kept(before)) == BASE and kept(after) == kept(scratch) and len(kept(after)) == BASE + NEW
    assert samples(after) == samples(scratch)
    assert scratch.manifest()["parent"] is None and scratch.references() == {}
    ours, theirs = after.manifest(), scratch.manifest()
    for name in ("counts", "funnel", "policy_digest", "licenses"):
        assert ours[name] == theirs[name]
    assert {unit: told["decisions"] for unit, told in ours["units"].items()} == {
        unit: told["decisions"] for unit, told in theirs["units"].items()
    }


def test_the_shard_that_lost_to_a_better_twin_is_written_again_and_no_other_old_one(appended):
    _, before, after = appended
    lost = uid_of(before, f"blocks number {TWIN_OF}")
    (shard,) = (one.shard for one in before.shards() if lost in before.read_index(one.shard)["uid"].to_pylist())
    assert after.own_shards() == {shard, SHARDS}
    assert after.references() == {number: before.name for number in range(SHARDS) if number != shard}
    assert after.manifest()["parent"] == before.name
    assert after.manifest()["generations"] == [{"first_shard": 0, "shards": SHARDS}, {"first_shard": SHARDS, "shards": 1}]


def test_the_same_command_again_makes_no_other_release(appended, sources, policy, capfd):
    root, _, after = appended
    for flags in (("--source", sources[1], "--add_source"), (), ("--start_at", "select"), ("--parent", after.name)):
        assert run(root, *flags, "--policy", policy).name == after.name
        assert "already published" in capfd.readouterr().out


def test_the_same_pool_and_parent_give_the_same_bytes(appended, sources, policy, tmp_path):
    _, before, after = appended
    root = tmp_path / "data"
    run(root, "--source", sources[0], "--policy", policy)
    again = run(root, "--source", sources[1], "--add_source", "--policy", policy, "--release", "again", "--parent", before.name)
    assert again.manifest()["digest"] == after.manifest()["digest"]
    assert digests(root) == digests(appended[0]) and again.references() == after.references()


def test_another_target_or_shard_size_begins_a_line(appended, policy, tmp_path):
    root = Path(shutil.copytree(appended[0], tmp_path / "data"))
    smaller = run(root, "--start_at", "select", "--policy", policy, "--image_size", "32")
    assert smaller.references() == {} and smaller.manifest()["parent"] == appended[2].name  # which it is compared with
    with pytest.raises(UsageError, match=f"--parent {appended[1].name}: its shards were written with target digest .*leave --parent out"):
        run(root, "--start_at", "select", "--policy", policy, "--image_size", "48", "--parent", appended[1].name)
    with pytest.raises(UsageError, match="no published release nobody"):
        run(root, "--start_at", "select", "--policy", policy, "--parent", "nobody")
    # Its own line goes on behind the release of another.
    (tmp_path / "stricter.toml").write_text(POLICY.replace("min = 16", "min = 17"))
    assert run(root, "--start_at", "select", "--policy", tmp_path / "stricter.toml").references() == {}
    more = folder(tmp_path / "more", captions(BASE + NEW, 4))
    third = run(root, "--source", more, "--add_source", "--policy", policy)
    assert third.manifest()["parent"] == appended[2].name and third.own_shards() == {SHARDS + 1}
    assert set(third.references().values()) == {appended[1].name, appended[2].name}
    whole = run(root, "--start_at", "select", "--policy", policy, "--parent", "none")
    assert whole.references() == {} and kept(whole) == kept(third) and samples(whole) == samples(third)


def test_a_moved_cut_writes_the_shards_of_those_that_changed_sides(sources, policy, tmp_path):
    top = tmp_path / "top.toml"
    top.write_text(POLICY + TOP)
    root = tmp_path / "data"
    before = run(root, "--source", sources[0], "--policy", top)
    after = run(root, "--source", sources[1], "--add_source", "--policy", top)
    moved = kept(before) ^ kept(after)
    of_shard = {
        uid: shard.shard for one in (before, after) for shard in one.shards() for uid in one.read_index(shard.shard)["uid"].to_pylist()
    }
    changed = {of_shard[uid] for uid in moved}
    assert changed - {shard.shard for shard in after.shards()[len(before.shards()) :]}, "the cut moved over some old pair"
    assert after.own_shards() == changed
