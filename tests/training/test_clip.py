"""The trainer of the embedded CLIP model, run whole on a small corpus made of the sample's images."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from training.clip.measures import auc, measure, recall
from training.clip.prepare import HELD_OUT_DRAWINGS, LEARNED_FROM, english_texts, korean_texts, lexicon, read_corpus, trainable
from training.clip.towers import on_background, picture
from training.clip.tune import TRAINED
from training.clip.vocabulary import learn_pieces

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


def test_only_the_train_split_is_trained_on(corpus):
    pairs = read_corpus(corpus)
    chosen = trainable(pairs)
    assert chosen
    assert {pair.split for pair in chosen} == {"train"}
    assert HELD_OUT_DRAWINGS not in {pair.collection for pair in chosen}
    assert all(pair.license_url.startswith(LEARNED_FROM) and not pair.toned for pair in chosen)
    assert any(pair.collection == HELD_OUT_DRAWINGS for pair in pairs)
    assert {entry.concept for entry in lexicon(chosen)} <= {pair.concept for pair in chosen}


def test_texts_are_a_function_of_the_pair(corpus):
    pair = next(pair for pair in trainable(read_corpus(corpus)) if pair.caption_ko and pair.keywords_ko)
    assert pair.caption in english_texts(pair)
    assert pair.caption_ko in korean_texts(pair)
    assert english_texts(pair) == english_texts(pair)
    assert len(set(korean_texts(pair))) == len(korean_texts(pair)) > 2


def test_pieces_do_not_depend_on_order_and_cover_what_occurs():
    texts = ["고양이 얼굴", "검은 고양이", "고양이", "개 얼굴", "웃는 얼굴"]
    pieces = learn_pieces(texts, known=set(), size=400)
    assert pieces == learn_pieces(reversed(texts), known=set(), size=400)
    assert {"고양이", "얼굴", "개", "##은"} <= set(pieces)
    assert "고양" not in pieces  # always part of the same longer run
    assert len(set(pieces)) == len(pieces)
    with pytest.raises(ValueError, match="too few"):
        learn_pieces(texts, known=set(), size=20)


def test_view_zero_is_the_picture_on_white(tmp_path):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.putpixel((3, 3), (10, 20, 30, 255))
    image.save(tmp_path / "a.png")
    seen = picture(tmp_path / "a.png", "a.png", 0)
    assert seen.getpixel((0, 0)) == (255, 255, 255)
    assert seen.getpixel((3, 3)) == (10, 20, 30)
    assert on_background(image, (1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)


def test_other_views_differ_and_repeat():
    path = next(SAMPLE.glob("images/noto/*.png"))
    first, again, other = (np.asarray(picture(path, path.name, view)) for view in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_measures_on_a_case_worked_by_hand():
    assert auc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == (1 + 0.75) / 2
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.2, 0.2, 0.2]])
    assert recall(similarity, 1) == pytest.approx(1 / 3)
    assert recall(similarity, 2) == pytest.approx(2 / 3)  # the ties of the last row count against it
    vectors = np.eye(3)
    found = measure(vectors, vectors, np.array([0, 1, 1]))
    assert (found["auc"], found["text_to_image_r1"], found["image_to_text_r10"]) == (1.0, 1.0, 1.0)


def test_corpus_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metadata\.parquet is missing: .*make corpus"):
        read_corpus(tmp_path)


def test_trains_and_evaluates(corpus, tmp_path):
    """The real programs, few steps: weights of the right shapes come out, differ from the start, and are measured through open_clip."""
    run = [sys.executable, "-m"]
    small = ["--pieces", "1200", "--views", "1", "--bag_steps", "5", "--row_steps", "3", "--head_steps", "30", "--stage_steps", "4"]
    subprocess.run([*run, "training.clip.train", "--corpus", corpus, "--out", tmp_path / "out", *small], check=True, capture_output=True)
    with safe_open(tmp_path / "out" / "trained.safetensors", "np") as trained:
        pieces = (tmp_path / "out" / "korean_pieces.txt").read_text(encoding="utf-8").split()
        assert trained.get_tensor("korean_rows").shape == (len(pieces), 384)
        assert trained.get_tensor("visual.head.mlp.fc2.weight").shape == (320, 640)
        assert np.abs(trained.get_tensor("text.proj.2.weight")).max() > 0
        stage = {name for name in trained.keys() if name.startswith(TRAINED) and not name.endswith(".scale")}  # noqa: SIM118 (no mapping)
        assert trained.get_tensor("visual.trunk.conv_head.weight").dtype == np.int8 and len(stage) == 12
    asked = [*run, "training.clip.evaluate", "--corpus", corpus, "--weights", tmp_path / "out", "--json", "--out", tmp_path / "r.json"]
    printed = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    assert printed == json.loads((tmp_path / "r.json").read_text())
    assert len(printed["results"]) == 6
    english = printed["results"]["OpenMoji, all named drawings, English"]
    assert english["pairs"] > 20
    assert english["auc"] > 0.5  # thirty steps on 300 pairs do better than chance
    bounds = printed["calibration"]["emoji, Korean"]
    assert bounds["matched"] == sorted(bounds["matched"])
