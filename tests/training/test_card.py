"""The model card: read back by huggingface_hub, and true to what the run, the release and the evaluation say."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pipelines.publish import publish
from tests.releases import make_release
from training.card import CARD, CardError, main, write_card


def run_of(dataset: Path, digest: str, **more) -> dict:
    """As training.finetune writes it."""
    return {
        "base": "embedded", "method": "full", "finished": True, "steps": 300, "samples_seen": 4800, "seconds": 61.5, "device": "x86_64, 2 threads",
        "model": {
            "denoiser": "unet", "prediction": "v_prediction", "space": "latent", "side": 64, "multiple": 32, "pixels": 8, "channels": 4,
            "pipeline": "StableDiffusionPipeline", "resolution": 64,
        },
        "parameters": {"trained": 4_000_000, "denoiser": 4_000_000},
        "release": {
            "path": str(dataset), "name": "one", "digest": digest, "licenses": {"public-domain": 10, "share-alike": 5, "unknown": 3},
            "pairs": {"all": 18, "trained_on": 16, "measured": 2}, "overridden": ["allow_licenses"],
        },
        "versions": {"pigment": "0.1.0", "torch": "2.15.0", "diffusers": "0.42.1"},
        "knobs": {
            "release": str(dataset), "batch": 16, "accumulate": 1, "ranks": 1, "learning_rate": 1e-4, "schedule": "cosine", "warmup": 50, "seed": 3,
            "prompts": [], "ignore_optouts": False,
        },
        "held_out_loss": {"before": 0.5, "after": 0.4321, "difference": -0.0679, "interval": 0.0123},
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pool, release = make_release(tmp_path_factory.mktemp("release"))
    publish(pool, release)
    return Path(pool.store.root)


def model(folder: Path, run: dict) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(run), "utf-8")
    return folder


def test_the_card_is_read_by_hugging_face_and_says_what_was_run(dataset, tmp_path):
    folder = model(tmp_path / "cats", run_of(dataset, "d" * 64))
    read = ModelCard.load(write_card(folder))
    assert (read.data.library_name, read.data.pipeline_tag, read.data.license) == ("diffusers", "text-to-image", "other")
    assert read.data.base_model == "pigment-embedded-base" and read.data.datasets == ["pigment-release-one"]
    assert "lora" not in read.data.tags and read.data.eval_results is None
    text = read.text
    assert f"`{'d' * 64}`" in text and "| share-alike | 5 |" in text and "| unknown | 3 | nobody knows the terms" in text
    assert "18 kept" in text.replace("18 kept, 3 for review", "18 kept")  # of the manifest
    assert "18, of which 16 were trained on and 2 kept for measuring" in text
    assert "0.5000 before, 0.4321 after: -0.0679 ± 0.0123" in text
    assert "4,800, 300.00 times each on average" in text and "| `learning_rate` | `0.0001` |" in text
    assert "refusals that were overridden | `allow_licenses`" in text
    assert "Not measured: `python -m training.evaluate` has not been run" in text
    assert "trainedAlgorithmicMedia" in text and "Whether it repeats training pictures: not measured" in text
    assert str(tmp_path) not in text.split("## Every setting")[0]  # a path tells about its owner


def test_what_is_not_there_is_not_made_up(dataset, tmp_path):
    run = run_of(Path("/not/there"), "d" * 64, held_out_loss=None, method="lora", base="/home/owner77/models/sd")
    run["release"] |= {"licenses": None}
    read = ModelCard.load(write_card(model(tmp_path / "lora", run), license="cc-by-sa-4.0"))
    assert read.data.license == "cc-by-sa-4.0" and read.data.base_model == "sd" and "lora" in read.data.tags
    assert "owner77" not in read.content.split("## Every setting")[0]
    assert "Not measured: no pairs were held out." in read.text and "nobody knows what follows" in read.text
    assert "not known: the release was not there" in read.text and "load_lora_weights" in read.text
    other = run_of(dataset, "e" * 64)  # the release at that path is another one now
    assert "not known: the release was not there" in write_card(model(tmp_path / "other", other)).read_text("utf-8")


def test_an_evaluation_is_taken_in(dataset, tmp_path):
    folder = model(tmp_path / "cats", run_of(dataset, "d" * 64))
    figure = {"title": "CMMD, embedded CLIP", "better": "lower", "value": 0.25, "n": 200, "low": 0.2, "high": 0.3}
    evaluation = {
        "what": {"count": 200, "size": [64, 64], "seed": 0},
        "features": {"name": "embedded CLIP"},
        "reference": {"release": "held", "digest": "a" * 64, "n": 200},
        "figures": {"cmmd": figure, "fd": {"title": "FD, embedded CLIP", "better": "lower", "value": None, "n": 200, "note": "too few"}},
        "real": {"cmmd": {**figure, "value": 0.05}},
        "memorisation": {"cosine": {"n": 200, "nearer_than_any": 4}},
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation), "utf-8")
    read = ModelCard.load(write_card(folder))
    (result,) = read.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("cmmd", 0.25, "held-out pairs of held")
    assert "| CMMD, embedded CLIP | lower | 0.2500 [0.2000, 0.3000] | 0.0500 |" in read.text
    assert "| FD, embedded CLIP | lower | not measured | not measured |" in read.text
    assert "Of 200 pictures 4 were nearer to a training picture than any held-out" in read.text


def test_a_run_that_has_not_ended_gets_no_card(dataset, tmp_path, capsys):
    with pytest.raises(CardError, match="has not ended"):
        write_card(model(tmp_path / "half", run_of(dataset, "d" * 64, finished=False)))
    assert main(["--model", str(tmp_path)]) == 2
    assert "give a folder that python -m training.finetune wrote" in capsys.readouterr().err
    whole = model(tmp_path / "whole", run_of(dataset, "d" * 64))
    assert main(["--model", str(whole), "--evaluation", str(tmp_path)]) == 2
    assert main(["--model", str(whole)]) == 0
    assert capsys.readouterr().out.strip() == str(whole / CARD)
