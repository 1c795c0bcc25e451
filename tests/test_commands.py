"""The command line: mistakes get one clear line, exit code 2 and nothing written; explain, what_if and plan say what they promise."""

import json
import subprocess
from pathlib import Path

import pytest

from pipelines.ingest import main
from pipelines.run import command
from tests.block_lists import write_lists
from tests.conftest import Done, ingest, web_flags

POLICY = '[[rule]]\ncolumn = "{column}"\n{bound}\nreason = "clip:low_similarity"\n'


def refused(run, *words: str) -> None:
    assert run.returncode == 2, (run.returncode, run.stdout, run.stderr)
    lines = [line for line in run.stderr.splitlines() if line.startswith("pigment: error: ")]
    assert len(lines) == 1 and "Traceback" not in run.stderr, run.stderr
    for word in words:
        assert word in run.stderr, (word, run.stderr)


def told(capfd: pytest.CaptureFixture, *flags: str | Path) -> subprocess.CompletedProcess:
    """What `ingest` says to these flags, without a process of its own: for what is refused before any work."""
    capfd.readouterr()
    code = command(lambda: main([*map(str, flags)]))
    return subprocess.CompletedProcess(flags, code, *capfd.readouterr())


def policy_file(folder: Path, column: str, bound: str) -> Path:
    path = folder / "mine.toml"
    path.write_text('name = "mine"\n' + POLICY.format(column=column, bound=bound), "utf-8")
    return path


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--datset", "x"], ["unknown flag --datset", "did you mean --dataset"]),
        (["--source", "none.csv"], ["none.csv", "no such file"]),
        (["--source", "*.nothing"], ["no file matches"]),
        (["--policy", "nope"], ["no policy 'nope'", "embedded"]),
        (["--scorers", "embed,clipp"], ["clipp", "clip"]),
        (["--scorers", "image", "--person_names", "names.txt"], ["--person_names is read by deepfake", "leaves that out"]),
        (["--scorers", "image,deepfake"], ["scorer deepfake needs", "evidence.c2pa", "add to --scorers"]),
        (["--person_names", "none.txt"], ["none.txt", "one name a line"]),
        (["--deepfake_probe", "none.json"], ["none.json", "python -m quality.probe"]),
        (["--nsfw_head", "none.pth"], ["none.pth", "CLIP-based-NSFW-Detector"]),
        (["--stop_after", "fetch", "--start_at", "select"], ["comes before"]),
        (["--start_at", "select"], ["no dataset here"]),
        (["--sample", "2"], ["--sample", "at most 1"]),
        (["--scorers", "evidence", "--c2pa_trust", "none.pem"], ["none.pem", "certificates in PEM"]),
        (["--reviews", "none.parquet"], ["none.parquet is not there", "that a review wrote"]),
        (["--against", "embedded"], ["--against", "add --what_if"]),
        (["--engine", "warp"], ["warp", "onnxruntime-f32"]),
        (["--scorers", "image", "--engine", "onnxruntime-f32"], ["none of --scorers image has a model", "leave --engine out"]),
    ],
)
def test_mistakes_are_told_in_one_line_and_nothing_is_written(tmp_path, capfd, flags, words):
    dataset = tmp_path / "d"
    refused(told(capfd, "--dataset", dataset, *flags), *words)
    assert not dataset.exists()


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ('min = "high"', ["mine.toml: rule 1 (clip.similarity)", "'min' must be a number"]),
        ("min = 0.1\nmax_ = 2", ["unknown field 'max_'", "known:"]),
        ("do = 'drop'", ["no bound"]),
    ],
)
def test_a_bad_policy_is_told_before_anything_is_fetched(tmp_path, capfd, bound, words):
    refused(told(capfd, "--dataset", tmp_path / "d", "--policy", policy_file(tmp_path, "clip.similarity", bound)), *words)
    assert not (tmp_path / "d").exists()


def test_a_policy_that_does_not_fit_the_pool(done: Done, tmp_path, capfd):
    select = ("--dataset", done.root, "--start_at", "select", "--what_if", "--policy")
    refused(
        told(capfd, *select, policy_file(tmp_path, "clip.similarty", "min = 0.1")),
        "unknown column 'clip.similarty'",
        "did you mean clip.similarity",
    )
    refused(told(capfd, *select, policy_file(tmp_path, "license.class", "min = 1")), "need a column of numbers")
    other = 'min = 0.28\nscorer = "clip:ViT-B-32/openai"'
    refused(
        told(capfd, *select, policy_file(tmp_path, "clip.similarity", other)),
        "calibrated on clip:ViT-B-32/openai",
        "the pool has clip:pigment-embedded",
    )


def test_what_the_first_run_fixed_stays(done: Done, small_web, tmp_path, capfd):
    base = ("--dataset", done.root, "--source", small_web.pairs_csv, "--host_map", small_web.host_map)
    refused(told(capfd, *base, "--unit_size", "31"), "--unit_size 30", "not 31")
    refused(told(capfd, *base, "--store", "resized"), "store = original")
    other = tmp_path / "other.csv"
    other.write_text("url,caption\nhttp://a.test/1,c\n", "utf-8")
    refused(told(capfd, "--dataset", done.root, "--source", other), "--add_source")


def test_an_unwritable_target(tmp_path):
    target = tmp_path / "file"
    target.write_text("not a folder")
    refused(ingest("--dataset", target / "d"), "cannot write", "file: Not a directory")


