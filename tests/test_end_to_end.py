"""The main job over the small web: nothing lost, every fault under its own reason, the same bytes in every mode and after every kill."""

import copyreg
import io
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import webdataset
from PIL import Image

from pipelines.ingest import main
from schemas.columns import RAW
from schemas.reasons import FETCH_STATUSES, VERDICTS, check_reason
from tests.conftest import ROOT, Done, digests, ingest, manifest_of, web_flags


def test_the_screen_says_what_happened_and_where_everything_is(done: Done):
    text = done.run.stdout
    for wanted in (
        "rows in",
        "keep",
        "drop",
        "commonest reasons",
        "shards ",
        "decisions ",
        "manifest ",
        "pairs in",
        "next: ",
        "python -m quality.report --dataset",
        "python -m pipelines.explain --dataset",
    ):
        assert wanted in text, text
    assert "WARNING" not in text + done.run.stderr and "Traceback" not in done.run.stderr


def test_the_run_says_how_long_each_step_took(done: Done):
    took = done.release.run()["took"]
    rows = sum(done.pool.planned_units().values())
    assert {step: told["pairs"] for step, told in took.items()} == {
        "fetch and score": rows, "select": rows, "shard": done.release.manifest()["counts"]["keep"],
    }  # fmt: skip
    assert all(told["seconds"] > 0 for told in took.values())


def test_rows_in_are_rows_out(done: Done):
    planned = done.pool.planned_units()
    decided = {unit.unit: unit for unit in done.release.decided()}
    assert set(decided) == set(planned)
    for unit, rows in planned.items():
        assert decided[unit].rows == rows == decided[unit].keep + decided[unit].review + decided[unit].drop
        assert done.pool.read_raw(unit, ["row"])["row"].to_pylist() == list(range(rows))
    counts = manifest_of(done.root)["counts"]
    assert counts["rows"] == len(done.web.table) == counts["keep"] + counts["review"] + counts["drop"] + counts["deferred"]


def test_every_planned_fault_is_in_the_ledger_under_its_own_reason(done: Done):
    ledger = done.ledger()
    wrong = []
    for row in done.web.table:
        found = ledger[row.source_id]
        if found["status"] != row.status or found["error"] != row.error:
            wrong.append((row.fault, row.url, row.status, row.error, found["status"], found["error_message"]))
        elif row.status != "success" and (found["verdict"], found["reasons"]) != ("drop", [row.reason]):
            wrong.append((row.fault, row.url, row.reason, found["verdict"], found["reasons"]))
        elif row.sha256 is not None and found["sha256"] != row.sha256:
            wrong.append((row.fault, row.url, "other bytes"))
        elif row.decodes in ("no", "partly") and "image:undecodable" not in found["reasons"]:
            wrong.append((row.fault, row.url, "undecodable", found["reasons"]))
        elif row.decodes == "whole" and "image:undecodable" in found["reasons"]:
            wrong.append((row.fault, row.url, "decodes", found["reasons"]))
    assert not wrong, "\n".join(map(str, wrong))
    assert len(ledger) == len(done.web.table)


def test_duplicates_name_the_pair_that_stayed(done: Done):
    ledger = done.ledger()
    by_uid = {row["uid"]: row for row in ledger.values() if row["verdict"] != "drop"}
    dropped = [row for row in ledger.values() if any(reason.startswith("duplicate:") for reason in row["reasons"])]
    assert dropped, "the small web has duplicates"
    for row in dropped:
        assert row["duplicate_of"] is not None
    again = [row for row in done.web.table if row.fault == "copy" and ledger[row.source_id]["sha256"] is not None]
    assert again
    for row in again:
        twins = [other for other in ledger.values() if other["sha256"] == ledger[row.source_id]["sha256"] and other["uid"] in by_uid]
        assert len(twins) <= 1, "one picture stays once"


def test_words_are_from_the_closed_set(done: Done):
    for row in done.ledger().values():
        assert row["verdict"] in VERDICTS and row["status"] in FETCH_STATUSES
        assert all(check_reason(reason) for reason in row["reasons"])


def test_img2datasets_column_names_hold(done: Done):
    names = done.pool.raw_schema(sorted(done.pool.committed())[0]).names
    wanted = ["key", "status", "error_message", "width", "height", "original_width", "original_height", "exif", "sha256", "url", "caption"]
    assert set(wanted) <= set(names) and names[: len(RAW)] == RAW.names


