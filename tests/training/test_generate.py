"""Pictures from prompts: the same whatever the batch, the best kept, nothing made twice; on tiny pipelines saved by diffusers."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, LCMScheduler
from PIL import Image

from tests.scoring import tiny_clip
from tests.training.tiny_pipelines import make
from tests.training.tiny_upscalers import make_ldm, make_x4
from training.checkpoints import open_pipeline
from training.embedded_clip import ClipModelError
from training.generate import main, pictures, settings_of
from training.generation.draw import GenerationError, noise_seed
from training.generation.ranking import Ranker
from training.generation.samplers import SAMPLERS, SamplerError, chosen, scheduler_of

ROOT = Path(__file__).parents[2]
PROMPTS = ["귀여운 고양이 수채화", "a cute cat, watercolour", "a red fish"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sd15(tmp_path_factory) -> Path:
    return make("sd15", tmp_path_factory.mktemp("sd15"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return tiny_clip(tmp_path_factory.mktemp("generate-clip"))


@pytest.fixture
def pipeline(sd15):
    return opened(sd15)


def opened(folder):
    pipeline = open_pipeline(str(folder))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn(pipeline, prompts=PROMPTS, **options) -> dict[tuple[int, int], np.ndarray]:
    found = pictures(pipeline, prompts, **{"steps": 2, "candidates": 3, "keep": 3} | options)
    return {(one.number, one.candidate): np.asarray(one.image, np.int16) for one in found}


def test_a_picture_is_the_same_whatever_is_drawn_beside_it(pipeline):
    whole = drawn(pipeline, batch=9)
    assert len(whole) == 9
    alone, split, fewer = drawn(pipeline, batch=1), drawn(pipeline, batch=2), drawn(pipeline, numbers=[1], batch=4)
    assert sorted(fewer) == [(1, 0), (1, 1), (1, 2)]
    for other in (alone, split, fewer):
        # Sums are taken in another order: a level of 255 at most, in few places.
        assert all(np.abs(whole[key] - image).max() <= 1 for key, image in other.items())
        assert np.mean([(whole[key] != image).mean() for key, image in other.items()]) < 0.01
    others = drawn(pipeline, seed=1)
    assert min(np.abs(whole[key] - others[key]).max() for key in whole) > 10


def test_every_candidate_has_noise_of_its_own():
    seeds = {noise_seed(seed, number, candidate) for seed in range(5) for number in range(20) for candidate in range(20)}
    assert len(seeds) == 2000 and all(0 <= seed < 2**63 for seed in seeds)


def test_the_best_by_the_ranker_are_kept_best_first(pipeline, clip):
    ranker = Ranker(clip)
    found = list(pictures(pipeline, PROMPTS, steps=2, candidates=5, keep=2, batch=10, ranker=ranker))
    assert [one.number for one in found] == [0, 0, 1, 1, 2, 2]
    everything = {(one.number, one.candidate): one for one in pictures(pipeline, PROMPTS, steps=2, candidates=5, keep=5)}
    for best, second in zip(found[::2], found[1::2], strict=True):
        assert best.scores == second.scores and len(best.scores) == 5 and len(set(best.scores)) > 1
        assert (
            [best.score, second.score]
            == sorted(best.scores, reverse=True)[:2]
            == [best.scores[best.candidate], second.scores[second.candidate]]
        )
        asked = everything[best.number, best.candidate]
        assert asked.score is None and set(asked.scores) == {None}
        assert ranker.similarity([best.image], [best.prompt])[0] == pytest.approx(best.score, abs=2e-4)


def test_the_pipeline_is_left_as_it_was(pipeline):
    before = pipeline.scheduler
    one = pictures(pipeline, PROMPTS, steps=2)
    next(one)
    assert pipeline.scheduler is not before
    one.close()
    assert pipeline.scheduler is before


def test_pictures_that_the_safety_checker_blanks_are_no_pictures(pipeline):
    def blanks_the_first(image, *_):
        image[0] = 0
        return image, [True] + [False] * (len(image) - 1)

    pipeline.run_safety_checker = blanks_the_first
    assert sorted(drawn(pipeline, batch=3)) == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert drawn(pipeline, batch=1, candidates=1, keep=1) == {}


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("lcm", "flow-euler")])
@pytest.mark.parametrize("kind", ["epsilon", "zero-snr"])
def test_samplers_draw(pipeline, name, kind):
    if kind == "zero-snr":
        more = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "leading"}
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **more)
    made = scheduler_of(pipeline, name)
    made.set_timesteps(5)
    assert type(made) is SAMPLERS[name].scheduler and made.config.prediction_type == pipeline.scheduler.config.prediction_type
    assert kind != "zero-snr" or round(float(made.timesteps[0])) == 999  # else the first step is not pure noise
    found = drawn(pipeline, prompts=PROMPTS[1:2], sampler=name, candidates=1, keep=1)[0, 0]
    assert found.std() > 1 and not np.array_equal(
        found, drawn(pipeline, prompts=PROMPTS[1:2], sampler=name, candidates=1, keep=1, steps=4)[0, 0]
    )


@pytest.mark.parametrize(
    ("scheduler", "auto", "refused"),
    [
        (DDIMScheduler(), "dpm++", {"lcm": "no latent consistency model", "flow-euler": "to predict epsilon"}),
        (
            DDIMScheduler(prediction_type="v_prediction"),
            "dpm++",
            {"flow-euler": r"to predict v_prediction \(DDIMScheduler\); take dpm\+\+ or unipc"},
        ),
        (FlowMatchEulerDiscreteScheduler(), "flow-euler", {name: "the velocity of a flow" for name in SAMPLERS if name != "flow-euler"}),
        (LCMScheduler(), "lcm", {"flow-euler": "take lcm or own"}),
        (EDMEulerScheduler(), "own", {"ddim": "its own scheduler alone", "heun": "there are auto, dpm"}),
    ],
)
def test_a_sampler_that_does_not_fit_is_refused_with_the_reason(pipeline, scheduler, auto, refused):
    pipeline.scheduler = scheduler
    assert chosen(pipeline, "auto") == auto and chosen(pipeline, "own") == "own"
    for name, why in refused.items():
        with pytest.raises(SamplerError, match=why):
            chosen(pipeline, name)


@pytest.mark.parametrize("kind", ["sdxl", "pixart", "sd3", "if"])
def test_other_families_draw(kind, tmp_path):
    found = drawn(opened(make(kind, tmp_path)), prompts=PROMPTS[1:], candidates=2, keep=2, batch=4)
    assert len(found) == 4 and all(image.shape == (16, 16, 3) for image in found.values())
    assert not np.array_equal(found[0, 0], found[0, 1])


def test_lcm_draws_where_the_checkpoint_is_one(pipeline):
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    assert settings_of(pipeline).steps == 4
    whole, alone = drawn(pipeline, batch=9), drawn(pipeline, batch=1)  # it draws noise while it goes: from each picture's own generator
    assert all(np.abs(whole[key] - alone[key]).max() <= 1 for key in whole)


def test_negative_prompt_guidance_and_size_count(pipeline):
    plain = drawn(pipeline)[0, 0]
    assert np.abs(drawn(pipeline, negative="letters")[0, 0] - plain).max() > 0
    assert np.abs(drawn(pipeline, guidance=1.0)[0, 0] - plain).max() > 0
    assert drawn(pipeline, size=(24, 16))[0, 0].shape == (16, 24, 3)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"size": (17, 16)}, "sides that 4 divides"),
        ({"negative": "x", "guidance": 1.0}, "does nothing with guidance 1"),
        ({"candidates": 2, "keep": 3}, "at most all"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_what_a_pipeline_cannot_do_is_refused_before_it_draws(pipeline, options, why):
    with pytest.raises(GenerationError, match=why):
        pictures(pipeline, PROMPTS, **options)


@pytest.mark.parametrize(
    ("model", "why"), [("ViT-B-32", "ARCHITECTURE/CHECKPOINT"), ("ViT-Q-1/openai", "ViT-Q-1"), ("local-dir:/nowhere", "nowhere")]
)
def test_a_ranker_that_is_not_there_is_named(model, why):
    with pytest.raises(ClipModelError, match=why):
        Ranker(model)


# ---- the command


@pytest.fixture
def command(sd15, clip, tmp_path):
    def run(*more, prompts=PROMPTS, out="out") -> int:
        asked = [word for prompt in prompts for word in ("--prompt", prompt)]
        return main(["--model", str(sd15), *asked, "--ranker", clip, "--candidates", "2", "--steps", "2", "--batch", "2", "--device", "cpu",
                     "--out", str(tmp_path / out), *more])  # fmt: skip

    return run


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "pictures.jsonl").read_text("utf-8").splitlines()]


def state_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.png"))}


def test_the_command_writes_pictures_index_and_sheet(command, tmp_path, capsys):
    assert command("--negative", "letters") == 0
    lines = lines_of(tmp_path / "out")
    assert [line["prompt"] for line in lines] == PROMPTS
    for line in lines:
        with Image.open(tmp_path / "out" / line["file"]) as image:
            assert image.size == (16, 16) == (line["width"], line["height"])
        assert line["score"] == max(line["scores"]) and len(line["scores"]) == 2 and line["negative"] == "letters" and line["seed"] == 0
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.width > 3 * 128
    said = capsys.readouterr().out
    assert "3 in" in said and "sheet.png" in said and "--seed 1" in said


def test_what_is_there_is_not_made_again(command, tmp_path, capsys):
    assert command() == 0
    before = state_of(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "pictures").iterdir()}
    damaged = tmp_path / "out" / lines_of(tmp_path / "out")[1]["file"]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    assert command(prompts=[*PROMPTS, "a blue bird"]) == 0
    assert "4, of which 2 were there" in capsys.readouterr().out
    after = state_of(tmp_path / "out")
    assert {name: digest for name, digest in after.items() if name in before and name != "sheet.png"} == {
        name: digest for name, digest in before.items() if name != "sheet.png"
    }
    assert len(lines_of(tmp_path / "out")) == 4
    assert [path.stat().st_mtime_ns == at for path, at in times.items() if path != damaged] == [True, True]


def test_pictures_of_other_settings_are_refused_unless_told(command, tmp_path, capsys):
    assert command() == 0
    before = state_of(tmp_path / "out")
    assert command("--seed", "7") == 2
    assert "--overwrite" in capsys.readouterr().err and state_of(tmp_path / "out") == before
    assert command("--seed", "7", "--overwrite") == 0
    assert {line["seed"] for line in lines_of(tmp_path / "out")} == {7}
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 3


def test_interrupted_and_gone_on_with_ends_in_the_same_files(command, sd15, clip, tmp_path):
    many = [f"a picture of {number}" for number in range(12)]
    (tmp_path / "prompts.txt").write_text("\n".join(many) + "\n\n", "utf-8")
    asked = ["--prompts", str(tmp_path / "prompts.txt")]
    words = [
        sys.executable,
        "-m",
        "training.generate",
        "--model",
        sd15,
        "--ranker",
        clip,
        "--candidates",
        "2",
        "--steps",
        "2",
        "--batch",
        "2",
    ]
    process = subprocess.Popen(
        [*words, "--device", "cpu", "--out", tmp_path / "cut", *asked],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    index = tmp_path / "cut" / "pictures.jsonl"
    while process.poll() is None and not (index.is_file() and index.read_text("utf-8").count("\n")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # the same handler as Ctrl-C, which a shell may have had ignored
    said = process.communicate()[1]
    assert process.returncode == 130, said
    assert "The same command goes on" in said
    assert 1 <= len(lines_of(tmp_path / "cut")) < 12
    assert command(*asked, prompts=[], out="cut") == 0 and command(*asked, prompts=[], out="whole") == 0
    assert state_of(tmp_path / "cut") == state_of(tmp_path / "whole") and len(lines_of(tmp_path / "cut")) == 12


@pytest.mark.parametrize("make_upscaler", [make_x4, make_ldm])
def test_what_is_kept_is_enlarged(command, make_upscaler, tmp_path):
    folder = make_upscaler(tmp_path / "upscaler")
    assert command("--size", "32", "--upscale", str(folder), "--upscale_steps", "2", prompts=PROMPTS[:2]) == 0
    lines = lines_of(tmp_path / "out")
    assert {(line["width"], line["height"]) for line in lines} == {(128, 128)}
    assert all(line["upscaler"].startswith("upscaler ") and line["upscale_steps"] == 2 for line in lines)


def test_wrong_use_is_one_line_and_exit_code_2(command, sd15, tmp_path, capsys):
    (tmp_path / "latin.txt").write_bytes("Käse".encode("latin-1"))
    for more, why in (
        (["--upscale", str(sd15)], "no super-resolution pipeline"),
        (["--sampler", "flow-euler"], "does not fit"),
        (["--prompts", str(tmp_path / "none.txt")], "give a text file"),
        (["--prompts", str(tmp_path / "latin.txt")], "UTF-8"),
        (["--font", str(tmp_path / "latin.txt")], "no font"),
        (["--model", str(tmp_path)], "neither a diffusers folder"),
    ):
        assert command(*more) == 2
        said = capsys.readouterr().err
        assert why in said and said.startswith("pigment: error: ") and said.count("\n") == 1
    assert command(prompts=[" "]) == 2 and not (tmp_path / "out").exists()
