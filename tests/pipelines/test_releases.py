"""The list of releases, and what two of them differ in, of a dataset that was appended to."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.options import UsageError
from pipelines.release_diff import diff_of
from pipelines.releases import listed, main
from schemas.pool import Pool
from schemas.release import Release
from tests.appending import BASE, NEW, SHARDS


def test_the_list_tells_what_each_release_takes(appended, capfd):
    root, before, after = appended
    assert main(["--dataset", str(root), "--json"]) == 0
    newest, first = json.loads(capfd.readouterr().out)["releases"]
    assert (newest["name"], newest["latest"], newest["parent"]) == (after.name, True, before.name)
    assert (first["name"], first["latest"], first["parent"]) == (before.name, False, None)
    assert newest["counts"]["keep"] == BASE + NEW and newest["state"] == first["state"] == "published"
    assert (newest["shards_own"], newest["shards_referenced"]) == (2, SHARDS - 1)
    own = sum(Path(root, after.shard_path(shard, "tar")).stat().st_size for shard in after.own_shards())
    assert newest["bytes_own"] == own
    assert newest["bytes_own"] + newest["bytes_referenced"] == sum(entry["bytes"] for entry in after.manifest()["shards"])
    assert main(["--dataset", str(root)]) == 0
    out = capfd.readouterr().out
    assert f"published, latest, parent {before.name}" in out and f", and {SHARDS - 1} of earlier releases, " in out


def test_the_diff_tells_who_entered_and_left_and_why(appended, capfd):
    root, before, after = appended
    assert main(["--dataset", str(root), "--diff", before.name, after.name, "--uids", "--json"]) == 0
    diff = json.loads(capfd.readouterr().out)
    assert diff["moved"] == {"absent -> keep": NEW + 1, "keep -> drop": 1}
    ((reason, count),) = diff["reasons"]["keep -> drop"].items()
    assert reason.startswith("duplicate:") and count == 1 and diff["pairs_same"] == BASE - 1
    assert diff["shards"]["same"] == SHARDS - 1 and diff["units"] == {"added": 1, "gone": 0} and diff["policy"] == {}
    (lost,) = (pair for pair in diff["pairs"] if pair[1] == "keep")
    assert lost[2:] == ["drop", [reason]] and len(diff["pairs"]) == NEW + 2
    back = diff_of(after, before)
    assert back.moved == {"keep -> absent": NEW + 1, "drop -> keep": 1}
    assert main(["--dataset", str(root), "--diff", before.name, after.name]) == 0
    assert "made in the same way" in capfd.readouterr().out


def test_what_the_policies_differ_in_is_named(appended, tmp_path):
    root = Path(shutil.copytree(appended[0], tmp_path / "data"))
    path = root / appended[2].path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["policy"]["rules"][0]["min"] = 32.0
    path.write_text(json.dumps(manifest))
    store = Pool(root).store
    assert diff_of(Release(store, appended[1].name), Release(store, appended[2].name)).policy == {"rules 1.min": [16.0, 32.0]}


def test_a_withdrawn_release_tells_its_successor_and_one_that_waits_is_told(appended, tmp_path, capfd):
    root = Path(shutil.copytree(appended[0], tmp_path / "data"))
    _, before, after = appended
    notice = {"removed": True, "superseded_by": after.name, "why": "pairs were removed on request 1a2b3c"}
    (root / before.path / "manifest.json").write_text(json.dumps(notice))
    (root / after.path / "manifest.json").unlink()
    newest, first = listed(Pool(root))
    assert newest.state == "not published" and first.state == "withdrawn"
    assert first.note == f"superseded by {after.name}: pairs were removed on request 1a2b3c"
    with pytest.raises(UsageError, match=f"no published release {before.name}; there are none"):
        main(["--dataset", str(root), "--diff", before.name, after.name])
