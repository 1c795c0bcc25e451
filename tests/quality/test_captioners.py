"""Captioners: real classes with small random weights, made here."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from quality.captioners import CaptionerError, Settings, open_captioner
from quality.scorers.probe import drawings
from tests.captioners import tiny_blip, tiny_coca, tiny_git


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_blip(tmp_path_factory.mktemp("models") / "tiny-blip")


def test_a_folder_writes_the_same_captions_every_time(blip):
    images = drawings()[:3]
    found = open_captioner(str(blip), None, Settings(tokens=6))
    assert found.name == "tiny-blip" and len(found.weights) == 64
    first = found.write(images)
    assert len(first) == 3 and all(isinstance(text, str) and text for text in first)
    assert open_captioner(str(blip), None, Settings(tokens=6)).write(images) == first


def test_beams_and_length_are_settings(blip):
    images = drawings()[:2]
    short = open_captioner(str(blip), None, Settings(tokens=2)).write(images)
    long = open_captioner(str(blip), None, Settings(tokens=8, beams=2)).write(images)
    assert all(len(one.split()) < len(other.split()) for one, other in zip(short, long, strict=True))


@pytest.mark.parametrize("make", [tiny_blip, tiny_git])
def test_a_prompt_is_no_part_of_the_caption(tmp_path, make):
    folder, images = make(tmp_path / "model"), drawings()[:2]
    asked = open_captioner(str(folder), None, Settings(tokens=4, prompt="word1 word2")).write(images)
    assert asked != open_captioner(str(folder), None, Settings(tokens=4)).write(images)
    assert all(text and not text.startswith("word1 word2") and len(text.split()) <= 4 for text in asked)


def test_other_weights_have_another_digest(blip, tmp_path):
    other = tiny_blip(tmp_path / "tiny-blip", seed=1)
    assert open_captioner(str(other), None, Settings()).weights != open_captioner(str(blip), None, Settings()).weights


def test_coca_writes_greedily(tmp_path):
    name, checkpoint = tiny_coca(tmp_path)
    found = open_captioner(name, str(checkpoint), Settings(tokens=5))
    images = [np.ascontiguousarray(image) for image in drawings()[:2]]
    assert found.write(images) == found.write(images)
    together, alone = found.write(images), [found.write([image])[0] for image in images]
    assert together == alone


@pytest.mark.parametrize(
    ("model", "checkpoint", "settings", "says"),
    [
        ("nowhere at all", None, Settings(), "no such folder; give one"),
        (tempfile.gettempdir(), None, Settings(), "no config.json there"),
        ("coca_ViT-B-32", None, Settings(), "--checkpoint"),
        ("coca_ViT-B-32", __file__, Settings(beams=2), "leave --beams"),
        ("coca_ViT-B-32", __file__, Settings(), "open_clip cannot open it"),
        ("some/model", "x.pt", Settings(), "leave it out"),
    ],
)
def test_what_cannot_be_used_is_told(model, checkpoint, settings, says):
    with pytest.raises(CaptionerError, match=says):
        open_captioner(model, checkpoint, settings)
