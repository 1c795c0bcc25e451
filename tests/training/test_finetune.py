"""Fine-tuning as a user runs it: every family, whole and as a LoRA; stopped by signals and gone on with; what plain diffusers makes of the result."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from tests.conftest import ROOT, SOAK
from tests.training.drawn_release import make_drawn_release
from tests.training.tiny_pipelines import make, make_sd15
from training import finetune
from training.checkpoints import open_pipeline
from training.held_out import concepts_of, hold_out
from training.releases import open_release

QUICK = (
    "--steps",
    "4",
    "--batch",
    "4",
    "--warmup",
    "1",
    "--learning_rate",
    "1e-3",
    "--held_out_pairs",
    "4",
    "--sample_every",
    "0",
    "--rank",
    "4",
)
RUNS = [("sd15", "full"), ("sd15", "lora"), ("sdxl", "full"), ("sdxl", "lora"), ("sd3", "full"), ("sd3", "lora"), ("pixart", "full"),
        ("if", "full"), ("if", "lora")]  # fmt: skip
STOPS = 20 if SOAK else 2


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_drawn_release(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bases")
    for kind in {kind for kind, _ in RUNS}:
        make(kind, root / kind)
    return root


def run(release: Path, base: Path, out: Path, *flags: str) -> int:
    AcceleratorState._reset_state(reset_partial_state=True)  # one a process, and here are many runs
    return finetune.main(["--release", str(release), "--model", str(base), "--out", str(out), *QUICK, *flags])


def rows(out: Path, key: str = "loss") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    return [row for row in found if key in row]


def predicted(pipeline: Any) -> torch.Tensor:
    """A picture in floats: the same for the same weights."""
    pipeline.set_progress_bar_config(disable=True)
    options = {"use_resolution_binning": False} if "PixArt" in type(pipeline).__name__ else {}
    found = pipeline("a red disc", height=16, width=16, num_inference_steps=2, guidance_scale=3.0, output_type="pt",
                     generator=torch.Generator().manual_seed(1), **options).images  # fmt: skip
    return found.float()


# ---- every family


@pytest.mark.parametrize(("kind", "method"), RUNS)
def test_a_run_ends_with_what_plain_diffusers_loads(release, bases, tmp_path, capsys, kind, method):
    base, out = bases / kind, tmp_path / "out"
    assert run(release, base, out, "--method", method, "--ema", "0") == 0
    told = capsys.readouterr().out
    losses = [row["loss"] for row in rows(out)]
    assert [row["step"] for row in rows(out)] == [1, 2, 3, 4]
    assert all(loss > 0 for loss in losses)
    ran = json.loads((out / "run.json").read_text("utf-8"))
    assert (ran["finished"], ran["steps"], ran["samples_seen"], ran["method"]) == (True, 4, 16, method)
    assert ran["release"]["digest"] == "d" * 64
    assert ran["release"]["licenses"] == {"public-domain": 56}
    assert f"next           python -m training.generate --model {out}" in told
    plain = DiffusionPipeline.from_pretrained(base if method == "lora" else out / "pipeline")
    before = predicted(DiffusionPipeline.from_pretrained(base))
    if method == "lora":
        assert torch.equal(predicted(plain), before)
        plain.load_lora_weights(out / "lora")
    after = predicted(plain)
    assert not torch.equal(after, before)
    assert torch.equal(predicted(open_pipeline(out)), after)
    last = load_file(out / "checkpoints" / "step-000004" / "weights.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in last.values())
    if method == "full":
        kept = getattr(plain, "unet", None) or plain.transformer
        assert last.keys() == kept.state_dict().keys() - {name for name, _ in kept.named_buffers()}
        assert all(torch.equal(tensor, kept.state_dict()[name]) for name, tensor in last.items())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_loss_falls_on_what_is_trained_on(release, tmp_path, prediction):
    torch.manual_seed(0)
    base, out = make_sd15(tmp_path / "base", prediction), tmp_path / "out"
    assert (
        run(release, base, out, "--steps", "40", "--batch", "8", "--learning_rate", "5e-3", "--ema", "0.9", "--held_out_pairs", "16") == 0
    )
    loss = json.loads((out / "run.json").read_text("utf-8"))["held_out_loss"]
    assert loss["difference"] + loss["interval"] < 0
    assert loss["after"] < 0.9 * loss["before"]


# ---- stopped and gone on with


def command(release: Path, base: Path, out: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "training.finetune", "--release", str(release), "--model", str(base), "--out", str(out), *QUICK, *flags]


def logged(out: Path) -> int:
    """The last step that the log has."""
    path = out / "log.jsonl"
    steps = re.findall(r'^{"step": (\d+)', path.read_text("utf-8"), re.M) if path.is_file() else []
    return int(steps[-1]) if steps else 0


def stop_at(step: int, number: int, started: list[str], out: Path) -> tuple[int, str]:
    """Starts the command, sends it the signal once it has logged that step, or one more than the last run did. Returns exit code and stderr."""
    step = max(step, logged(out) + 1)
    process = subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while logged(out) < step and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate(timeout=300)
    return process.returncode, said[1]


def test_stopped_at_random_steps_it_ends_as_if_it_had_not_been(release, bases, tmp_path):
    steps = 60 * STOPS if SOAK else 24
    flags = (
        "--steps",
        str(steps),
        "--accumulate",
        "2",
        "--caption_dropout",
        "0.3",
        "--checkpoint_every",
        "17",
        "--log_every",
        "1",
        "--ema",
        "0.9",
    )
    through, broken = tmp_path / "through", tmp_path / "broken"
    assert run(release, bases / "sd15", through, *flags) == 0
    draw = random.Random(6)
    signals = [signal.SIGTERM, signal.SIGKILL, signal.SIGINT]
    for place, step in enumerate(sorted(draw.sample(range(2, steps - 8), STOPS))):
        number = signals[place % 3]
        code, said = stop_at(step, number, command(release, bases / "sd15", broken, *flags), broken)
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL, said
        else:
            assert code == 130, said
            assert re.search(r"Stopped after step [\d,]+ of .* The same command goes on from here", said)
            newest = max(int(path.name[5:]) for path in (broken / "checkpoints").glob("step-*"))
            assert newest == logged(broken) >= step
    assert run(release, bases / "sd15", broken, *flags) == 0
    for key in ("loss", "gradient_norm", "learning_rate", "epoch", "held_out"):
        assert [(row["step"], row[key]) for row in rows(broken, key)] == [(row["step"], row[key]) for row in rows(through, key)]
    assert [row["step"] for row in rows(broken)] == list(range(1, steps + 1))
    last = f"checkpoints/step-{steps:06d}"
    for name in ("weights", "ema"):
        assert (broken / last / f"{name}.safetensors").read_bytes() == (through / last / f"{name}.safetensors").read_bytes()
    one, other = (torch.load(out / last / "optimizer.pt", weights_only=True)["optimizer"] for out in (broken, through))
    assert one["param_groups"] == other["param_groups"]
    assert all(torch.equal(one["state"][place][name], tensor) for place, of in other["state"].items() for name, tensor in of.items())
    first, second = (json.loads((out / "run.json").read_text("utf-8")) for out in (broken, through))
    assert first["held_out_loss"] == second["held_out_loss"]
    assert first["samples_seen"] == second["samples_seen"] == steps * 8
    assert len(list((broken / "checkpoints").iterdir())) == 2
    assert not list(broken.glob("**/*.part"))


def test_a_run_that_is_done_stays_and_another_one_is_refused(release, bases, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(release, bases / "sd15", out) == 0
    written = (out / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert run(release, bases / "sd15", out) == 0
    assert "done already, 4 steps" in capsys.readouterr().out
    assert run(release, bases / "sd15", out, "--batch", "8", "--ema", "0") == 2
    assert "holds a run with batch 4 and now 8, ema 0.999 and now 0.0; give another --out" in capsys.readouterr().err
    assert (out / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == written
    assert run(release, bases / "sd15", out, "--steps", "6") == 0
    assert json.loads((out / "run.json").read_text("utf-8"))["steps"] == 6
    assert [row["step"] for row in rows(out)] == [1, 2, 3, 4, 5, 6]


# ---- what is learned from


def test_what_may_not_be_learned_from_is_refused_and_the_way_round_is_kept(bases, tmp_path, capsys):
    unknown = make_drawn_release(tmp_path / "unknown", licenses={"public-domain": 50, "non-commercial": 6}, disallowed=1)
    out = tmp_path / "out"
    assert run(unknown, bases / "sd15", out) == 2
    assert "6 non-commercial" in capsys.readouterr().err
    assert run(unknown, bases / "sd15", out, "--allow_licenses", "non-commercial") == 2
    assert "2 of its files forbid mining" in capsys.readouterr().err
    assert not out.exists()
    assert run(unknown, bases / "sd15", out, "--allow_licenses", "non-commercial", "--ignore_optouts", "--steps", "1") == 0
    ran = json.loads((out / "run.json").read_text("utf-8"))["release"]
    assert ran["overridden"] == ["allow_licenses", "ignore_optouts"]
    assert ran["licenses"] == {"public-domain": 50, "non-commercial": 6}


def test_concepts_are_held_out_whole_and_by_their_captions_alone(release):
    training = open_release(release)
    kept, held = hold_out(training, 0.3)
    assert set(concepts_of(kept)).isdisjoint(concepts_of(held))
    assert len(kept.samples) + len(held.samples) == 56
    assert 8 <= len(held.samples) <= 26
    again, more = (hold_out(training, share)[1] for share in (0.3, 0.6))
    assert concepts_of(again) == concepts_of(held)
    assert set(concepts_of(held)) < set(concepts_of(more))


def test_what_another_release_shows_is_not_trained_on(release, bases, tmp_path):
    out = tmp_path / "out"
    assert run(release, bases / "sd15", out, "--validation", str(release)) == 2  # the same pictures: none are left
    other = make_drawn_release(tmp_path / "other", colours=("red", "green", "cyan"))
    assert run(release, bases / "sd15", out, "--validation", str(other), "--steps", "1") == 0
    pairs = json.loads((out / "run.json").read_text("utf-8"))["release"]["pairs"]
    assert pairs == {"all": 56, "trained_on": 54, "measured": 4}


# ---- knobs


def test_knobs_come_from_a_file_and_flags_win(release, bases, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(
        f"""release = "{release}"\nmodel = "{bases / "sd15"}"\nlearning_rate = 1\nprompts = ["a cat, red", "고양이"]\nclip = 0.5\n"""
    )
    knobs = finetune.read_knobs(["--config", str(config), "--out", "somewhere", "--clip", "2", "--targets", "to_q,to_v"])
    assert (knobs.learning_rate, knobs.clip, knobs.prompts, knobs.targets) == (1.0, 2.0, ("a cat, red", "고양이"), ("to_q", "to_v"))
    for text, told in {
        "learning_rat = 1": "no knob is named 'learning_rat'; did you mean 'learning_rate'?",
        "steps = 1.5": "steps is 1.5; it must be of type int",
        "prompts = 'cat'": "prompts is 'cat'; it must be a list of texts",
        "schedule = 'step'": "schedule is 'step'; it must be one of constant, linear, cosine",
        "ema = 1": "ema is 1.0; it must be below 1",
        "steps = ": "Invalid value",
    }.items():
        config.write_text(f"{text}\n")
        assert finetune.main(["--config", str(config), "--release", "r", "--out", str(tmp_path / "none")]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_pictures_are_drawn_while_it_trains(release, bases, tmp_path):
    out = tmp_path / "out"
    flags = ("--sample_every", "2", "--sample_steps", "2", "--prompts", "a red disc;고양이;a cat, watercolour;x;y", "--log_every", "1")
    assert run(release, bases / "if", out, *flags) == 0
    grids = sorted((out / "samples").iterdir())
    assert [path.name for path in grids] == ["step-000000.png", "step-000002.png", "step-000004.png"]
    assert {Image.open(path).size for path in grids} == {(64, 32)}
    assert len({path.read_bytes() for path in grids}) == 3
    assert list((out / "tensorboard").iterdir())


def test_bfloat16_and_checkpointed_activations(release, bases, tmp_path):
    """The loss is near that of single precision, and what was frozen is kept as the base has it."""
    losses = {}
    for name, flags in {"fp32": (), "bf16": ("--precision", "bf16", "--gradient_checkpointing")}.items():
        assert run(release, bases / "sd15", tmp_path / name, *flags) == 0
        losses[name] = rows(tmp_path / name)[0]["loss"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["bf16"] != losses["fp32"]
    for part in ("vae", "text_encoder"):
        files = [next((folder / part).glob("*.safetensors")).read_bytes() for folder in (bases / "sd15", tmp_path / "bf16" / "pipeline")]
        assert files[0] == files[1]


@pytest.mark.skipif(not SOAK, reason="not run: three processes take long; PIGMENT_SOAK=1 runs it")
def test_two_processes_learn_together(release, bases, tmp_path):
    out = tmp_path / "out"
    # What accelerate launches on GPUs; on a CPU alone it asks for MPI, where torch's own launcher does.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "training.finetune"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    ran = subprocess.run(
        [*launch, *command(release, bases / "sd15", out)[3:]], cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads((out / "run.json").read_text("utf-8"))
    assert (told["samples_seen"], told["knobs"]["ranks"]) == (32, 2)
