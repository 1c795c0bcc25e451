"""Captions as versions, end to end by the commands: from a file, scored, selected, sharded, published."""

import csv
import json
import shutil
import tarfile
from dataclasses import asdict
from pathlib import Path

import pytest

from pipelines.explain import main as explain
from pipelines.export import main as export
from pipelines.forget import main as forget
from pipelines.run import command
from pipelines.verify.dataset import verify
from quality.block_lists import BlockLists
from quality.documents.__main__ import main as documents
from quality.report.gather import gather
from quality.report.scope import scope_of
from quality.review.tasks import make_tasks
from schemas.captions import CaptionVersion
from schemas.columns import uid_of
from schemas.digest import digest_of_table
from schemas.pool import Pool, write_parquet
from schemas.reasons import UNCAPTIONED
from schemas.release import Release, latest
from tests import appending, captioning
from tests.captioners import tiny_blip
from tests.conftest import digests
from tests.damage import put
from tests.forgetting import forget_quickly, write_ids
from tests.trust.traces import Needles, traces


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release, Release]:
    """(dataset, its release of the sources' captions, its release of the version)."""
    place = tmp_path_factory.mktemp("captions")
    root, plain = captioning.make(place)
    before = digests(root)
    assert captioning.give(root, place / "told.csv") == 0
    captioning.run(root, "--start_at", "score", "--stop_after", "score", "--captions", "told")
    release = captioning.run(root, "--start_at", "select", "--policy", place / "told.toml")
    assert release.name != plain.name
    again = captioning.run(
        root, "--start_at", "select", "--policy", place / "sources.toml"
    )  # published already: the same name, the same bytes
    assert [path for path in before if plain.store.read(f"{plain.path}/{path}") != before[path]] == []
    assert plain.manifest() is not None and again.name == release.name
    return root, plain, release


def samples(release: Release) -> dict[str, dict[str, bytes]]:
    """Members by uid and ending."""
    found: dict[str, dict[str, bytes]] = {}
    for shard in release.shards():
        with release.store.open(release.shard_path(shard.shard, "tar")) as file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                uid, _, ending = member.name.partition(".")
                found.setdefault(uid, {})[ending] = tar.extractfile(member).read()  # type: ignore[union-attr]
    return found


def test_samples_have_the_versions_captions_and_tell_of_the_sources(made):
    root, plain, release = made
    sources = {row["uid"]: row["caption"] for row in captioning.rows_of(Pool(root))}
    found, before = samples(release), samples(plain)
    assert len(before) == captioning.PAIRS and len(found) == captioning.PAIRS - captioning.LEFT_OUT
    for uid, members in found.items():
        told = json.loads(members["json"])
        caption = captioning.released(uid)
        assert members["txt"].decode() == told["caption"] == caption
        assert (told["caption.source"], told["caption.version"]) == (sources[uid], "told")
        assert told["letters.count"] == len(captioning.pooled(uid))
        assert members["jpg"] == before[uid]["jpg"]
        assert before[uid]["txt"].decode() == sources[uid]
        assert "caption.source" not in json.loads(before[uid]["json"])
    for shard in release.shards():
        index = release.read_index(shard.shard, ["uid", "caption"]).to_pylist()
        assert all(row["caption"] == found[row["uid"]]["txt"].decode() for row in index)
        assert b"version" in release.index_schema(shard.shard).field("caption").metadata[b"meaning"]


def test_a_pair_that_the_version_lacks_is_dropped_and_counted(made):
    root, _, release = made
    manifest = release.manifest()
    lost = captioning.LEFT_OUT  # whose letters could not be counted either
    assert manifest["funnel"]["reasons"] == {UNCAPTIONED: lost, "caption:missing": lost}
    assert manifest["captions"]["version"] == "told"
    assert manifest["captions"]["origin"]["files"][0]["name"] == "told.csv"
    assert {scorer["name"]: scorer.get("captions") for scorer in manifest["scorers"]} == {"image": None, "letters": "told"}
    raw = captioning.rows_of(Pool(root))
    assert all(row["uid"] == uid_of(url=row["url"], sha256=row["sha256"], caption=row["caption"]) for row in raw)


def test_what_reads_no_captions_is_not_scored_again(made):
    passes = {pass_.captions: [scorer.name for scorer in pass_.scorers] for pass_ in Pool(made[0]).passes()}
    assert passes == {None: ["image", "letters"], "told": ["letters"]}


def test_the_command_adds_what_is_missing_with_the_same_bytes(made, capsys):
    root = made[0]
    pool = Pool(root)
    version = CaptionVersion(pool, "told")
    before = {path: pool.store.read(path) for path, _ in pool.store.list(version.path)}
    lost = sorted(version.units())[0]
    pool.store.delete(f"{version.path}/{lost}.parquet")
    assert captioning.give(root, root.parent / "told.csv") == 0
    assert {path: pool.store.read(path) for path, _ in pool.store.list(version.path)} == before
    told = capsys.readouterr().out
    assert "27 have a caption, 3 have none (3 of them fetched)" in told and "1 of its 2 units" in told