@pytest.mark.parametrize("start", ["fetch", "select"])
@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("", ["PIGMENT_BLOCK_LISTS is set and empty"]),
        ("none", ["/none: No such file or directory"]),
        ("lists", ["lists/sha256.txt, line 5: not a SHA-256 in 64 hex digits"]),
    ],
)
def test_block_lists_that_cannot_be_used(done: Done, tmp_path, capfd, monkeypatch, start, named, words):
    write_lists(tmp_path / "lists", {"sha256": ["00" * 32, "# two", "5ec2e7"]})
    before = {path: path.stat().st_mtime_ns for path in done.root.rglob("*")}
    monkeypatch.setenv("PIGMENT_BLOCK_LISTS", str(tmp_path / named) if named else "")
    run = told(capfd, "--dataset", done.root if start == "select" else tmp_path / "d", "--start_at", start)
    refused(run, *words)
    assert "5ec2e7" not in run.stdout + run.stderr and not (tmp_path / "d").exists()
    assert {path: path.stat().st_mtime_ns for path in done.root.rglob("*")} == before


def test_explain_shows_values_bounds_and_what_would_have_kept_it(done: Done):
    ledger = done.ledger()
    low = next(row for row in ledger.values() if row["reasons"] == ["clip:low_similarity"])
    run = ingest("--dataset", done.root, "--uid", low["uid"], module="pipelines.explain")
    assert run.returncode == 0, run.stderr
    for wanted in (
        low["uid"],
        low["caption"],
        f"verdict    {low['verdict']}",
        "clip:low_similarity",
        "clip.similarity",
        "at least",
        "would have kept it",
        "min =",
    ):
        assert wanted in run.stdout, run.stdout
    gone = next(row for row in done.web.table if row.error == "http_404")
    run = ingest("--dataset", done.root, "--url", gone.url, module="pipelines.explain")
    assert "http_404" in run.stdout and "fetch:failed_to_download" in run.stdout
    refused(ingest("--dataset", done.root, "--uid", "f" * 32, module="pipelines.explain"), "no pair with uid")


def test_what_if_prints_both_funnels_and_writes_nothing(done: Done, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in done.root.rglob("*")}
    policy = policy_file(tmp_path, "clip.similarity", "min = 0.99")
    run = ingest("--dataset", done.root, "--start_at", "select", "--what_if", "--policy", policy)
    assert run.returncode == 0, run.stderr
    assert "policy mine would give" in run.stdout and "now" in run.stdout and "nothing was written" in run.stdout
    keep = next(line for line in run.stdout.splitlines() if line.strip().startswith("keep"))
    assert keep.split()[1] == "0", keep
    assert {path: path.stat().st_mtime_ns for path in done.root.rglob("*")} == before


def test_another_policy_is_another_release(done: Done, copied, tmp_path):
    policy = policy_file(tmp_path, "clip.similarity", "min = -1.0\nmissing = 'keep'")
    done.web.reset()
    run = ingest("--dataset", copied, "--start_at", "select", "--policy", policy, "--json")
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout)
    assert summary["balanced"] and summary["release"] != done.release.name and done.web.requests == []
    assert (copied / "releases" / done.release.name / "manifest.json").exists(), "releases never change"
    run = ingest("--dataset", copied, "--start_at", "select", "--release", done.release.name, "--policy", policy)
    refused(run, "releases never change")


def test_a_gate_that_fails_ends_the_job_and_is_the_last_thing_on_its_screen(done: Done, copied, tmp_path):
    """A user's own gate, and then none: the same command ends in a release, whose warnings it tells."""
    own = tmp_path / "own.py"
    own.write_text(
        "from quality.gates.suite import Stop, Suite\n"
        "class AMillionPairsAreKept(Stop):\n    column: str = 'keep'\n    min_value: int = 1_000_000\n"
        "SUITES = [Suite('ours', 'release', [AMillionPairsAreKept()])]\n",
        "utf-8",
    )
    select = ("--dataset", copied, "--start_at", "select", "--release", "strict")
    select = (*select, "--policy", policy_file(tmp_path, "clip.similarity", "min = 0.45"))
    run = ingest(*select, "--gates", own)
    assert run.returncode == 1, run.stderr
    lines = run.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("Release strict is not published. "))
    assert "critical: a million pairs are kept (ours): 1 of 1 rows: " in lines[place]
    assert sum(-(-len(line) // 80) for line in lines[place:]) < 24, "from the reason on, no more than a screen"
    base = copied / "releases" / "strict"
    assert json.loads((base / "gates.json").read_text("utf-8"))["passed"] is False and not (base / "manifest.json").exists()
    assert (copied / "releases" / "latest").read_text("utf-8") == done.release.name
    run = ingest(*select, "--start_at", "shard")
    assert run.returncode == 0, run.stderr
    assert "gates: " in run.stdout and "warning: kept share stays near the parents (against the parent): " in run.stdout
    assert json.loads((base / "gates.json").read_text("utf-8"))["passed"] is True and (base / "manifest.json").exists()


def test_plan_says_what_it_would_do(small_web, tmp_path):
    run = ingest("--dataset", tmp_path / "d", "--plan", *web_flags(small_web))
    assert run.returncode == 0, run.stderr
    assert f"{len(small_web.table):,} rows" in run.stdout and "nothing was written" in run.stdout
    assert not (tmp_path / "d").exists()


def test_help_has_examples_and_defaults():
    run = ingest("--help")
    assert run.returncode == 0
    for wanted in ("examples:", "exit codes:", "(default: pigment-sample)", "--policy", "The same command continues"):
        assert wanted in run.stdout
