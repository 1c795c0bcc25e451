"""Evaluation on real files: a small release, a tiny pipeline, the embedded CLIP model, PNGs."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.publish import publish
from schemas.release import ReleaseError
from tests.releases import make_release
from tests.training.tiny_pipelines import make_sd15
from training.checkpoints import open_pipeline
from training.drawn import Pictures, PicturesError, draw_into, read_pictures
from training.embedded_clip import ClipModelError
from training.evaluate import main
from training.evaluation import Judge
from training.features import Features, kept
from training.generation.jobs import OtherSettings
from training.reference import Fields, Images, digests_of, reference_pairs, split_of_row
from training.releases import TrainingSet, open_release


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 kept pairs in three shards, published."""
    pool, release = make_release(tmp_path_factory.mktemp("release"))
    publish(pool, release)
    return Path(pool.store.root)


@pytest.fixture(scope="module")
def release(dataset) -> TrainingSet:
    return open_release(dataset, licenses=None, optouts=False)


@pytest.fixture(scope="module")
def features() -> Features:
    return Features("embedded", device="cpu")


# ---- held-out pairs


def test_carried_columns_are_those_of_the_tar(dataset, release):
    in_tars = {}
    for path in dataset.glob("releases/*/shards/*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    in_tars[member.name.removesuffix(".json")] = json.load(tar.extractfile(member))  # type: ignore[arg-type]
    rows = Fields(release)
    assert {release.samples.uid_of(sample): rows.of(sample) for sample in range(len(release.samples))} == in_tars
    assert len(in_tars) == 18


def test_images_and_digests_are_those_of_the_tar(release):
    sample = 7
    uid, path = release.samples.uid_of(sample), release.release.store.path_of(release.tar(int(release.samples.shard[sample])))
    with tarfile.open(path) as tar:
        data = tar.extractfile(f"{uid}.jpg").read()  # type: ignore[union-attr]
    with Image.open(io.BytesIO(data)) as image:
        whole = np.asarray(image.convert("RGB").crop((8, 0, 56, 48))).astype(int)  # 64 x 48, its middle
    assert np.abs(Images(release, 48, 48).of(sample).astype(int) - whole).mean() < 3
    assert len(digests_of(release)[uid]) == 64


def test_pairs_are_of_the_split_and_in_the_order_of_their_hashes(release):
    split = split_of_row(Fields(release).of(0))  # all captions differ by numbers alone: one concept
    pairs = reference_pairs(release, split=split, count=5, seed=1)
    assert len(pairs) == 5
    assert pairs == reference_pairs(release, split=split, count=5, seed=1)
    assert pairs.uids != reference_pairs(release, split=split, count=5, seed=2).uids
    assert reference_pairs(release, split=split, count=9, seed=1).uids[:5] == pairs.uids
    assert pairs.captions == [release.samples.captions[sample].as_py() for sample in pairs.samples]
    other = next(one for one in ("train", "validation", "heldout") if one != split)
    with pytest.raises(ReleaseError, match=f"none of its 18 pairs can be held out: split {other}"):
        reference_pairs(release, split=other, count=5)
    with pytest.raises(ReleaseError, match="'caption_ko'"):
        reference_pairs(release, split="any", count=5, caption="caption_ko")


def test_the_split_is_what_the_row_says_else_follows_from_its_concept():
    from training.splits import concept_of_title, split_of

    assert split_of_row({"split": "heldout", "concept": "a"}) == "heldout"
    assert split_of_row({"split": None, "concept": "1f44b"}) == split_of("1f44b")
    assert split_of_row({"title": "Arrow 02"}) == split_of(concept_of_title("arrow"))


def test_what_was_trained_on_is_left_out(release, tmp_path):
    with pytest.raises(ReleaseError, match="18 are in what was trained on"):
        reference_pairs(release, split="any", count=5, trained_on=[release])
    pool, part = make_release(tmp_path, units=1)  # the first unit's pairs: a third of them
    publish(pool, part)
    pairs = reference_pairs(release, split="any", count=18, trained_on=[open_release(pool.store.root, licenses=None, optouts=False)])
    assert (len(pairs), pairs.left_out) == (12, 6)


# ---- features


def test_openvino_sees_what_torch_sees(features, release):
    images = Images(release, 32, 32)
    seen = features.pictures(3, images.of)
    pixels = torch.stack([features.preprocess(Image.fromarray(images.of(sample))) for sample in range(3)])
    assert np.abs(seen.vectors - features.model.encode_image(pixels).numpy()).max() < 1e-4
    assert seen.pdq.shape == (3, 4) and (seen.quality > 0).all()


def test_texts_are_encoded_as_open_clip_does(features):
    texts = ["a cat", "귀여운 고양이 수채화, 아주 큰 것"]
    theirs = features.model.encode_text(features.tokenizer(texts)).numpy()
    assert np.abs(features.texts(texts) - theirs).max() < 1e-4


def test_what_was_seen_is_not_looked_at_again(features, release, tmp_path):
    images, names = Images(release, 16, 16), [f"p{sample}" for sample in range(5)]
    told = []
    seen = kept(tmp_path, features, names, images.of, part=2, progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (5, 5)

    def never(index: int) -> np.ndarray:
        raise AssertionError(index)

    again = kept(tmp_path, features, names[::-1], never, part=2, progress=lambda done, of: None)
    assert (again.vectors == seen.vectors[::-1]).all() and (again.pdq == seen.pdq[::-1]).all()


def test_a_wrong_model_is_told():
    with pytest.raises(ClipModelError, match="give embedded, local-dir:FOLDER, or ARCHITECTURE/CHECKPOINT"):
        Features("nothing")
    with pytest.raises(ClipModelError, match="no such folder"):
        Features("local-dir:/not/there")


# ---- figures


def test_real_pictures_are_judged_as_real_and_copies_as_copies(features, release, tmp_path):
    pairs = reference_pairs(release, split="any", count=9)
    images = Images(release, 32, 32)
    arrays = [images.of(sample) for sample in pairs.samples]
    judge = Judge(features, pairs, cache=tmp_path, seed=0)
    paths = [Path(f"{number}.png") for number in range(9)]
    same = judge.evaluate(Pictures(arrays, pairs.captions, paths), release)
    assert same.figures["cmmd"].value == pytest.approx(0, abs=1e-3)  # what is kept of real pictures is fp16
    assert same.figures["precision"].value == same.figures["recall"].value == same.figures["coverage"].value == 1
    assert same.figures["clip_score"].value == pytest.approx(same.real["clip_score"].value, abs=1e-3)
    assert same.figures["fd"].value is None and "do not determine a covariance of 320 dimensions" in same.figures["fd"].note
    assert same.memorisation["pdq"]["matches"] == 9
    assert [row["cosine"] for row in same.memorisation["closest"]] == pytest.approx([1] * 8, abs=1e-3)
    assert {row["uid"] for row in same.memorisation["closest"]} <= set(pairs.uids)
    grey = [np.full((32, 32, 3), 90 + number, np.uint8) for number in range(9)]
    other = judge.evaluate(Pictures(grey, pairs.captions, paths))
    assert other.figures["cmmd"].value > 1 and other.figures["kid"].value > same.figures["kid"].value
    assert other.figures["precision"].value == 0
    assert other.figures["nearer_to_training"].value is None and other.memorisation is None


# ---- the command


@pytest.fixture(scope="module")
def evaluated(dataset, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    model = make_sd15(folder / "tiny")
    flags = ["--reference", str(dataset), "--split", "any", "--count", "6", "--steps", "2", "--device", "cpu"]
    assert main(["--model", str(model), *flags, "--out", str(folder / "out")]) == 0
    return folder


def test_a_model_is_evaluated(evaluated, dataset):
    told = json.loads((evaluated / "out" / "evaluation.json").read_text())
    assert told["what"]["count"] == told["reference"]["n"] == told["reference"]["others_n"] == 6
    assert told["what"]["size"] == [16, 16] and told["what"]["cost"]["pictures"] == 6
    assert told["figures"]["heldout_loss"]["n"] == 6 and told["figures"]["heldout_loss"]["value"] > 0
    assert told["figures"]["clip_score"]["title"] == "CLIP score (cosine), embedded CLIP"
    assert told["figures"]["cmmd"]["low"] <= told["figures"]["cmmd"]["value"] <= told["figures"]["cmmd"]["high"]
    assert told["real"]["cmmd"]["value"] < told["figures"]["cmmd"]["value"]  # real pictures are nearer to real ones than noise is
    with Image.open(evaluated / "out" / "evaluation.png") as plot:
        assert plot.size[0] > 800


def test_pictures_that_are_there_are_not_drawn_again(evaluated, release):
    before = {path: path.stat().st_mtime_ns for path in evaluated.glob("out/pictures/pictures/*.png")}
    prompts = reference_pairs(release, split="any", count=6).captions
    told, settings = (
        [],
        {"seed": 0, "steps": 2, "guidance": None, "batch": 4, "dtype": "fp32", "progress": lambda done, of: told.append(done)},
    )
    pipeline = open_pipeline(evaluated / "tiny")
    draw_into(evaluated / "out" / "pictures", pipeline, "tiny", prompts, **settings)
    assert {path: path.stat().st_mtime_ns for path in evaluated.glob("out/pictures/pictures/*.png")} == before
    assert len(before) == 6 and told == []
    with pytest.raises(OtherSettings, match="another model, seed, text or setting"):
        draw_into(evaluated / "out" / "pictures", pipeline, "tiny", prompts, **{**settings, "steps": 3})


def test_pictures_that_are_there_are_evaluated_alike(evaluated, dataset, capsys):
    flags = ["--reference", str(dataset), "--split", "any", "--count", "6", "--out", str(evaluated / "again"), "--device", "cpu", "--json"]
    capsys.readouterr()
    assert main(["--pictures", str(evaluated / "out" / "pictures"), *flags]) == 0
    told = json.loads(capsys.readouterr().out)
    before = json.loads((evaluated / "out" / "evaluation.json").read_text())
    assert told == json.loads((evaluated / "again" / "evaluation.json").read_text())
    assert {name: one["value"] for name, one in told["figures"].items()} == {
        name: one["value"] for name, one in before["figures"].items() if name != "heldout_loss"
    }


def test_wrong_use_is_told(dataset, tmp_path, capsys):
    assert main(["--pictures", str(tmp_path), "--reference", str(dataset), "--split", "any", "--out", str(tmp_path)]) == 2
    assert "give a folder that python -m training.generate wrote" in capsys.readouterr().err
    assert main(["--model", "embedded", "--reference", str(tmp_path / "no"), "--out", str(tmp_path)]) == 2
    assert "no published release here" in capsys.readouterr().err
    with pytest.raises(PicturesError, match=r"pictures\.jsonl"):
        read_pictures(tmp_path)