def test_a_version_never_changes(made, tmp_path, capsys):
    uid = captioning.rows_of(Pool(made[0]))[0]["uid"]
    file = captioning.write_captions(tmp_path / "told.csv", {uid: "another"})
    assert command(lambda: captioning.give(made[0], file)) == 2
    assert "a version never changes: give these captions another --name" in capsys.readouterr().err


def test_a_file_about_other_pairs_makes_no_version(made, tmp_path, capsys):
    file = captioning.write_captions(tmp_path / "others.csv", {"a" * 32: "of another dataset"})
    assert command(lambda: captioning.give(made[0], file, "others")) == 2
    assert "none of its 1 rows is of a pair" in capsys.readouterr().err
    assert CaptionVersion(Pool(made[0]), "others").origin() is None


def test_select_refuses_what_is_not_whole_and_says_what_to_type(made, tmp_path, capfd):
    root, place = tmp_path / "data", made[0].parent
    shutil.copytree(made[0], root)
    select = ("--start_at", "select", "--policy", tmp_path / "p.toml")

    def refused(text: str, *flags: str | Path) -> str:
        (tmp_path / "p.toml").write_text(captioning.HEAD + text + captioning.POLICY)
        assert command(lambda: captioning.run(root, *(flags or select))) == 2
        return capfd.readouterr().err

    assert f"--dataset {root} --name other --captions FILE" in refused('caption = "caption@other"\n')
    assert "names no version of captions" in refused('caption = "caption@Other"\n')
    captioning.give(root, place / "told.csv", "unscored")
    assert "--start_at score --stop_after score --captions unscored" in refused('caption = "caption@unscored"\n')
    new = appending.folder(tmp_path / "new", appending.captions(100, 3))
    captioning.run(root, "--source", new, "--add_source", "--policy", place / "sources.toml")
    told = refused(captioning.VERSION)
    assert "lacks 1 of 3 units" in told and f"--dataset {root} --name told --captions FILE" in told
    assert captioning.give(root, place / "told.csv") == 0
    assert "letters.count was measured (by letters:count@1;1), but not with the captions" in refused(captioning.VERSION)
    captioning.run(root, "--start_at", "score", "--policy", place / "told.toml", "--captions", "told")
    assert "does not take" in refused("", "--start_at", "score", "--captions", "told", "--policy", tmp_path / "p.toml")
    assert "add --start_at score" in refused("", "--captions", "told")


def test_what_if_and_explain_take_the_version(made, capsys):
    root, _, release = made
    captioning.ingest(["--dataset", str(root), "--start_at", "select", "--what_if", "--policy", str(root.parent / "told.toml")])
    assert f"{captioning.LEFT_OUT}" in capsys.readouterr().out
    uids = sorted(row["uid"] for row in captioning.rows_of(Pool(root)))
    assert explain(["--dataset", str(root), "--uid", uids[0], "--release", release.name]) == 0
    told = capsys.readouterr().out
    assert "blocks number" in told and "@told     a café of" in told and "captions told" in told
    assert explain(["--dataset", str(root), "--uid", uids[-1], "--release", release.name]) == 0
    told = capsys.readouterr().out
    assert UNCAPTIONED in told and "a caption of it in the version told" in told


def test_a_model_writes_a_version_and_goes_on_with_the_same_bytes(made, tmp_path, capsys):
    root, model = made[0], tiny_blip(tmp_path / "tiny-blip")
    flags = ["--dataset", str(root), "--name", "blip", "--model", str(model), "--tokens", "6"]
    assert captioning.caption(flags) == 0
    assert "30 have a caption, 0 have none (0 of them fetched)" in capsys.readouterr().out
    pool = Pool(root)
    version = CaptionVersion(pool, "blip")
    assert version.origin()["model"] == "tiny-blip" and str(tmp_path) not in json.dumps(version.origin())
    before = {path: pool.store.read(path) for path, _ in pool.store.list(version.path)}
    pool.store.delete(f"{version.path}/{sorted(version.units())[-1]}.parquet")
    assert captioning.caption(flags) == 0
    assert {path: pool.store.read(path) for path, _ in pool.store.list(version.path)} == before
    capsys.readouterr()
    pool.store.delete(f"{version.path}/{sorted(version.units())[-1]}.parquet")
    for part, does in (("1/2", "20 pairs of 1 units, part 1 of 2"), ("2/2", "10 pairs of 1 units, part 2 of 2")):
        assert captioning.caption([*flags, "--part", part]) == 0
        assert does in capsys.readouterr().out
    assert {path: pool.store.read(path) for path, _ in pool.store.list(version.path)} == before
    assert command(lambda: captioning.caption([*flags[:-1], "7"])) == 2
    assert "model tiny-blip" in capsys.readouterr().err
    assert command(lambda: captioning.caption([*flags[:4], "--captions", "x.csv", "--beams", "2"])) == 2
    assert "--beams is about a model" in capsys.readouterr().err


def test_documents_tell_where_the_captions_come_from(made, tmp_path):
    root, plain, release = (Path(shutil.copytree(made[0], tmp_path / "data")), *made[1:])
    for one in (plain, release):
        assert documents(["--dataset", str(root), "--release", one.name]) == 0
    for name in ("README.md", "datasheet.md", "croissant.json"):
        texts = [(root / one.path / name).read_text() for one in (release, plain)]
        assert [("read from `told.csv`" in text, "`caption.source`" in text) for text in texts] == [(True, True), (False, False)], name


