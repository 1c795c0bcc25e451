"""The embedded base as its users have it: a folder that plain diffusers loads, and what its weights and training data are held to."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from schemas.packing import unpacked
from training.base import assemble, embedded_base_dir, encoder, model, train
from training.base.assemble import CONFIG, UNET, VAE, WEIGHTS, MissingWeights, weights_digest
from training.base.data import COLLECTIONS, corpus_drawings, picture64, texts_of
from training.base.evaluate import generate, measured, prompts
from training.base.train import as_tensor, is_sided
from training.clip.prepare import HELD_OUT_DRAWINGS, LEARNED_FROM, read_corpus
from training.embedded_clip import embedded_clip_dir

LIMIT = 6_000_000  # bytes of weights


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    torch.set_num_threads(1)
    found = StableDiffusionPipeline.from_pretrained(embedded_base_dir(), local_files_only=True)
    found.set_progress_bar_config(disable=True)
    return found


def drawn(pipeline: StableDiffusionPipeline, prompt: str, seed: int = 0, *, steps: int = 6) -> np.ndarray:
    made = pipeline(prompt, generator=torch.Generator().manual_seed(seed), num_inference_steps=steps, guidance_scale=3.0, output_type="np")
    return made.images[0]


def test_plain_diffusers_loads_it(pipeline):
    assert type(pipeline.text_encoder).__name__ == "BertModel"
    assert pipeline.text_encoder.config.use_attention_mask is True
    assert pipeline.safety_checker is None and pipeline.config.requires_safety_checker is False
    assert pipeline.scheduler.config.prediction_type == "v_prediction" and pipeline.scheduler.config.rescale_betas_zero_snr
    assert drawn(pipeline, "a cat").shape == (model.SIDE, model.SIDE, 3)  # 64 px with no size named


def test_pictures_follow_prompt_language_and_seed(pipeline):
    cat = drawn(pipeline, "cat face")
    assert np.array_equal(cat, drawn(pipeline, "cat face"))
    assert np.abs(cat - drawn(pipeline, "cat face", seed=1)).mean() > 0.02
    assert np.abs(cat - drawn(pipeline, "고양이 얼굴")).mean() > 0.002
    assert np.abs(drawn(pipeline, "고양이 얼굴") - drawn(pipeline, "파란 원")).mean() > 0.05


@pytest.mark.parametrize(("red", "blue"), [("red circle", "blue circle"), ("빨간색 원", "파란 원")])
def test_colours_of_a_prompt_are_drawn(pipeline, red, blue):
    """A floor under the figures of CARD.md that needs no judge, on names that were trained on: the red one is redder, for most seeds."""

    def redness(image: np.ndarray) -> float:
        return float((image[..., 0] - image[..., 2]).mean())

    redder = [redness(drawn(pipeline, red, seed)) > redness(drawn(pipeline, blue, seed)) for seed in range(6)]
    assert sum(redder) >= 5


def test_weights_are_small_and_the_folder_is_named_by_them(tmp_path):
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= LIMIT
    assert {path.name for path in WEIGHTS.iterdir()} == {UNET, VAE, CONFIG}
    text = embedded_clip_dir()
    other = shutil.copytree(WEIGHTS, tmp_path / "weights")
    assert embedded_base_dir().name == f"embedded-base-{weights_digest(other, text)}"
    content = bytearray((other / UNET).read_bytes())
    content[-1] ^= 1
    (other / UNET).write_bytes(content)
    assert weights_digest(other, text) != weights_digest(WEIGHTS, text)
    assert weights_digest(WEIGHTS, Path("embedded-clip-of-other-rows")) != weights_digest(WEIGHTS, text)
    (other / VAE).unlink()
    with pytest.raises(MissingWeights, match=r"vae\.safetensors is missing: check out training/base/weights/ again"):
        assemble.assemble(other, tmp_path / "out", text=text)


def test_whole_numbers_lose_little():
    torch.manual_seed(0)
    state = model.unet().state_dict()
    stored = dict(assemble.stored(state))
    read = unpacked(stored)
    assert read.keys() == state.keys()
    assert stored["mid_block.resnets.0.conv1.weight"].dtype == torch.int8
    for name, tensor in state.items():
        largest = float(tensor.abs().max())
        assert float((read[name] - tensor).abs().max()) <= largest / 200 + 1e-6, name


def test_command_prints_the_folder_and_refuses_what_it_cannot_cache(tmp_path):
    run = [sys.executable, "-m", "training.base"]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == str(embedded_base_dir())
    wrong = subprocess.run([*run, "--random_weights", "0"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "need --out" in wrong.stderr


def test_encoder_is_linear_and_keeps_what_pictures_are_made_of(corpus):
    """Its latents give back the pictures by least squares alone, within a tenth of their spread; a mean of two is the mean of latents."""
    images = np.stack([picture64(corpus / pair.file) for pair in corpus_drawings(corpus)[:80]])
    torch.manual_seed(0)
    vae = model.autoencoder().eval()
    encoder.build(vae, images)
    with torch.inference_mode():
        posterior = vae.encode(as_tensor(images)).latent_dist
        both = vae.encode((as_tensor(images[:1]) + as_tensor(images[1:2])) / 2).latent_dist.mean
    latents = posterior.mean
    assert latents.shape[1:] == model.LATENT and 0.8 < float(latents.std()) < 1.2
    assert float((both - latents[:2].mean(0)).abs().max()) < 0.05
    patches = as_tensor(images).unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(-1, 192).numpy()
    known = np.c_[latents.permute(0, 2, 3, 1).reshape(-1, model.LATENT[0]).numpy(), np.ones(len(patches))]
    solved = np.linalg.lstsq(known, patches, rcond=None)[0]
    assert np.square(known @ solved - patches).mean() < 0.1 * patches.var()


def test_only_coloured_drawings_of_the_train_split_are_trained_on(corpus):
    pairs = corpus_drawings(corpus)
    held_out = {pair.concept for pair in read_corpus(corpus) if pair.split != "train"} - {pair.concept for pair in pairs}
    assert pairs and held_out
    assert {pair.split for pair in pairs} == {"train"}
    assert {pair.collection for pair in pairs} <= set(COLLECTIONS) and HELD_OUT_DRAWINGS not in COLLECTIONS
    assert all(pair.license_url.startswith(LEARNED_FROM) for pair in pairs)
    asked = [prompt for korean in (False, True) for prompt in prompts(read_corpus(corpus), split="heldout", korean=korean)]
    assert asked and {prompt.pair.split for prompt in asked} == {"heldout"}
    assert len({prompt.text for prompt in asked}) == len(asked)


def test_texts_name_the_concept_in_both_languages(corpus):
    pair = next(pair for pair in corpus_drawings(corpus) if pair.caption_ko and pair.keywords_ko)
    english, korean = texts_of(pair)
    assert english[0] == pair.caption and korean[0] == pair.caption_ko
    assert all(text.startswith(pair.caption) for text in english)


def test_pictures_with_sides_are_known(corpus):
    sided = {pair.caption: is_sided(pair) for pair in read_corpus(corpus)}
    assert any(sided.values()) and not all(sided.values())
    assert all(value for caption, value in sided.items() if caption.startswith("flag: "))


def test_a_small_picture_is_whole_and_in_the_middle(tmp_path):
    image = Image.new("RGB", (200, 100), (255, 0, 0))
    image.save(tmp_path / "a.png")
    seen = picture64(tmp_path / "a.png")
    assert seen.shape == (64, 64, 3)
    assert (seen[16:48] == (255, 0, 0)).all() and (seen[:15] == 255).all() and (seen[49:] == 255).all()


def test_measure_has_chance_at_a_half_and_needs_other_concepts(corpus):
    asked = prompts(read_corpus(corpus), split="heldout", korean=False, count=20)
    perfect = measured(np.eye(len(asked)), asked)
    assert perfect["auc"] == 1.0
    nothing = measured(np.zeros((len(asked), len(asked))), asked)
    assert nothing["auc"] == nothing["low"] == nothing["high"] == 0.5


def test_seeds_number_the_prompts(pipeline):
    both = generate(pipeline, ["cat face", "dog face"], guidance=2.0, steps=3)
    again = generate(pipeline, ["bird", "dog face"], guidance=2.0, steps=3)
    assert np.abs(both[1].astype(int) - again[1]).max() <= 1 and not np.array_equal(both[0], again[0])


def test_card_states_the_figures_of_the_weights():
    card = (WEIGHTS.parent / "CARD.md").read_text(encoding="utf-8")
    found = json.loads((WEIGHTS.parent / "RESULTS.json").read_text(encoding="utf-8"))
    for name, row in found["results"].items():
        assert f"| {name} | {row['prompts']} | {row['auc']:.3f} |" in card


def test_a_training_that_was_stopped_ends_in_the_weights_of_one_that_was_not(tmp_path, monkeypatch):
    generator = np.random.default_rng(3)
    drawings = train.Drawings(
        latents=torch.from_numpy(generator.standard_normal((8, *model.LATENT), np.float32)),
        mirrored=torch.from_numpy(generator.standard_normal((8, *model.LATENT), np.float32)),
        texts=generator.standard_normal((3, model.TOKENS, model.TEXT_WIDTH)).astype(np.float16),
        english=[[1]] * 8,
        korean=[[2]] * 4 + [[]] * 4,
        weights=np.ones(8),
        sided=np.zeros(8, bool),
    )
    monkeypatch.setattr(train, "BATCH", 4)
    monkeypatch.setattr(train, "SAVED", 0)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    train.train(drawings, whole, steps=4)
    loss_of, left = train.loss_of, iter(range(2))

    def stopped(*given):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return loss_of(*given)

    monkeypatch.setattr(train, "loss_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        train.train(drawings, broken, steps=4)
    monkeypatch.setattr(train, "loss_of", loss_of)
    assert torch.load(broken / "checkpoint.pt", weights_only=True)["step"] == 2
    train.train(drawings, broken, steps=4)
    one, other = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole, broken))
    assert one["step"] == other["step"] == 4
    for part in ("unet", "average"):
        assert all(torch.equal(tensor, other[part][name]) for name, tensor in one[part].items())
