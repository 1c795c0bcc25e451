"""Embeddings and similarity against open_clip's own encode_image and encode_text."""

import pickle

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image as Pillow

from quality.embedded_clip import EMBEDDED_MODEL_NAME, TRAINED, WEIGHTS, embedded_model_dir
from quality.scorers.batch import PairBatch
from quality.scorers.clip import Clip, vectors
from quality.scorers.embed import Embed, ModelError, find_model, run_groups, token_groups
from tests.scoring import cache_folder, drawn_pairs, encoded, sample_pairs, tiny_clip

torch.set_num_threads(1)
needs_embedded = pytest.mark.skipif(not (WEIGHTS / TRAINED).is_file(), reason="the embedded weights are not trained yet")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


def embedded(pairs, **options):
    scorer = Embed(cache=cache_folder(), **options)
    scorer.load()
    scores = scorer.score(PairBatch(*zip(*pairs, strict=True)))
    assert {len(vector) for column in scores.columns for vector in column.to_pylist() if vector is not None} <= {32, 320}
    return scores


def reference(address, pairs):
    """(images, texts) as open_clip's documentation computes them, from whole images."""
    model, _, preprocess = open_clip.create_model_and_transforms(address)
    tokenize = open_clip.get_tokenizer(address)
    model.eval()
    pixels = PairBatch(*zip(*pairs, strict=True)).pixels(side=None)
    with torch.inference_mode():
        images = model.encode_image(torch.stack([preprocess(Pillow.fromarray(image)) for image in pixels]), normalize=True)
        texts = model.encode_text(tokenize([caption for caption, _ in pairs]), normalize=True)
    return images.numpy(), texts.numpy()


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


ENGINES = ["torch-f32", "torch-f32-channels_last", "onnxruntime-f32", "openvino-f32"]


@pytest.mark.parametrize("engine", ENGINES)
def test_equals_open_clips_own_call(tiny, engine):
    pairs = drawn_pairs(".png")
    text_engine = "torch-f32" if "channels_last" in engine else engine
    found = embedded(pairs, model=tiny, engines={"embed.image": engine, "embed.text": text_engine})
    images, texts = reference(tiny, pairs)
    assert cosine(vectors(found.column("image")), images).min() > 0.998
    assert cosine(vectors(found.column("text")), texts).min() > 0.9999
    assert np.allclose(np.linalg.norm(vectors(found.column("image")), axis=1), 1, atol=1e-3)


@needs_embedded
def test_embedded_model_equals_open_clips_own_call():
    pairs = [*sample_pairs(16), *drawn_pairs(".jpg")[:4]]
    images, texts = reference(f"local-dir:{embedded_model_dir(cache_folder())}", pairs)
    for engine in ("torch-f32", "onnxruntime-f32", "openvino-f32"):
        found = embedded(pairs, engines={"embed.image": engine, "embed.text": engine})
        similarity = cosine(vectors(found.column("image")), vectors(found.column("text")))
        assert np.abs(similarity - cosine(images, texts)).max() <= 0.002
        assert cosine(vectors(found.column("text")), texts).min() > 0.9999


@needs_embedded
def test_embedded_model_prefers_the_right_caption():
    pairs = sample_pairs(48)
    found = embedded(pairs)
    table = vectors(found.column("image")) @ vectors(found.column("text")).T
    right = np.diag(table)
    assert (right[:, None] > table).sum() / (table.size - len(pairs)) > 0.75  # matched against mismatched


def test_rows_that_cannot_be_embedded_are_null(tiny):
    image = drawn_pairs()[0][1]
    found = embedded([("a", image), (None, image), ("b", b"junk"), ("c", None), ("d", image)], model=tiny)
    assert [value is None for value in found.column("image").to_pylist()] == [False, False, True, True, False]
    assert [value is None for value in found.column("text").to_pylist()] == [False, True, False, True, False]
    nothing = embedded([(None, None)], model=tiny)
    assert nothing.column("image").null_count == nothing.column("text").null_count == 1