def test_report_review_and_exports_show_the_releases_captions(made, tmp_path):
    root, plain, release = made
    pool = Pool(root)
    new = {captioning.released(row["uid"]) for row in captioning.rows_of(pool)}
    old = {row["caption"] for row in captioning.rows_of(pool)}
    for one, captions in ((release, new), (plain, old)):
        report = gather(scope_of(str(root), one.name, pool_only=False), lists=BlockLists({}))
        shown = {sample.pair.caption for sample in report.sheets["kept"].shown}
        assert shown and shown <= captions and report.captions == (None if one is plain else "told")
        words = next(each for each in report.histograms if each.name == "caption.words")
        assert words.quantiles[0] == (3 if one is plain else 6)
        tasks = make_tasks(pool, one, kept=1.0)
        assert tasks.num_rows and set(tasks["caption"].to_pylist()) <= captions
        out = tmp_path / one.name
        assert export(["--dataset", str(root), "--release", one.name, "--format", "imagefolder", "--csv", "--out", str(out)]) == 0
        told = list(csv.DictReader((out / "train" / "metadata.csv").open(encoding="utf-8", newline="")))
        assert told and {row["text"] for row in told} <= captions


def spoilt(root: Path, place: Path) -> tuple[Path, CaptionVersion, str, Path]:
    """(copy of a dataset, its version, a unit, the file of its captions)."""
    copy = Path(shutil.copytree(root, place / "spoilt"))
    version = CaptionVersion(Pool(copy), "told")
    unit = sorted(version.units())[0]
    return copy, version, unit, copy / version.path / f"{unit}.parquet"


def test_verify_finds_what_is_wrong_with_a_version(made, tmp_path):
    root, version, unit, path = spoilt(made[0], tmp_path)
    pool = Pool(root)
    assert list(verify(pool)) == []
    commit, table, whole = version.commit_of(unit), version.read(unit), path.read_bytes()

    def only(what: str, place: str = "") -> None:
        (finding,) = list(verify(Pool(root)))
        assert what in finding.what and place in finding.place and (finding.todo and finding.path.startswith("pool/captions/told"))
        path.write_bytes(whole)

    write_parquet(put(table, "caption", 0, "another"), asdict(commit), path)
    only("digest of the content")
    changed = put(table, "caption", 0, "another")
    write_parquet(changed, asdict(commit) | {"content_digest": digest_of_table(changed)}, path)
    only("digest of the content, as releases have it")
    changed = put(table, "uid", 1, "f" * 32)
    write_parquet(changed, asdict(commit) | {"content_digest": digest_of_table(changed)}, path)
    found = list(verify(Pool(root)))
    assert {finding.what for finding in found} == {"uid, as the unit has it", "digest of the content, as releases have it"}
    write_parquet(table.slice(1), asdict(commit), path)
    only("rows")
    path.unlink()
    only("is not there")
    (path.parent / "0123456789abcdef-00000.parquet").write_bytes(b"x")
    only("captions of a unit that the pool does not have")
    (path.parent / "0123456789abcdef-00000.parquet").unlink()
    (path.parent / "captions.json").write_text("{")
    only("cannot be read")


def test_forget_takes_a_pair_out_of_its_versions(made, tmp_path):
    root = Path(shutil.copytree(made[0], tmp_path / "data"))
    pool, version = Pool(root), CaptionVersion(Pool(root), "told")
    gone = min((row for row in captioning.rows_of(pool) if row["uid"] in samples(made[2])), key=lambda row: row["uid"])
    text = captioning.pooled(gone["uid"])
    (root / "logs" / "more.log").write_text(f"a line about {text}\n")
    before = {row["uid"]: row["caption"] for unit in sorted(version.units()) for row in version.read(unit).to_pylist()}
    assert any(text.encode() in path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert forget_quickly(root, write_ids(tmp_path / "uids.txt", [gone["uid"]]), "uids") == 0
    after = {row["uid"]: row["caption"] for unit in sorted(version.units()) for row in version.read(unit).to_pylist()}
    assert before[gone["uid"]] == text and after.pop(None) is None
    assert after == {uid: caption for uid, caption in before.items() if uid != gone["uid"]}
    left = Needles()
    left.text("caption", text)
    left.digest("uid", bytes.fromhex(gone["uid"]))
    assert [trace for trace in traces([root], left) if "/removals/" not in trace.where] == []
    assert list(verify(Pool(root))) == []
    successor = Release(pool.store, str(latest(pool.store)))
    assert set(samples(successor)) == set(samples(made[2])) - {gone["uid"]}
    assert forget(["--dataset", str(root), "--check"]) == 0
    told = {path: pool.store.read(path) for path, _ in pool.store.list(version.path)}
    assert captioning.give(root, made[0].parent / "told.csv") == 0  # the file has the pair still
    assert {path: pool.store.read(path) for path, _ in pool.store.list(version.path)} == told
