"""Publish: one manifest, written last, from what the files hold; none when a gate fails."""

import json
import re
from pathlib import Path

import pytest

from pipelines.publish import DeferredUnits, GateFailed, ListedPairs, main, publish
from pipelines.run import command
from quality.block_lists import ENVIRONMENT, read_lists
from quality.gates import GateResults, Outcome
from schemas.pool import Pool
from schemas.release import Release, ReleaseError, latest
from tests.block_lists import write_lists
from tests.conftest import ingest
from tests.pools import PASS, unit
from tests.releases import SHARDS, make_release


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Pool, Release]:
    return make_release(tmp_path)


def no_gates(pool: Pool, release: Release) -> GateResults:
    return GateResults(())


def test_manifest_says_what_the_release_is(whole):
    pool, release = whole
    published = publish(pool, release)
    manifest = release.manifest()
    assert manifest == json.loads(json.dumps(published.manifest)) and not published.adopted and published.gates.passed
    assert latest(pool.store) == release.name
    assert manifest["counts"] == {"rows": 36, "keep": 18, "review": 3, "drop": 15, "deferred": 0}
    assert manifest["funnel"]["statuses"] == {"failed_to_download": 12, "success": 24}
    assert manifest["funnel"]["reasons"] == {"clip:low_similarity": 6, "fetch:failed_to_download": 12}
    assert [(shard["shard"], shard["path"], shard["sha256"], shard["bytes"], shard["count"]) for shard in manifest["shards"]] == [
        (shard.shard, f"shards/{shard.shard:06d}.tar", shard.sha256, shard.bytes, shard.count) for shard in release.shards()
    ]
    assert sum(shard["count"] for shard in manifest["shards"]) == 18
    assert list(manifest["units"]) == [unit(0), unit(1), unit(2)]
    for name, told in manifest["units"].items():
        commit, score = pool.raw_commit(name), pool.score_commit(PASS.name, name)
        (decided,) = (one for one in release.decided() if one.unit == name)
        assert told == {
            "rows": 12, "keep": 6, "review": 1, "drop": 5, "retried": 0, "raw": commit.content_digest, "tar": commit.tar_sha256,
            "scores": {PASS.name: score.content_digest}, "decisions": decided.content_digest, "generation": 0,
        }  # fmt: skip
    assert [(scorer["name"], scorer["version"]) for scorer in manifest["scorers"]] == [(one.name, one.version) for one in PASS.scorers]
    run = release.run()
    assert all(manifest[name] == run[name] for name in ("digest", "policy", "policy_digest", "target", "parent"))
    assert manifest["engines"] == {"clip": "onnx"}
    assert manifest["column_functions"] == {
        "license": "2",
        "caption": "1",
        "caption.personal_data": "1",
        "caption.nsfw_words": "1",
        "caption.language": "py3langid-0.4;1",
    }
    assert manifest["deferred_units"] == {} and all(gate["passed"] is not False for gate in manifest["gates"])


@pytest.mark.parametrize(
    ("fetch", "told"),
    [
        ({"store": "original"}, {"can_be_read_again": True, "read_when_fetched_as": None}),
        ({"store": "resized", "evidence": "metadata"}, {"can_be_read_again": False, "read_when_fetched_as": "metadata"}),
        ({"store": "resized"}, {"can_be_read_again": False, "read_when_fetched_as": None}),
    ],
)
def test_manifest_says_whether_evidence_can_be_read_again(whole, fetch, told):
    pool, release = whole
    pool.adopt_settings("source", {"fetch": fetch})
    assert publish(pool, release, gates=no_gates).manifest["evidence"] == told