def test_scores_belong_to_their_rows(tiny):
    pairs = drawn_pairs()
    straight = embedded(pairs, model=tiny)
    turned = embedded(pairs[::-1], model=tiny)
    for name in ("image", "text"):
        assert np.allclose(vectors(straight.column(name)), vectors(turned.column(name))[::-1], atol=2e-3)
    assert len({tuple(row) for row in straight.column("image").to_pylist()}) == len(pairs)


def test_captions_lose_only_padding():
    tokens = np.array([[5, 6, 0, 0] * 4, [7] * 16, [8] + [0] * 15, [9, 9] + [0] * 14])
    tokens[0, 2:] = 0
    order, groups = token_groups(tokens, 0)
    assert order.tolist() == [2, 0, 3, 1]
    assert np.concatenate(groups).tolist() == tokens[order].tolist()
    assert token_groups(tokens[[0, 2]], 0)[1][0].shape == (2, 8)
    assert token_groups(tokens[[0, 2]], None)[1][0].shape == (2, 16)


def test_grouped_captions_come_back_in_their_order():
    tokens = np.array([[row + 1] * (1 + row * 7 % 30) + [0] * (29 - row * 7 % 30) for row in range(21)])
    widths = []

    def run(group):
        widths.append(group.shape[1])
        return group[:, :1].astype(np.float32)

    assert run_groups(run, tokens, 0).ravel().tolist() == list(range(1, 22))
    assert widths == sorted(widths) and widths[0] < 30
    assert run_groups(run, tokens, None).ravel().tolist() == list(range(1, 22))


def test_similarity_is_the_cosine(tiny):
    scorer = Embed(model=tiny, cache=cache_folder())
    batch = PairBatch(["a", "b", None, "d"], [drawn_pairs()[0][1]] * 3 + [b"junk"])
    scorer.load()
    scores = scorer.score(batch)
    batch.add_columns({f"embed.{name}": scores.column(name) for name in scores.schema.names})
    found = Clip(embed_version=scorer.version).score(batch).column("similarity")
    expected = cosine(vectors(scores.column("image")), vectors(scores.column("text")))[:2]
    assert found.to_pylist() == [*np.round(expected, 4).astype(np.float32).tolist(), None, None]
    assert found.type == pa.float32()


def test_names_and_versions(tiny, tmp_path):
    embed = Embed(model=tiny, cache=cache_folder(), engines={"embed.image": "openvino-f32"})
    assert embed.version.startswith("tiny@") and "image:openvino-f32+text:torch-f32" in embed.version
    assert Clip(embed_version=embed.version).version.startswith(embed.version)
    (tmp_path / "openai.pt").write_bytes(b"weights")
    found = find_model("ViT-B-32", str(tmp_path / "openai.pt"))
    assert found.name == "ViT-B-32/openai" and len(found.digest) == 8
    assert find_model("ViT-B-32", str(tmp_path / "openai.pt"), "mine").name == "ViT-B-32/mine"


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("ViT-B-32", None, "needs weights"),
        ("ViT-B-32", "laion2b_s34b_b79k", "nothing is downloaded"),
        ("local-dir:/nowhere", None, "open_clip_config.json"),
        (EMBEDDED_MODEL_NAME, "openai", "its own weights"),
    ],
)
def test_missing_weights_are_named(model, pretrained, message):
    with pytest.raises(ModelError, match=message):
        find_model(model, pretrained)


def test_a_loaded_scorer_is_pickled_without_its_model(tiny):
    scorer = Embed(model=tiny, cache=cache_folder())
    scorer.load()
    data = pickle.dumps(scorer)
    assert len(data) < 4000
    again = pickle.loads(data)
    again.load()
    batch = PairBatch(["a heart"], [encoded(np.full((80, 80, 3), 7, np.uint8), ".png")])
    assert again.score(batch).equals(scorer.score(batch))
