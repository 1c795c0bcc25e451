"""A comparison run whole on tiny models and releases, and what it says of known differences."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pipelines.publish import publish
from tests.releases import make_release
from tests.training.tiny_pipelines import make_sd15
from training.card import write_card
from training.checkpoints import open_pipeline
from training.compare import main
from training.comparing.figures import NONE, ONE, UNKNOWN, compare, differences, verdict
from training.comparing.report import document, plot, table
from training.comparing.runs import Plan, Run, RunFailed, finished, run_all
from training.comparing.scores import Score
from training.measures.figures import Figure
from training.reference import reference_pairs
from training.releases import open_release

ALLOWED = ("--allow_licenses", "any", "--ignore_optouts")  # nothing is known of the tests' licences


def score(**values: float | None) -> Score:
    return Score(
        {name: Figure(value, 9, note="" if value is not None else "too few") for name, value in values.items()}, {}, [], {}, Path(".")
    )


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three: 6 pairs, the 18 that hold those, and 6 others to measure on."""
    found = []
    for name, units in (("a", 1), ("b", 3)):
        pool, release = make_release(tmp_path_factory.mktemp(name), units=units)
        publish(pool, release)
        found.append(Path(pool.store.root))
    return found


# ---- what is better


def test_a_difference_counts_where_its_interval_leaves_zero_out():
    assert verdict(Figure(-0.2, 3, -0.3, -0.1), "lower", "raw", "curated") == "curated better"
    assert verdict(Figure(-0.2, 3, -0.3, -0.1), "higher", "raw", "curated") == "raw better"
    assert verdict(Figure(0.2, 3, 0.1, 0.3), "higher", "raw", "curated") == "curated better"
    assert verdict(Figure(0.2, 3, -0.001, 0.5), "higher", "raw", "curated") == NONE
    assert verdict(Figure(0.2, 3, 0.0, 0.4), "higher", "raw", "curated") == NONE
    assert verdict(Figure(0.2, 1), "higher", "raw", "curated") == ONE
    assert verdict(Figure(None, 0), "higher", "raw", "curated") == UNKNOWN


def test_differences_are_paired_by_seed():
    ones, others = [score(cmmd=1.0), score(cmmd=5.0), score(cmmd=None)], [score(cmmd=0.9), score(cmmd=4.8), score(cmmd=1.0)]
    found = differences("cmmd", ones, others)
    assert found.value == pytest.approx(-0.15) and found.n == 2  # between seeds there are 4: unpaired, nothing could be told
    assert differences("kid", ones, others).value is None


def test_the_table_says_which_is_better_and_what_was_not_measured(datasets, tmp_path):
    release = open_release(datasets[1], licenses=None, optouts=False)
    pairs = reference_pairs(release, split="any", count=4)
    plan = Plan(tmp_path, "embedded", {"raw": "r", "curated": "c"}, 10, 3, ())
    told = {"release": {"name": "one", "digest": "d" * 64, "licenses": {"unknown": 6}, "pairs": {"all": 6, "trained_on": 6, "measured": 0}}}
    runs, scores = [], {"base": score(cmmd=2.0, clip_score=0.1, fd=None)}
    for seed, (raw, curated) in enumerate(((1.0, 0.8), (1.2, 0.99), (1.1, 0.89))):
        for of, value in (("raw", raw), ("curated", curated)):
            run = Run(of, seed, tmp_path / f"{of}-{seed}", {**told, "samples_seen": 160, "seconds": 3.0})
            runs.append(run)
            scores[run.name] = score(cmmd=value, clip_score=0.1 + seed / 100, fd=None)
    found = compare(
        plan, runs, scores, pairs=pairs, others=None, split="any", features="embedded CLIP", draw={"steps": 5, "guidance": 4, "seed": 0}
    )
    cmmd, clip, fd = (found["measures"][name] for name in ("cmmd", "clip_score", "fd"))
    assert cmmd["says"] == "curated better" and cmmd["difference"]["value"] == pytest.approx(-0.20667, abs=1e-4)
    assert cmmd["against_base"]["raw"]["says"] == "raw better"
    assert clip["says"] == NONE and clip["difference"]["value"] == 0  # an interval of no width that is zero holds zero
    assert fd["says"] == UNKNOWN and fd["notes"] == ["too few"]
    assert found["runs"][0]["distinct_at_most"] == 6
    rows = {row[0]: row for row in table(found)}
    assert rows["CMMD, embedded CLIP"][2:5] == ["2.000", "1.100", "0.893"] and rows["CMMD, embedded CLIP"][-1] == "curated better"
    assert rows["FD, embedded CLIP"][3] == "not measured"
    assert "Of 2 measures 1 for curated and 0 for raw; the others show no difference." in document(found)
    plot(tmp_path / "plot.png", found)
    with Image.open(tmp_path / "plot.png") as image:
        assert min(image.size) > 300