def test_pairs_that_are_listed_now_are_not_published(whole, tmp_path, monkeypatch, capsys):
    pool, release = whole
    urls = ["host.test/0/0.jpg", "host.test/0/7.jpg"]  # one kept, one dropped
    digest = pool.read_raw(unit(2), ["sha256"])["sha256"][1].as_py()
    lists = write_lists(tmp_path / "lists", {"urls": urls, "sha256": [digest.upper()]})
    monkeypatch.setenv(ENVIRONMENT, str(lists))
    with pytest.raises(
        ListedPairs, match=r"^2 of the pairs that release one keeps are on a block list now; run .* --start_at select again"
    ):
        publish(pool, release, gates=no_gates)
    assert main(["--dataset", pool.store.root]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and "host.test" not in printed.err
    assert release.manifest() is None and latest(pool.store) is None
    publish(pool, release, gates=no_gates, selected_with=read_lists(None).digest)  # decided with these lists a moment ago
    with pytest.raises(ListedPairs):
        publish(pool, release)
    monkeypatch.setenv(ENVIRONMENT, str(write_lists(tmp_path / "others", {"urls": ["host.test/0/7.jpg"], "domains": ["elsewhere.test"]})))
    assert publish(pool, release).adopted


def test_no_clock_path_or_host_in_the_manifest(tmp_path):
    texts = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        pool, release = make_release(tmp_path / place)
        release.put_run({**release.run(), "started": len(texts), "heartbeat": {"host": place, "pid": 1, "alive": 2.0}})
        publish(pool, release)
        texts.append(Path(pool.store.path_of(f"{release.path}/manifest.json")).read_text())
    assert texts[0] == texts[1] and str(tmp_path) not in texts[0]


def test_again_is_adopted(whole):
    pool, release = whole
    first = publish(pool, release)
    path = Path(pool.store.path_of(f"{release.path}/manifest.json"))
    before = path.read_bytes(), path.stat().st_mtime_ns
    again = publish(pool, release, gates=lambda *_: pytest.fail("a published release is not checked again"))
    assert again.adopted and again.manifest == first.manifest and (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_published_from_other_inputs_is_refused(whole):
    pool, release = whole
    publish(pool, release, gates=no_gates)
    release.put_run({**release.run(), "digest": "e" * 64})
    with pytest.raises(ReleaseError, match="other inputs; give another --release"):
        publish(pool, release)


@pytest.mark.parametrize(
    ("file", "at", "rule"),
    [
        ("shards/000001.tar", 600, "tars have their sha256"),
        ("shards/000001.tar", None, "tars have their sha256"),
        ("shards/000001.parquet", -3, "parquet files have footers"),
        (f"decisions/{unit(1)}.parquet", -3, "parquet files have footers"),
    ],
)
def test_damage_stops_it(whole, file, at, rule):
    pool, release = whole
    path = Path(pool.store.path_of(f"{release.path}/{file}"))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 if at is None else at] ^= 1
    path.write_bytes(data)
    with pytest.raises(GateFailed, match=rule) as raised:
        publish(pool, release)
    assert not raised.value.results.passed
    assert release.manifest() is None and latest(pool.store) is None
    assert main(["--dataset", pool.store.root]) == 1
    assert release.manifest() is None


def test_a_gate_that_fails_is_the_first_and_the_last_thing_on_the_screen(whole):
    """The command, as a user runs it, on a release with an image that was damaged on disk."""
    pool, release = whole
    (first, *_) = release.read_index(0).to_pylist()
    path = Path(pool.store.path_of(release.shard_path(0, "tar")))
    data = bytearray(path.read_bytes())
    data[first["offset"] + first["size"] // 2] ^= 1
    path.write_bytes(data)
    run = ingest("--dataset", pool.store.root, module="pipelines.publish")
    assert run.returncode == 1 and run.stdout == ""
    lines = run.stderr.splitlines()
    assert lines[0].startswith(
        "Release one is not published. critical: tars have their sha256 (shard integrity): 1 of 3 rows: shard 0: sha256 "
    )
    assert f"critical: images have their sha256 (shard integrity): 1 of 18 rows: uid {first['uid']}, shard 0: same_bytes 0" in run.stderr
    assert sum(-(-len(line) // 80) for line in lines) < 24, "all of it is on one screen of 80 x 24"
    assert release.manifest() is None and latest(pool.store) is None
    told = release.gates()
    assert told is not None and told["passed"] is False
    broken = [outcome["rule"] for outcome in told["outcomes"] if outcome["passed"] is False]
    assert broken == ["tars have their sha256", "images have their sha256"]


def test_many_failures_still_fit_on_a_screen(whole):
    pool, release = whole
    outcomes = tuple(Outcome("suite", f"rule {number}", "warning", False, 1, "because " * 200) for number in range(60))
    results = GateResults((*outcomes, Outcome("last", "the critical one", "critical", False, 1, "x" * 500)))
    with pytest.raises(GateFailed) as raised:
        publish(pool, release, gates=lambda *_: results)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("Release one is not published. critical: the critical one (last): xxx")
    assert "  and 54 more" in lines and sum(-(-len(line) // 80) for line in lines) < 24
    assert release.gates() == json.loads(json.dumps(results.as_dict()))


def test_gates_are_told_in_a_file_whether_or_not_they_passed(whole):
    """The same inputs give the same bytes; an attempt takes the place of the one before."""
    pool, release = whole
    path = Path(pool.store.path_of(f"{release.path}/gates.json"))
    with pytest.raises(GateFailed):
        publish(pool, release, gates=lambda *_: GateResults((Outcome("s", "r", "critical", False, 1, "m"),)))
    failed = {"suite": "s", "rule": "r", "severity": "critical", "passed": False, "observed": 1, "message": "m"}
    assert release.gates() == {"passed": False, "outcomes": [failed]}
    published = publish(pool, release)
    told, first = release.gates(), path.read_bytes()
    assert told["passed"] is True and told["outcomes"] == published.manifest["gates"]
    assert {outcome["passed"] for outcome in told["outcomes"]} == {True, None}
    path.unlink()
    Path(pool.store.path_of(f"{release.path}/manifest.json")).unlink()
    publish(pool, release)
    assert path.read_bytes() == first


OWN = """
from great_expectations.expectations.metadata_types import FailureSeverity
from quality.gates import bounds
from quality.gates.suite import Stop, Suite


class AtLeastAThousandPairsAreKept(Stop):
    column: str = "keep"
    min_value: int = 1000


SUITES = [Suite("our volume", "release", [AtLeastAThousandPairsAreKept()])]
"""


def test_a_users_own_gate_fails(whole, tmp_path):
    pool, release = whole
    own = tmp_path / "own.py"
    own.write_text(OWN, "utf-8")
    run = ingest("--dataset", pool.store.root, "--gates", own, module="pipelines.publish")
    assert run.returncode == 1 and release.manifest() is None
    first = run.stderr.splitlines()[0]
    assert first == (
        "Release one is not published. critical: at least a thousand pairs are kept (our volume): 1 of 1 rows: rows_source 36: keep 18"
    )
    run = ingest("--dataset", pool.store.root, module="pipelines.publish")
    assert run.returncode == 0 and release.manifest() is not None, "without the file ours alone decide"
    run = ingest("--dataset", pool.store.root, "--release", "one", "--gates", own, module="pipelines.publish")
    assert run.returncode == 0 and run.stdout.startswith("Release one: already published: no gate was run again\n"), (
        "nor is it said that it holds"
    )


@pytest.mark.parametrize("module", ["pipelines.publish", "pipelines.ingest"])
def test_a_broken_file_of_gates_is_told_before_any_work(whole, tmp_path, module):
    pool, _ = whole
    before = list(pool.store.list())
    own = tmp_path / "own.py"
    own.write_text("from quality.gates.suite import Suite\nSUITES = [Suite('a', 'release', [Nothing()])]\n", "utf-8")
    run = ingest("--dataset", pool.store.root, "--gates", own, module=module)
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr == f"pigment: error: --gates {own}, line 2: NameError: name 'Nothing' is not defined; mend the file\n"
    assert list(pool.store.list()) == before


def test_missing_shard_or_decisions_or_release(whole):
    pool, release = whole
    pool.store.delete(release.shard_path(SHARDS - 1, "parquet"))
    with pytest.raises(ReleaseError, match=rf"lacks 1 shards, .*/{SHARDS - 1:06d}.parquet is the first; run .* --start_at shard"):
        publish(pool, release)
    pool.store.delete(f"{release.path}/decisions/{unit(2)}.parquet")
    with pytest.raises(ReleaseError, match=f"no decisions about 1 fetched units, {unit(2)} is the first; run .* --start_at select"):
        publish(pool, release)
    with pytest.raises(ReleaseError, match="there is no release two"):
        publish(pool, Release(pool.store, "two"))
    assert latest(pool.store) is None


def test_decisions_about_units_that_the_pool_does_not_have(whole):
    pool, release = whole
    pool.store.delete(f"pool/raw/{unit(2)}.parquet")
    with pytest.raises(ReleaseError, match=f"decides about 1 units that the pool does not have, {unit(2)} is the first"):
        publish(pool, release)


def test_deferred_units(tmp_path, capsys):
    pool, release = make_release(tmp_path, units=2, planned=4)
    with pytest.raises(DeferredUnits) as raised:
        publish(pool, release)
    assert raised.value.units == {unit(2): 12, unit(3): 12}
    assert main(["--dataset", pool.store.root]) == 3 and release.manifest() is None
    assert "2 units (24 pairs) are deferred" in capsys.readouterr().err
    assert main(["--dataset", pool.store.root, "--release", "one", "--allow_missing"]) == 0
    manifest = release.manifest()
    assert manifest["counts"] == {"rows": 48, "keep": 12, "review": 2, "drop": 10, "deferred": 24}
    assert manifest["deferred_units"] == {unit(2): 12, unit(3): 12}


def test_killed_before_its_last_put(whole, monkeypatch):
    """Whatever stood in the way of the put, the same command ends in the same manifest."""
    pool, release = whole
    monkeypatch.setattr(Release, "put_manifest", lambda *_, **more: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        publish(pool, release, gates=no_gates)
    assert release.manifest() is None
    monkeypatch.undo()
    assert publish(pool, release, gates=no_gates).manifest == release.manifest()


def test_the_command(whole, capsys):
    pool, _ = whole
    assert main(["--dataset", pool.store.root]) == 0
    told = capsys.readouterr().out
    assert "Release one: published; " in told and "36 pairs = 18 keep, 3 review, 15 drop, 0 deferred" in told
    assert re.search(r"manifest: .*/releases/one/manifest.json", told)
    assert main(["--dataset", pool.store.root, "--release", "one"]) == 0
    assert "Release one: already published" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--dataset", "nowhere"], "nowhere is no dataset; give the folder"),
        (["--dataset", "{data}", "--relase", "one"], "--relase"),
        (["--dataset", "{data}", "--release", "two"], "there is no release two"),
        (["--dataset", "{data}", "--gates", "none.py"], "--gates none.py: no such file"),
    ],
)
def test_wrong_use(whole, capsys, arguments, told):
    pool, _ = whole
    before = list(pool.store.list())
    assert command(lambda: main([argument.format(data=pool.store.root) for argument in arguments])) == 2
    message = capsys.readouterr().err
    assert told in message and "Traceback" not in message
    assert list(pool.store.list()) == before


def test_which_release(whole, capsys):
    pool, release = whole
    publish(pool, release, gates=no_gates)
    assert command(lambda: main(["--dataset", pool.store.root])) == 2
    assert "has 0 releases to publish; all are published: give one as --release" in capsys.readouterr().err
