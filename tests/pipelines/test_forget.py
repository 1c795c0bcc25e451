"""Forgetting: nothing is left of what was named and of its twins, all else stays as it was, and nothing comes back."""

import base64
import hashlib
import json
import re
import sqlite3
import tarfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.export import main as export
from pipelines.fetch.in_place import tars_that_hold_listed
from pipelines.forget import forget, main
from pipelines.forgetting.check import check_lines
from pipelines.forgetting.request import read_ids
from pipelines.options import UsageError
from pipelines.pool_job import check_removals
from pipelines.publish import publish
from pipelines.shards import MEMBERS, ShardWriter
from pipelines.sources.listing import list_source
from pipelines.sources.rows import RowReader, index_file
from pipelines.steps.fetch_units import FetchUnits
from pipelines.steps.select_pairs import SelectPairs
from pipelines.verify.__main__ import main as verify
from quality.block_lists import LISTED, read_lists
from quality.documents.__main__ import main as documents
from quality.gates import GateResults, Outcome
from quality.images import Target
from quality.images.decode import decode
from quality.rules import Rules
from quality.selection import plan_selection
from quality.traces.views import picture_of
from schemas.columns import table_of
from schemas.follow_ups import FollowUp, put_follow_up, statuses_of
from schemas.pool import Pool
from schemas.release import Release, ReleaseError, latest, releases
from schemas.removals import Removal, removals
from schemas.reviews import ANSWERS_PATH, TASKS_PATH
from schemas.user_tar import UserTar
from tests.forgetting import (
    ROWS,
    UNITS,
    Dataset,
    contents,
    forget_quickly,
    left,
    make_dataset,
    no_gates,
    picture,
    run_forget,
    twin,
    write_csv,
    write_ids,
)  # fmt: skip
from tests.pipelines.fetching import Reply, Server, settings
from tests.pipelines.test_select_block_lists import policy_of
from tests.pools import PASS, SCORES, unit
from training.releases import open_release
from training.shards import Loader

GONE = [(0, 1), (2, 3)]  # the pair that is named, and its twin


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("forget") / "data")


