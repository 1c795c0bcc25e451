"""The probe: the optimum it must find, calibration that holds on new data, folds from hashes, and the command."""

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import minimize

from quality.deepfake.fit import FOLDS, FitError, _objective, fit, folds_of, logistic, platt
from quality.deepfake.probe import read_probe
from quality.deepfake.table import PROBE_MOST
from quality.evaluation.measures import Ranked
from quality.scorers.embed import without_engine
from schemas.units import Pass, ScorerInfo
from tests.conftest import ingest
from tests.pools import make_pool, unit

VERSION = "tiny@12345678;open_clip side512;torch-f32;1"


def data(rows: int, seed: int = 0, strength: float = 3.0, numbers: int = 16):
    """Embeddings, normalised, and labels drawn with log odds that are linear in them."""
    generator = np.random.Generator(np.random.PCG64(seed))
    embeddings = generator.normal(size=(rows, numbers))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    odds = strength * numbers**0.5 * embeddings[:, 0] - 1
    return [f"{seed}-{row}" for row in range(rows)], embeddings, generator.random(rows) < 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
def test_newton_finds_what_a_general_optimiser_finds(penalty):
    _, rows, truth = data(200)
    line = logistic(rows, truth, penalty)
    design, ridge = np.hstack([rows, np.ones((200, 1))]), np.full(17, penalty)
    ridge[-1] = 1e-9
    other = minimize(lambda beta: _objective(design, truth * 1.0, ridge, beta), np.zeros(17), method="BFGS", options={"gtol": 1e-6})
    assert np.append(line.weights, line.bias) == pytest.approx(other.x, abs=2e-3)


def test_separable_labels_have_finite_weights():
    rows = np.array([[1.0, 0], [-1, 0]]).repeat(20, axis=0)
    line = logistic(rows, rows[:, 0] > 0, 0.01)
    assert np.isfinite(line.weights).all() and line.weights[0] > 3 and abs(line.bias) < 1e-6


def test_platt_is_the_maximum_likelihood_of_his_targets():
    generator = np.random.Generator(np.random.PCG64(5))
    raw = generator.normal(size=4000)
    truth = generator.random(4000) < 1 / (1 + np.exp(-(2 * raw - 1)))
    assert platt(raw, truth) == (pytest.approx(2, abs=0.2), pytest.approx(-1, abs=0.15))
    slope, offset = platt(-raw, truth)
    assert slope == 0 and 1 / (1 + np.exp(-offset)) == pytest.approx(truth.mean())


def test_folds_hang_on_uids_alone():
    uids, _, truth = data(103)
    folds = folds_of(uids, truth)
    order = np.random.Generator(np.random.PCG64(1)).permutation(103)
    assert (folds_of([uids[row] for row in order], truth[order]) == folds[order]).all()
    counts = np.array([[((folds == fold) & (truth == kind)).sum() for kind in (True, False)] for fold in range(FOLDS)])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_what_the_card_says_holds_on_new_data():
    probe = fit(*data(600), embedding="tiny")
    _, rows, truth = data(5000, seed=9)
    area = Ranked(truth, probe.probability(rows)).roc_auc(np.ones(5000))
    told = probe.card["held_out"]["roc_auc"]
    assert told["low"] - 0.02 < area < told["high"] + 0.02 and area > 0.9
    found = probe.probability(rows)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        these = (found >= low) & (found < low + 0.2)
        assert found[these].mean() == pytest.approx(truth[these].mean(), abs=0.08)


def test_labels_without_a_pattern_give_no_evidence():
    uids, rows, truth = data(300, strength=0.0)
    probe = fit(uids, rows, truth, embedding="tiny")
    assert probe.card["held_out"]["roc_auc"]["low"] < 0.5
    assert np.abs(probe.evidence(rows)).max() < 0.6


def test_evidence_is_bounded_and_never_against():
    probe = fit(*data(600), embedding="tiny")
    llr = probe.evidence(data(2000, seed=2)[1])
    assert llr.min() == 0 and llr.max() == PROBE_MOST
    assert np.isnan(probe.evidence(np.full((1, 16), np.nan))).all()


def test_too_few_labels():
    uids, rows, truth = data(40)
    with pytest.raises(FitError, match="a probe needs at least 20 of each"):
        fit(uids, rows, truth, embedding="tiny")


# ---- the command


def make_dataset(root, rows=120):
    uids, embeddings, truth = data(rows)
    pool = make_pool(root, [[{"uid": uid} for uid in uids[:70]], [{"uid": uid} for uid in uids[70:]]])
    pass_ = Pass.of([ScorerInfo("embed", VERSION, ("embed.image",))])
    pool.put_pass(pass_)
    for chunk, part in enumerate((embeddings[:70], embeddings[70:])):
        commit = pool.raw_commit(unit(chunk))
        vectors = [*part.tolist()[:-1], None]  # the last of each unit has none
        table = pa.table({"embed.image": pa.array(vectors, pa.list_(pa.float16()))})
        pool.commit_scores(pass_.name, unit(chunk), table, input_digest=commit.content_digest)
    labels = root.parent / "labels.csv"
    labels.write_text("uid,label\n" + "".join(f"{uid},{'yes' if one else 'no'}\n" for uid, one in zip(uids, truth, strict=True)))
    return labels


def test_the_command_writes_a_probe_with_its_card(tmp_path):
    labels = make_dataset(tmp_path / "d")
    for name in ("one.json", "two.json"):
        run = ingest("--dataset", tmp_path / "d", "--labels", labels, "--out", tmp_path / name, module="quality.probe")
        assert run.returncode == 0, run.stderr
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    probe = read_probe(tmp_path / "one.json")
    assert probe.embedding == without_engine(VERSION) and len(probe.weights) == 16 and probe.card["labels"] == 118
    for wanted in ("ROC AUC", "5 held-out folds", "share of yes", "it cannot drop", "--deepfake_probe"):
        assert wanted in run.stdout, run.stdout
    assert set(json.loads((tmp_path / "one.json").read_text())["card"]) >= {"yes", "no", "folds", "held_out", "labels_sha256", "note"}


def test_mistakes_of_the_command(tmp_path):
    labels = make_dataset(tmp_path / "d")
    few = tmp_path / "few.csv"
    few.write_text("\n".join(labels.read_text().splitlines()[:10]))
    run = ingest("--dataset", tmp_path / "d", "--labels", few, "--out", tmp_path / "p.json", module="quality.probe")
    assert run.returncode == 2 and "a probe needs at least 20 of each" in run.stderr and not (tmp_path / "p.json").exists()
    run = ingest("--dataset", tmp_path / "d", "--labels", labels, "--out", tmp_path / "none" / "p.json", module="quality.probe")
    assert run.returncode == 2 and "--out" in run.stderr and "No such file" in run.stderr and "Traceback" not in run.stderr
    make_pool(tmp_path / "bare", [[{"uid": "a"}]])
    run = ingest("--dataset", tmp_path / "bare", "--labels", labels, "--out", tmp_path / "p.json", module="quality.probe")
    assert run.returncode == 2 and "no column 'embed.image'" in run.stderr and "Traceback" not in run.stderr
    run = ingest("--help", module="quality.probe")
    assert run.returncode == 0 and "examples:" in run.stdout
