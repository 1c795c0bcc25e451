"""Append through the main job, as a user types it: the pairs and bytes of a run from scratch, and old shards alone that had to change."""

import shutil
import tarfile
from pathlib import Path

import pytest

from pipelines.ingest import main
from pipelines.options import UsageError
from schemas.release import Release
from tests.appending import BASE, FLAGS, NEW, POLICY, SHARDS, TOP, TWIN_OF, captions, folder, run
from tests.conftest import digests


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
def scratch(append_sources, append_policy, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A run that has both sources before it decides anything."""
    root = tmp_path_factory.mktemp("scratch") / "data"
    main(["--dataset", str(root), "--source", str(append_sources[0]), *FLAGS, "--stop_after", "score"])
    return run(root, "--source", append_sources[1], "--add_source", "--policy", append_policy)


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


def test_the_same_command_again_makes_no_other_release(appended, append_sources, append_policy, capfd):
    root, _, after = appended
    for flags in (("--source", append_sources[1], "--add_source"), (), ("--start_at", "select"), ("--parent", after.name)):
        assert run(root, *flags, "--policy", append_policy).name == after.name
        assert "already published" in capfd.readouterr().out


def test_the_same_pool_and_parent_give_the_same_bytes(appended, append_sources, append_policy, tmp_path):
    _, before, after = appended
    root = tmp_path / "data"
    run(root, "--source", append_sources[0], "--policy", append_policy)
    again = run(
        root, "--source", append_sources[1], "--add_source", "--policy", append_policy, "--release", "again", "--parent", before.name
    )
    assert again.manifest()["digest"] == after.manifest()["digest"]
    assert digests(root) == digests(appended[0]) and again.references() == after.references()


def test_another_target_or_shard_size_begins_a_line(appended, append_policy, tmp_path):
    root = Path(shutil.copytree(appended[0], tmp_path / "data"))
    smaller = run(root, "--start_at", "select", "--policy", append_policy, "--image_size", "32")
    assert smaller.references() == {} and smaller.manifest()["parent"] == appended[2].name  # which it is compared with
    with pytest.raises(UsageError, match=f"--parent {appended[1].name}: its shards were written with target digest .*leave --parent out"):
        run(root, "--start_at", "select", "--policy", append_policy, "--image_size", "48", "--parent", appended[1].name)
    with pytest.raises(UsageError, match="no published release nobody"):
        run(root, "--start_at", "select", "--policy", append_policy, "--parent", "nobody")
    # Its own line goes on behind the release of another.
    (tmp_path / "stricter.toml").write_text(POLICY.replace("min = 16", "min = 17"))
    assert run(root, "--start_at", "select", "--policy", tmp_path / "stricter.toml").references() == {}
    more = folder(tmp_path / "more", captions(BASE + NEW, 4))
    third = run(root, "--source", more, "--add_source", "--policy", append_policy)
    assert third.manifest()["parent"] == appended[2].name and third.own_shards() == {SHARDS + 1}
    assert set(third.references().values()) == {appended[1].name, appended[2].name}
    whole = run(root, "--start_at", "select", "--policy", append_policy, "--parent", "none")
    assert whole.references() == {} and kept(whole) == kept(third) and samples(whole) == samples(third)


def test_a_moved_cut_writes_the_shards_of_those_that_changed_sides(append_sources, append_policy, tmp_path):
    top = tmp_path / "top.toml"
    top.write_text(POLICY + TOP)
    root = tmp_path / "data"
    before = run(root, "--source", append_sources[0], "--policy", top)
    after = run(root, "--source", append_sources[1], "--add_source", "--policy", top)
    moved = kept(before) ^ kept(after)
    of_shard = {
        uid: shard.shard for one in (before, after) for shard in one.shards() for uid in one.read_index(shard.shard)["uid"].to_pylist()
    }
    changed = {of_shard[uid] for uid in moved}
    assert changed - {shard.shard for shard in after.shards()[len(before.shards()) :]}, "the cut moved over some old pair"
    assert after.own_shards() == changed