@pytest.fixture(scope="module")
def forgotten(whole: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same, with one pair removed by the command; its gates are ours."""
    folder = tmp_path_factory.mktemp("forgotten")
    dataset = whole.copy(folder / "data")
    ids = write_ids(folder / "urls.txt", [whole.of(0, 1).url.replace("http://", "HTTPS://")])
    assert run_forget(dataset, "--urls", ids, "--reason", "request 17", "--asked_by", "the owner") == 0
    return dataset


def successor(dataset: Dataset, name: str) -> Release:
    notice = Release(dataset.pool.store, name).notice()
    assert notice is not None
    return Release(dataset.pool.store, notice["superseded_by"])


def test_traces_of_every_kind_are_found_first_and_none_afterwards(whole: Dataset, forgotten: Dataset):
    pairs = [whole.of(*place) for place in GONE]
    before = left(whole, *pairs)
    kinds = {
        "raw bytes of a tar": r"pool/raw/[^>]*\.tar$",
        "a column": r"pool/raw/.*parquet > (column|dictionary of) url$",
        "a picture's hash": r"pool/scores/.* > (column|dictionary of) image.pdq$",
        "a tar's member": r"shards/.*\.tar > tar .*jpg$",
        "JSON in a tar": r"> tar .*\.json > JSON",
        "base64 in HTML": "report.html > base64",
        "a log": r"logs/ingest.log$",
        "an SQLite page": "review.sqlite$",
        "an SQLite row": "review.sqlite > table tasks",
        "answers": "decisions.parquet",
        "a member's name": "> tar, name$",
        "what people decided": "settled.parquet",
    }
    for kind, pattern in kinds.items():
        assert any(re.search(pattern, trace.where) for trace in before), (kind, sorted({trace.where for trace in before}))
    assert left(forgotten, *pairs) == []
    assert len(left(forgotten, whole.of(0, 2))) > 20, "of another pair all is left"


def test_all_other_rows_and_images_are_unchanged(whole: Dataset, forgotten: Dataset):
    compared = 0
    for chunk in range(UNITS):
        name = unit(chunk)
        images = []
        for dataset in (whole, forgotten):
            commit, raw = dataset.pool.raw_commit(name), dataset.pool.read_raw(name).to_pylist()
            there = [row for row in raw if row["offset"] is not None and (chunk, row["row"]) not in GONE]
            data = dataset.pool.read_bytes(name, [row.pop("offset") for row in there], [row["size"] for row in there])
            requests = dataset.pool.read_requests(name).to_pylist()
            scores = dataset.pool.read_scores(PASS.name, name).to_pylist()
            assert (
                dataset.pool.score_commit(PASS.name, name).input_digest == commit.content_digest and commit.input_digest == f"input {chunk}"
            )
            rows = [row for row in zip(raw, scores, requests, strict=True) if (chunk, row[0]["row"]) not in GONE]
            images.append((list(data), rows, dataset.pool.raw_schema(name), dataset.pool.score_schema(PASS.name, name).remove_metadata()))
            compared += len(rows)
        assert images[0][:2] == images[1][:2] and images[0][2].remove_metadata() == images[1][2].remove_metadata()
        assert images[0][3] == images[1][3]
    assert compared == 2 * (UNITS * ROWS - len(GONE))
    for place, path in ((1, f"pool/raw/{unit(1)}.parquet"), (1, f"pool/scores/{PASS.name}/{unit(1)}.parquet")):
        assert (whole.root / path).read_bytes() == (forgotten.root / path).read_bytes(), place
    for chunk, row in GONE:
        blank = forgotten.pool.read_raw(unit(chunk)).to_pylist()[row]
        assert {name: value for name, value in blank.items() if value is not None} == {
            "row": row, "status": "blocked", "error_message": LISTED
        }  # fmt: skip


def test_releases_have_successors_that_share_what_stayed(whole: Dataset, forgotten: Dataset):
    one, two = (successor(forgotten, name) for name in ("one", "two"))
    assert latest(forgotten.pool.store) == two.name and Removal(forgotten.pool.store, removals(forgotten.pool.store)[0].id).done()
    uids = {whole.of(*place).uid for place in GONE}
    for name, now in (("one", one), ("two", two)):
        then, manifest = Release(whole.pool.store, name), now.manifest()
        before = then.manifest()
        assert manifest["parent"] == name and manifest["counts"]["rows"] == before["counts"]["rows"]
        assert manifest["generations"] == before["generations"]
        assert all(outcome["passed"] is not False or outcome["severity"] != "critical" for outcome in manifest["gates"])
        for decided in then.decided():
            old, new = then.read_decisions(decided.unit).to_pylist(), now.read_decisions(decided.unit).to_pylist()
            for row, (was, is_) in enumerate(zip(old, new, strict=True)):
                if was["uid"] in uids:
                    assert {key: value for key, value in is_.items() if value is not None} == {
                        "row": row, "verdict": "drop", "reasons": [LISTED], "error": "list"
                    }  # fmt: skip
                else:
                    lost = was["duplicate_of"] in uids
                    assert is_ == {**was, "duplicate_of": None if lost else was["duplicate_of"]}
        assert {row["uid"] for row in now.read_settled().to_pylist()} == {row["uid"] for row in then.read_settled().to_pylist()} - uids
        for shard in then.shards():
            old, new = ({row.pop("uid"): row for row in of.read_index(shard.shard).to_pylist()} for of in (then, now))
            changed = bool(set(old) & uids)
            assert (shard.shard in now.own_shards() or now.holder(shard.shard) == one.name) == changed
            assert set(new) == set(old) - uids and len({row["offset"] for row in new.values()}) == len(new)
            assert members(now, shard.shard) == {key: data for key, data in members(then, shard.shard).items() if key[:32] not in uids}
            for uid, row in new.items():
                offset, was = row.pop("offset"), old[uid]
                assert row == {key: value for key, value in was.items() if key != "offset"}
                data = now.store.read_ranges(now.shard_path(shard.shard, "tar"), [(offset, row["size"])])[0]
                assert hashlib.sha256(data).hexdigest() == row["sha256"]
    assert two.references() != {} and all(Release(forgotten.pool.store, name) for name in two.references().values())


def test_a_later_release_of_the_line_writes_no_shard_again(whole: Dataset, forgotten: Dataset, tmp_path):
    dataset = forgotten.copy(tmp_path / "data")
    two, again = successor(dataset, "two"), Release(dataset.pool.store, "again")
    writer = ShardWriter(dataset.pool, again, Target("no", format="original"), score_columns=[(PASS.name, ["clip.similarity"])], parent=two)
    shards = [(shard.shard, two.read_index(shard.shard, MEMBERS.names)) for shard in two.shards()]
    assert list(writer.write(shards)) == [number for number, _ in shards] and again.own_shards() == set()


def test_verify_finds_the_dataset_whole(forgotten: Dataset, capsys):
    assert verify(["--dataset", str(forgotten.root)]) == 0, capsys.readouterr().out


def test_documents_are_made_again_for_the_successor(whole: Dataset, tmp_path, capsys):
    dataset = whole.copy(tmp_path / "data")
    for name in ("one", "two"):
        assert documents(["--dataset", str(dataset.root), "--release", name]) == 0
    before = {path for path in Release(dataset.pool.store, "two").derived() if not path.startswith(("report/", "indexes/"))}
    pairs = [whole.of(*place) for place in GONE]
    assert {"ATTRIBUTION.csv", "croissant.json"} <= before
    assert run_forget(dataset, "--urls", write_ids(tmp_path / "ids", [pairs[0].url]), "--reason", "r") == 0
    for name in ("one", "two"):
        now = successor(dataset, name)
        assert not before & {path.removeprefix(f"releases/{name}/") for path, _ in dataset.pool.store.list(f"releases/{name}")}
        assert before <= set(now.derived())
        told = "".join(now.store.read(f"{now.path}/{path}").decode() for path in before)
        assert not any(text in told for pair in pairs for text in (pair.uid, pair.url)) and now.name in told
        for command, more in ((documents, []), (export, ["--format", "url-list", "--out", str(tmp_path / name)])):
            with pytest.raises((UsageError, ReleaseError), match=f"release {name} is gone: .*; use release {now.name}"):
                command(["--dataset", str(dataset.root), "--release", name, *more])
    assert left(dataset, *pairs) == []
    assert verify(["--dataset", str(dataset.root)]) == 0, capsys.readouterr().out


def members(release: Release, shard: int) -> dict[str, bytes]:
    with release.store.open(release.shard_path(shard, "tar")) as file, tarfile.open(fileobj=file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_of_a_retired_release_only_what_others_refer_to_is_left(forgotten: Dataset):
    referred = {
        f"releases/{holder}/shards/{shard:06d}.{suffix}"
        for release in releases(forgotten.pool.store) if release.notice() is None
        for shard, holder in release.references().items() for suffix in ("tar", "parquet")
    }  # fmt: skip
    for name in ("one", "two"):
        there = {path for path, _ in forgotten.pool.store.list(f"releases/{name}")}
        assert there - referred == {f"releases/{name}/manifest.json", f"releases/{name}/run.json"}
    assert any(path.startswith("releases/one/") for path in referred)
    tars = {Path(path).stem.rpartition("-")[0]: path for path, _ in forgotten.pool.store.list("pool/raw") if path.endswith(".tar")}
    assert tars == {name: forgotten.pool.raw_commit(name).tar for name in tars} and len(tars) == UNITS


def test_reviews_keep_what_is_about_others_and_find_their_images(whole: Dataset, forgotten: Dataset):
    uids = {whole.of(*place).uid for place in GONE}
    for path, moves in ((TASKS_PATH, {"tar", "offset"}), (ANSWERS_PATH, set())):
        old, new = (pq.read_table(dataset.root / path).to_pylist() for dataset in (whole, forgotten))
        kept = [row for row in old if row["uid"] not in uids]
        assert len(kept) < len(old) and [{k: v for k, v in row.items() if k not in moves} for row in kept] == [
            {k: v for k, v in row.items() if k not in moves} for row in new
        ]
    images = {pair.uid: pair.data for pair in whole.pairs}
    tasks = pq.read_table(forgotten.root / TASKS_PATH).to_pylist()
    with closing(sqlite3.connect(forgotten.root / "reviews/review.sqlite")) as database:
        in_database = database.execute('SELECT uid, tar, "offset", size FROM tasks').fetchall()
        acts = database.execute("SELECT act, task FROM journal").fetchall()
        with pytest.raises(sqlite3.IntegrityError, match="the journal is only ever added to"):
            database.execute("DELETE FROM journal")
        assert database.execute("SELECT count(*) FROM seats WHERE task NOT IN (SELECT task FROM tasks)").fetchone() == (0,)
    assert ("forget", None) in acts and {task for act, task in acts if act == "answer"} <= {row["task"] for row in tasks}
    for uid, tar, offset, size in [*in_database, *((row["uid"], row["tar"], row["offset"], row["size"]) for row in tasks)]:
        assert forgotten.pool.store.read_ranges(tar, [(offset, size)]) == [images[uid]]
    assert len(in_database) == len(tasks)


def test_logs_lose_the_lines_that_tell_of_it_alone(whole: Dataset, forgotten: Dataset):
    old, new = ((dataset.root / "logs/ingest.log").read_text("utf-8").splitlines() for dataset in (whole, forgotten))
    told = [number for number, line in enumerate(old) if any(whole.of(*place).url in line for place in GONE)]
    assert len(told) == 2 and [number for number, (was, is_) in enumerate(zip(old, new, strict=True)) if was != is_] == told


def test_a_loader_of_the_old_release_is_told_its_successor(whole: Dataset, forgotten: Dataset, tmp_path):
    name = successor(forgotten, "two").name
    with pytest.raises(ReleaseError, match=f"release two is gone: pairs were removed from it on request .*; use release {name}, which has"):
        open_release(forgotten.root / "releases" / "two", licenses=None, optouts=False)
    reading = open_release(whole.copy(tmp_path / "data").root, licenses=None, optouts=False)  # and one that is at it meanwhile
    assert forget_quickly(tmp_path / "data", write_ids(tmp_path / "ids", [whole.of(0, 1).url])) == 0
    with pytest.raises(ReleaseError, match=r"release two is gone: .*; use release"):
        list(zip(Loader(reading, size=32, batch=4, ahead=0), range(9), strict=False))
    training = open_release(forgotten.root, licenses=None, optouts=False)
    assert training.release.name == name and len(training.samples) == 5 * UNITS - len(GONE)
    seen = {uid for batch, _ in zip(Loader(training, size=32, batch=4, ahead=0), range(6), strict=False) for uid in batch.uids}
    assert len(seen) > 8


def test_the_receipt_says_what_was_done_and_what_cannot_be_reached(forgotten: Dataset):
    [removal] = removals(forgotten.pool.store)
    done, request = removal.done(), removal.request()
    assert request.reason == "request 17" and request.asked_by == "the owner" and request.named == {"url": 1}
    assert done["pairs"] == {"named": 1, "twins": 1} and set(done["releases"]["successors"]) == {"one", "two"}
    assert done["not_reached"]["releases_that_are_gone"] == ["one", "two"] and done["other_files"] == ["report.html"]
    stored = b"".join((forgotten.root / removal.path / name).read_bytes() for name in ("request.json", "done.json", "plan.parquet"))
    assert b"pictures.test" not in stored and "그림".encode() not in stored


def test_the_same_again_is_a_no_op_that_says_so(whole: Dataset, forgotten: Dataset, tmp_path, capsys):
    before = contents(forgotten.root)
    ids = write_ids(tmp_path / "urls.txt", [whole.of(0, 1).url])
    assert run_forget(forgotten, "--urls", ids, "--reason", "request 17") == 0
    assert "nothing of it came back, so there is nothing to do" in capsys.readouterr().out
    assert run_forget(forgotten, "--resume") == 0 and "every removal is done" in capsys.readouterr().out
    assert contents(forgotten.root) == before


# ---- the proof


def test_check_finds_nothing_and_then_a_trace_of_each_kind(whole: Dataset, forgotten: Dataset, tmp_path):
    dataset = forgotten.copy(tmp_path / "data")
    assert check_lines(dataset.pool, None)[0] == 0
    pair, root = whole.of(0, 1), dataset.root
    assert pair.data is not None
    found = picture_of(twin(pair.data))
    assert found is not None
    (root / "logs/worker.log").write_text(f"12:00 cannot read <{pair.url}>, gave up\n")
    (root / "pool/notes.json").write_text(json.dumps({"a": [json.dumps({"sha256": pair.sha256.upper()})]}))
    (root / "page.html").write_text(f'<img src="data:image/webp;base64,{base64.b64encode(twin(pair.data)).decode()}">')
    (root / "raw.bin").write_bytes(pair.data)
    pq.write_table(pa.table({"c": ["x", pair.uid]}), root / "uids.parquet")
    pq.write_table(pa.table({"c": pa.array([found[0]], pa.binary(32))}), root / "pdq.parquet")
    with tarfile.open(root / "a.tar", "w") as tar:
        tar.add(root / "raw.bin", "b.jpg")
    with closing(sqlite3.connect(root / "b.sqlite")) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("CREATE TABLE t (a TEXT)")
        database.executemany("INSERT INTO t VALUES (?)", [("x",), (f"see {pair.url} now" + " ." * 900,)])
        database.commit()
        database.execute("DELETE FROM t")
        database.commit()
    traces, lines = check_lines(dataset.pool, None)
    assert traces >= 8
    for name in ("logs/worker.log", "pool/notes.json", "page.html", "raw.bin", "uids.parquet", "pdq.parquet", "a.tar", "b.sqlite"):
        assert any(line.startswith(f"  {name}") for line in lines), (name, lines)
    with pytest.raises(UsageError, match="has no removal 123"):
        check_lines(dataset.pool, "123")


# ---- what names, and what does not


@pytest.mark.parametrize(
    ("flag", "ids", "gone"),
    [
        ("uids", lambda whole: [whole.of(1, 4).uid.upper()], {(1, 4)}),
        ("hashes", lambda whole: [whole.of(1, 2).sha256], {(1, 2)}),
        ("hashes", lambda whole: ["pdq:" + picture_of(whole.of(0, 1).data)[0].hex()], set(GONE)),
        ("creators", lambda whole: [" maker  2"], {(chunk, row) for chunk in range(UNITS) for row in (2, 5)}),
        ("domains", lambda whole: ["test"], {(chunk, row) for chunk in range(UNITS) for row in range(ROWS)}),
        ("urls", lambda whole: [whole.of(0, 7).url], {(0, 7)}),  # of a pair that was not found
    ],
)
def test_each_kind_of_id_names_its_pairs(whole: Dataset, tmp_path, flag, ids, gone):
    dataset = whole.copy(tmp_path / "data")
    assert forget_quickly(dataset.root, write_ids(tmp_path / "ids.txt", ids(whole)), flag) == 0
    blank = {
        (chunk, row)
        for chunk in range(UNITS)
        for row, status in enumerate(dataset.pool.read_raw(unit(chunk), ["status"])["status"].to_pylist())
        if status == "blocked"
    }
    assert blank == gone
    origins = dataset.pool.read_hosts("0")["origin"].to_pylist()
    assert origins == ["http://pictures.test:80"] * (flag != "domains") + ["http://others.example:80"]
    assert left(dataset, *(whole.of(*place) for place in sorted(gone)[:2])) == []
    assert check_lines(dataset.pool, None)[0] == 0


def test_lines_that_name_nothing_are_told_by_number(whole: Dataset, tmp_path, capsys):
    dataset, uid = whole.copy(tmp_path / "data"), whole.of(1, 4).uid
    ids = write_ids(tmp_path / "ids.txt", ["ab" * 16, "", uid])
    assert forget_quickly(dataset.root, ids, "uids") == 0
    said = capsys.readouterr().out
    assert "line 2: empty" in said and "line 1: no pair of this dataset has it; it is refused from now on all the same" in said
    bad = write_ids(tmp_path / "bad.txt", [uid, uid + "0"])
    before = contents(dataset.root)
    for path, flag, message in (
        (bad, "uids", r"--uids .*bad.txt, line 2: not a uid of 32 hex digits; nothing was removed"),
        (write_ids(tmp_path / "none.txt", ["", " "]), "urls", "2 lines, and none that names anything"),
        (tmp_path / "absent", "hashes", "No such file or directory; nothing was removed"),
        (write_ids(tmp_path / "md5.txt", ["ab" * 16]), "hashes", "line 1: not a SHA-256 in 64 hex digits, or pdq:"),
        (write_ids(tmp_path / "path.txt", ["a.test/x"]), "domains", "line 1: not a domain name"),
    ):
        with pytest.raises(UsageError, match=message) as told:
            run_forget(dataset, f"--{flag}", path, "--reason", "r")
        assert uid not in str(told.value)
    assert contents(dataset.root) == before
    with pytest.raises(UsageError, match="--reason: say why"):
        run_forget(dataset, "--uids", ids)
    with pytest.raises(UsageError, match="give one of --uids FILE"):
        run_forget(dataset, "--reason", "r")
    with pytest.raises(UsageError, match="no dataset here"):
        main(["--dataset", str(tmp_path / "nowhere"), "--check"])


# ---- special units


def test_the_users_own_tar_is_named_and_never_changed(tmp_path, capsys):
    pool = Pool(tmp_path / "data")
    dataset = make_dataset(tmp_path / "data", twins=())
    name, path = unit(1), tmp_path / "mine.tar"
    commit = pool.raw_commit(name)
    path.write_bytes(pool.store.read(commit.tar))  # the unit becomes one that lies in a tar of the user's
    table = pool.read_raw(name)
    for old in (commit.tar, f"pool/raw/{name}.parquet", f"pool/files/{name[:16]}.json"):
        pool.store.delete(old)
    pool.commit(name, table, tar=UserTar.of(path), input_digest="input 1")
    file = {"file": name[:16], "source": str(tmp_path), "path": "mine.tar", "kind": "tar", "size": 1, "digest": "d", "rows": 24}
    pool.store.put(
        f"pool/files/{name[:16]}.json", json.dumps({**file, "unit_size": 8, "offsets": [0, 8, 16], "lines": [0, 8, 16]}).encode()
    )
    before, pair = path.read_bytes(), dataset.of(1, 0)
    assert forget_quickly(dataset.root, write_ids(tmp_path / "ids", [pair.url])) == 0
    assert f"your own tar, which is never changed: {path}" in capsys.readouterr().out and path.read_bytes() == before
    now = pool.raw_commit(name)
    assert now.user_tar is None and now.tar.startswith(f"pool/raw/{name}-") and tars_that_hold_listed(pool, {})
    rows = [row for row in pool.read_raw(name).to_pylist() if row["offset"] is not None]
    data = pool.read_bytes(name, [row["offset"] for row in rows], [row["size"] for row in rows])
    assert list(data) == [each.data for each in dataset.pairs[ROWS : 2 * ROWS] if each.data and each.row] and left(dataset, pair) == []


def test_the_books_of_follow_ups_balance(whole: Dataset, tmp_path):
    dataset, pair = whole.copy(tmp_path / "data"), whole.of(0, 7)
    pool, name = dataset.pool, f"{unit(0)}.r1"
    plan = FollowUp(name, unit(0), 1, (7,), {"failed_to_download": 1})
    put_follow_up(pool, plan)
    row = {**pool.read_raw(unit(0)).to_pylist()[7], "row": 0}
    commit = pool.commit(name, table_of([row], pool.read_raw(unit(0)).schema), tar=None, input_digest="again")
    pool.commit_scores(PASS.name, name, table_of([{}], SCORES), input_digest=commit.content_digest)
    before = statuses_of(pool, pool.committed())
    assert forget_quickly(dataset.root, write_ids(tmp_path / "ids", [pair.url])) == 0
    after = statuses_of(pool, pool.committed())
    assert after == before - Counter(failed_to_download=1) + Counter(blocked=1)
    assert left(dataset, pair) == [] and pool.read_raw(name).to_pylist()[0]["status"] == "blocked"


# ---- nothing comes back


def test_a_twin_in_the_source_is_not_stored_and_one_in_the_pool_not_selected(whole: Dataset, forgotten: Dataset, tmp_path):
    """The picture in other bytes under another address: refused by fetch, where the workers read the removals for themselves; by select, where a
    job from before had stored it; and taken out by the same command again."""
    dataset, named = forgotten.copy(tmp_path / "data"), whole.of(0, 1)
    pool, again, harmless = dataset.pool, twin(named.data, quality=50), picture(9000)
    bodies = {"/twin.webp": again, "/fine.jpg": harmless, "/same": named.data}
    with Server(lambda path: Reply(body=bodies[path])) as server:
        rows = [{"url": server.url(path), "caption": f"caption of {path}"} for path in bodies]
        rows.append({"url": named.url, "caption": "another caption"})
        source = write_csv(tmp_path / "more.csv", rows)
        (entry,) = list_source(str(source), {})
        units = index_file(pool, entry, unit_size=10).units
        with beam.Pipeline(FnApiRunner(), options=PipelineOptions(direct_running_mode="in_memory")) as pipeline:
            digest = read_lists(pool.store).digest
            _ = pipeline | beam.Create(units) | FetchUnits(pool, RowReader(pool), settings(), lists=digest)
    found = pool.read_raw(units[0]).to_pylist()
    assert [(row["status"], row["uid"] is None) for row in found] == [
        ("blocked", True),
        ("success", False),
        ("blocked", True),
        ("blocked", True),
    ]
    assert pool.incidents()[units[0]] == {"pdq": 1, "sha256": 1, "url": 1} and left(dataset, named) == []

    late = unit(0, "f" * 16)  # committed by a job that had not read the removals
    hashes = picture_of(again)
    scores = {"image.pdq": hashes[0], "image.pdq_quality": hashes[1], "clip.similarity": 0.9}
    row = {"row": 0, "url": "http://other.test/x", "caption": "y", "uid": "e" * 32, "status": "success", "sha256": "1" * 64}
    for name, given in ((late, [row]), (units[0], found)):
        commit = pool.raw_commit(name) or pool.commit(name, table_of(given, pool.raw_schema(unit(1))), tar=None, input_digest="late")
        more = [scores] if name == late else [{} for _ in given]
        pool.commit_scores(PASS.name, name, table_of(more, SCORES), input_digest=commit.content_digest)
    policy = policy_of()
    names = sorted(pool.committed())
    with beam.Pipeline(FnApiRunner()) as pipeline:
        how = {"rows": 100, "lists": read_lists(pool.store).digest}
        select = SelectPairs(pool, Release(pool.store, "next"), Rules(policy), plan_selection(pool, names, policy), **how)
        _ = pipeline | beam.Create(names) | select
    [decided] = Release(pool.store, "next").read_decisions(late).to_pylist()
    assert decided["uid"] is None and decided["reasons"] == [LISTED] and decided["verdict"] == "drop"
    kept = [row for name in names for row in Release(pool.store, "next").read_decisions(name).to_pylist() if row["verdict"] == "keep"]
    assert kept and decode(again) is not None

    ids = write_ids(tmp_path / "urls.txt", [named.url])
    assert forget_quickly(dataset.root, ids, reason="request 17") == 0
    assert pool.read_raw(late).to_pylist()[0]["status"] == "blocked" and check_lines(pool, None)[0] == 0


def test_no_job_begins_while_a_removal_is_open(forgotten: Dataset, tmp_path):
    dataset = forgotten.copy(tmp_path / "data")
    [removal] = removals(dataset.pool.store)
    check_removals(dataset.pool.store)
    removal.reopen()
    with pytest.raises(
        UsageError, match=f"removal {removal.id} was begun and has not ended; first run python -m pipelines.forget .* --resume"
    ):
        check_removals(dataset.pool.store)
    with pytest.raises(UsageError, match=f"removal {removal.id} was begun and has not ended"):
        forget_quickly(dataset.root, write_ids(tmp_path / "ids", ["http://another.test/"]))
    assert run_forget(dataset, "--resume") == 0
    check_removals(dataset.pool.store)


def test_a_gate_that_fails_stops_no_removal(whole: Dataset, tmp_path, capsys):
    dataset, pair = whole.copy(tmp_path / "data"), whole.of(0, 1)
    failed = GateResults((Outcome("volume", "enough is kept", "critical", False, 1, "found 1"),))
    ids = write_ids(tmp_path / "ids", [pair.url])
    assert forget(dataset.pool, read_ids(str(ids), "urls"), reason="r", gates=lambda *_: failed) == 1
    assert "is NOT published, a gate stopped it" in capsys.readouterr().out and left(dataset, pair) == []
    name = successor(dataset, "two")
    with pytest.raises(ReleaseError, match=f"use release {name.name}"):
        Release(dataset.pool.store, "two").manifest()
    assert publish(dataset.pool, name, gates=no_gates).manifest["counts"]["keep"] == 5 * UNITS - len(GONE)