# ---- runs


def test_flags_that_the_comparison_decides_are_refused(tmp_path):
    plan = Plan(tmp_path, "embedded", {"raw": "r", "curated": "c"}, 10, 3, ("--seed", "4"))
    with pytest.raises(RunFailed, match="--seed: this command decides that"):
        run_all(plan, say=lambda text: None)
    with pytest.raises(SystemExit):
        run_all(Plan(tmp_path, "embedded", {"raw": "r", "curated": "c"}, 10, 3, ("--no_such_flag", "4")), say=lambda text: None)


def test_names_become_folders_and_are_checked(capsys):
    flags = ["--releases", "a", "b", "--reference", "c", "--out", "d"]
    assert main([*flags, "--names", "x", "x"]) == 2
    assert main([*flags, "--names", "../x", "y"]) == 2
    assert "two different names of letters" in capsys.readouterr().err


# ---- whole


@pytest.fixture(scope="module")
def compared(datasets, tmp_path_factory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("compared")
    base = make_sd15(folder / "tiny")
    command = [
        "--base", str(base), "--releases", str(datasets[1]), str(datasets[0]), "--reference", str(datasets[1]), "--split", "any", "--count", "6",
        "--steps", "2", "--seeds", "1", "--draw_steps", "2", "--device", "cpu", "--out", str(folder / "out"), "--batch", "2", "--held_out_pairs", "2",
        *ALLOWED, "--validation", "",
    ]  # fmt: skip
    assert main(command) == 0
    return folder / "out", command


def test_a_comparison_is_run_whole(compared, datasets):
    out, _ = compared
    told = json.loads((out / "comparison.json").read_text())
    assert [run["name"] for run in told["runs"]] == ["raw-0", "curated-0"] and told["runs"][0]["samples_seen"] == 4
    loss = told["measures"]["heldout_loss"]
    assert loss["values"]["raw"][0] != loss["base"] and loss["says"] == ONE
    assert told["measures"]["nearer_to_training"]["base"] is None and told["measures"]["nearer_to_training"]["values"]["raw"][0] is not None
    for name in ("comparison.png", "grid.png"):
        with Image.open(out / name) as image:
            image.load()
    run = json.loads((out / "runs" / "raw-0" / "run.json").read_text())
    assert (run["knobs"]["steps"], run["knobs"]["seed"], run["release"]["pairs"]["all"]) == (2, 0, 18)
    assert "## Evaluation" in write_card(out / "runs" / "raw-0", evaluation=out / "evaluations" / "raw-0").read_text("utf-8")
    assert "Every setting" in (out / "runs" / "curated-0" / "README.md").read_text("utf-8")  # by finetune itself
    open_pipeline(out / "runs" / "curated-0")


def test_what_is_done_is_not_done_again(compared, capsys):
    out, command = compared
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*.json")}
    first = (out / "comparison.md").read_text("utf-8")
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*/*.json")} == before
    assert (out / "comparison.md").read_text("utf-8") == first
    assert "one seed: no interval" in capsys.readouterr().out
    plan = Plan(out, command[1], {"raw": command[3], "curated": command[4]}, 3, 1, command[command.index("--batch") :])
    assert finished(out / "runs" / "raw-0", plan.flags("raw", 0)) is None  # 3 steps are asked, 2 were done