def test_webdataset_reads_what_the_ledger_says(done: Done):
    ledger = {row["uid"]: row for row in done.ledger().values() if row["verdict"] == "keep"}
    shards = sorted(str(path) for path in (done.root / done.release.path / "shards").glob("*.tar"))
    seen = {}
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        known = ledger[sample["__key__"]]
        told = json.loads(sample["json"])
        assert sample["txt"].decode() == known["caption"] == told["caption"]
        assert told["clip.similarity"] == pytest.approx(known["clip.similarity"])
        image = Image.open(io.BytesIO(sample["jpg"]))
        image.load()
        assert image.size == (told["width"], told["height"]) and "exif" not in image.info
        assert image.mode in ("RGB", "L"), "a grey JPEG that needs no change goes on as it is: quality/images/metadata.py"
        seen[sample["__key__"]] = True
    assert set(seen) == set(ledger)


def test_the_index_points_at_the_very_bytes(done: Done):
    for shard in done.release.shards():
        tar = (done.root / done.release.shard_path(shard.shard, "tar")).read_bytes()
        for row in done.release.read_index(shard.shard).to_pylist():
            image = Image.open(io.BytesIO(tar[row["offset"] : row["offset"] + row["size"]]))
            assert image.size == (row["width"], row["height"])


def test_stored_bytes_are_as_they_came(done: Done):
    import hashlib

    for unit in sorted(done.pool.committed()):
        rows = done.pool.read_raw(unit, ["status", "offset", "size", "sha256"])
        rows = rows.filter(pc.equal(rows["status"], "success")).to_pylist()
        for row, data in zip(rows, done.pool.read_bytes(unit, [r["offset"] for r in rows], [r["size"] for r in rows]), strict=True):
            assert hashlib.sha256(data).hexdigest() == row["sha256"]


def test_the_same_command_again_changes_nothing(done: Done):
    before = {path: path.stat().st_mtime_ns for path in done.root.rglob("*.*") if "logs" not in path.parts}
    done.web.reset()
    run = ingest("--dataset", done.root, *web_flags(done.web))
    assert run.returncode == 0 and "already published" in run.stdout
    assert done.web.requests == [], "a committed unit asks for nothing"
    assert {path: path.stat().st_mtime_ns for path in done.root.rglob("*.*") if "logs" not in path.parts} == before


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_every_running_mode_gives_the_same_bytes(done: Done, tmp_path, mode):
    done.web.reset()
    run = ingest("--dataset", tmp_path / "d", "--running_mode", mode, *web_flags(done.web))
    assert run.returncode == 0, run.stderr
    assert digests(tmp_path / "d") == digests(done.root)


def test_the_main_graph_pickles_no_batch(copied, tmp_path, monkeypatch):
    """A lost type hint would make Beam pickle batches; here that raises. Select and shard are the graphs that shuffle any."""

    def refuse(batch):
        raise AssertionError("a RecordBatch was pickled")

    monkeypatch.setitem(copyreg.dispatch_table, pa.RecordBatch, refuse)
    policy = tmp_path / "other.toml"
    policy.write_text('name = "other"\n[[rule]]\ncolumn = "image.aspect"\nmax = 4\nreason = "image:aspect"\n', "utf-8")
    flags = ["--dataset", str(copied), "--start_at", "select", "--policy", str(policy), "--running_mode", "in_memory"]
    assert main(flags) == 0


def _heeds_ctrl_c() -> None:
    """A shell's background job, as this test may be, ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_leaves_a_resumable_state(done: Done, tmp_path):
    root = tmp_path / "d"
    done.web.reset()
    command = [sys.executable, "-m", "pipelines.ingest", "--dataset", str(root), *web_flags(done.web)]
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=_heeds_ctrl_c
    )
    deadline = time.monotonic() + 120
    while not list(root.glob("pool/raw/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "the same command goes on" in errors and "Traceback" not in errors
    done.web.reset()
    run = ingest("--dataset", root, *web_flags(done.web))
    assert run.returncode == 0, run.stdout + run.stderr
    assert digests(root) == digests(done.root)
