"""The main job after something was removed: a twin in a new source is refused, and the release that follows has all else, shards by reference."""

import json

import pytest

from quality.block_lists import LISTED
from schemas.pool import Pool
from schemas.release import Release, latest
from tests.conftest import QUICK, SOAK, ingest
from tests.forgetting import Dataset, picture, run_forget, twin, write_csv, write_ids
from tests.pipelines.fetching import Reply, Server


@pytest.mark.skipif(not SOAK, reason="not run: PIGMENT_SOAK is not set; the steps by themselves are in tests/pipelines/test_forget.py")
def test_the_next_ingest_takes_no_twin_back(copied, tmp_path):
    pool = Pool(copied)
    before = Release(pool.store, str(latest(pool.store)))
    found = [
        (unit, row)
        for unit in sorted(pool.committed())
        for row in before.read_decisions(unit, ["uid", "verdict"]).append_column("row", pool.read_raw(unit, ["row"])["row"]).to_pylist()
        if row["verdict"] == "keep"
    ]
    unit, row = found[0]
    raw = pool.read_raw(unit).to_pylist()[row["row"]]
    [data] = pool.read_bytes(unit, [raw["offset"]], [raw["size"]])
    ids = write_ids(tmp_path / "uids.txt", [row["uid"]])
    assert run_forget(Dataset(copied, []), "--uids", ids, "--reason", "request 1") == 0
    successor = Release(pool.store, str(latest(pool.store)))
    assert successor.manifest()["parent"] == before.name
    bodies = {"/again.webp": twin(data, quality=40), "/fine.jpg": picture(7)}
    with Server(lambda path: Reply(body=bodies[path])) as server:
        source = write_csv(tmp_path / "more.csv", [{"url": f"http://more.test{path}", "caption": f"a picture, {path}"} for path in bodies])
        (tmp_path / "hosts.json").write_text(json.dumps({"more.test": f"127.0.0.1:{server.port}"}))
        run = ingest("--dataset", copied, "--source", source, "--add_source", "--host_map", tmp_path / "hosts.json", *QUICK)
    assert run.returncode == 0, run.stdout + run.stderr
    now = Release(pool.store, str(latest(pool.store)))
    [new] = set(now.manifest()["units"]) - set(successor.manifest()["units"])
    decided = now.read_decisions(new).to_pylist()
    assert decided[0]["reasons"] == [LISTED] and decided[0]["uid"] is None and decided[1]["uid"] is not None
    kept = {uid for shard in now.shards() for uid in now.read_index(shard.shard, ["uid"])["uid"].to_pylist()}
    there = {uid for shard in successor.shards() for uid in successor.read_index(shard.shard, ["uid"])["uid"].to_pylist()}
    assert row["uid"] not in there and kept - {decided[1]["uid"]} == there
    assert now.references() and set(now.references().values()) <= {before.name, successor.name}
    check = ingest("--dataset", copied, "--check", module="pipelines.forget")
    assert check.returncode == 0 and "no trace" in check.stdout, check.stdout + check.stderr
    print(check.stdout)
