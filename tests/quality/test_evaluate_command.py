"""`python -m quality.evaluate` as a user runs it, on a real pool."""

import json
import subprocess
import sys

import pytest

from quality.evaluation import plots
from tests.conftest import ROOT, ingest
from tests.pools import make_pool

MODULE = "quality.evaluate"


@pytest.fixture
def dataset(tmp_path):
    values = [(0.1, 0.9), (0.4, 0.2), (0.35, None), (0.8, 0.1)]
    rows = [{"uid": f"{number:032x}", "clip.similarity": one, "nsfw.open_nsfw": two} for number, (one, two) in enumerate(values)]
    make_pool(tmp_path / "d", [rows[:2], rows[2:]])
    return tmp_path / "d"


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "l.csv"
    answers = ["no", "no", "yes", "yes"]
    path.write_text("uid,answer\n" + "".join(f"{number:032x},{answer}\n" for number, answer in enumerate(answers)) + "f" * 32 + ",yes\n")
    return path


def test_known_answers_on_the_screen_and_in_json(dataset, labels, tmp_path):
    run = ingest("--dataset", dataset, "--labels", labels, "--column", "clip.similarity", "--at", "0.35", module=MODULE)
    assert run.returncode == 0, run.stderr
    for wanted in ("4 used: 2 yes, 2 no; 0 not measured", "1 not in the pool", "ROC AUC    0.750", "PR AP      0.833", "0.35       0.667"):
        assert wanted in run.stdout, run.stdout
    run = ingest("--dataset", dataset, "--labels", labels, "--column", "nsfw.open_nsfw", "--json", "--out", tmp_path / "out", module=MODULE)
    told = json.loads(run.stdout)
    assert told["measured"]["missing"] == 1 and told["measured"]["roc_auc"]["value"] == 0 and told["labels"]["used"] == 3
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8")) == told
    made = {path.name for path in (tmp_path / "out").glob("*.svg")}
    assert made == ({"roc.svg", "precision_recall.svg", "calibration.svg"} if plots.can_plot() else set())


@pytest.mark.skipif(not plots.can_plot(), reason="not run: matplotlib is not installed")
def test_plots_are_the_same_bytes_again(dataset, labels, tmp_path):
    for name in ("one", "two"):
        run = ingest(
            "--dataset",
            dataset,
            "--labels",
            labels,
            "--column",
            "license.class",
            "--yes",
            "attribution",
            "--out",
            tmp_path / name,
            module=MODULE,
        )
        assert run.returncode == 0 and "attribution as yes: precision 0.500" in run.stdout, run.stdout + run.stderr
    one, two = ((tmp_path / name / "confusion.svg").read_bytes() for name in ("one", "two"))
    assert one == two and b"<svg" in one


def test_without_matplotlib_it_says_so(dataset, labels, tmp_path):
    code = "import sys; sys.modules['matplotlib'] = None\nimport importlib.util as u; find = u.find_spec\n"
    code += "u.find_spec = lambda name, *more: None if name == 'matplotlib' else find(name, *more)\n"
    code += "import runpy; sys.argv[0] = 'x'; runpy.run_module('quality.evaluate', run_name='__main__')"
    flags = ["--dataset", dataset, "--labels", labels, "--column", "clip.similarity", "--out", tmp_path / "out"]
    run = subprocess.run([sys.executable, "-c", code, *map(str, flags)], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0 and "no plots: matplotlib is not installed (pip install 'pigment[plots]')" in run.stdout, (
        run.stdout + run.stderr
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--column", "clip.similarty"], ["no column 'clip.similarty'", "did you mean clip.similarity"]),
        (["--column", "clip.similarity", "--labels", "none.csv"], ["none.csv", "No such file"]),
        (["--column", "clip.similarity", "--dataset", "nowhere"], ["no dataset here"]),
        (["--column", "clip.similarity", "--scorer", "clip:other"], ["clip:other", "the pool has clip:pigment-embedded"]),
        (["--column", "image.pdq"], ["needs numbers, text or true and false"]),
        (["--column", "license.class"], ["--yes WORD,WORD"]),
        (["--column", "clip.similarity", "--out", __file__], ["--out", "File exists"]),
        (["--colum", "x"], ["--column"]),
    ],
)
def test_mistakes_are_one_line(dataset, labels, flags, words):
    run = ingest("--dataset", dataset, "--labels", labels, *flags, module=MODULE)
    assert run.returncode == 2 and "Traceback" not in run.stderr and run.stderr.startswith("pigment: error: "), run.stderr
    assert all(word in run.stderr for word in words), run.stderr


def test_labels_of_another_pool(dataset, tmp_path):
    path = tmp_path / "l.csv"
    path.write_text("uid,answer\n" + "e" * 32 + ",yes\n")
    run = ingest("--dataset", dataset, "--labels", path, "--column", "clip.similarity", module=MODULE)
    assert run.returncode == 2 and "none of its 1 pairs" in run.stderr


def test_help_has_examples():
    run = ingest("--help", module=MODULE)
    assert run.returncode == 0 and "examples:" in run.stdout and "exit codes:" in run.stdout
