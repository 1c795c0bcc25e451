"""Engines: same answers, same bits, and the choice between them."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from quality.engines import ENGINES, EngineError, Tower, choose_engine, choose_engines, engines_of, start
from quality.scorers import towers_of
from quality.scorers.embed import Embed
from quality.scorers.nsfw import Nsfw
from tests.scoring import cache_folder, tiny_clip

torch.set_num_threads(1)


class Small(torch.nn.Module):
    def __init__(self, drift=0.0):
        super().__init__()
        torch.manual_seed(1)
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 4))
        self.drift = drift

    def forward(self, x):
        return self.layers(x.to(self.layers[0].weight.dtype)) + self.drift


def small_tower(folder, **options):
    inputs = np.random.Generator(np.random.PCG64(0)).normal(size=(4, 3, 8, 8)).astype(np.float32)
    given = {
        "name": "small.image",
        "digest": "0" * 8,
        "rows": 4,
        "probe": lambda: [inputs, inputs[:3]],
        "error": lambda found, reference: float(np.abs(found - reference).max()),
        "bound": 1e-4,
        "module": lambda: Small().eval(),
        "cache": folder,
    }
    return Tower(**given | options)


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    embed = Embed(model=tiny_clip(tmp_path_factory.mktemp("clip") / "tiny"), cache=cache_folder())
    return towers_of([embed, Nsfw()])


def test_all_engines_agree_with_fp32(towers):
    for tower in towers:
        measured = choose_engine(tower, seconds=0)
        assert {found.engine for found in measured} == set(engines_of(tower))
        assert len(measured) >= 2
        assert all(found.agrees for found in measured if found.engine.endswith("f32")), measured
        assert [found.rate for found in measured if found.agrees] == sorted((f.rate for f in measured if f.agrees), reverse=True)


def test_rows_do_not_depend_on_how_many_there_are(tmp_path):
    tower = small_tower(tmp_path)
    inputs = np.concatenate([tower.probe()[0]] * 3)
    for engine in engines_of(tower):
        run = start(tower, engine)
        whole = run(inputs)
        assert whole.shape == (12, 4) and whole.dtype == np.float32
        assert np.array_equal(run(inputs[:6]), whole[:6])
        assert np.array_equal(run(inputs[:1]), whole[:1])
        assert np.array_equal(whole[:4], whole[4:8]), "outputs of an earlier call were overwritten"


def test_same_bits_in_another_process(tmp_path, towers):
    tower = small_tower(tmp_path)
    here = {engine: start(tower, engine)(tower.probe()[0]).tobytes().hex() for engine in engines_of(tower)}
    code = (
        "import sys; from pathlib import Path; from tests.quality.test_engines import *\n"
        f"tower = small_tower(Path({str(tmp_path)!r}))\n"
        "print({engine: start(tower, engine)(tower.probe()[0]).tobytes().hex() for engine in engines_of(tower)})"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert eval(there) == here


def test_an_engine_that_drifts_is_not_chosen(tmp_path):
    wrong = small_tower(tmp_path / "wrong", module=lambda: Small(drift=0.01).eval())
    file = wrong.onnx_file()
    right = small_tower(tmp_path / "right")
    right.onnx_file().write_bytes(file.read_bytes())  # ONNX engines now run another model than torch
    measured = choose_engine(right, seconds=0)
    assert {found.engine for found in measured if found.agrees} == {"torch-f32", "torch-f32-channels_last"} & set(engines_of(right))
    assert measured[0].engine.startswith("torch")
    assert {found.engine: found.error for found in measured}["onnxruntime-f32"] == pytest.approx(0.01, abs=1e-3)


def test_an_export_is_made_once(tmp_path):
    calls = []

    def module():
        calls.append(1)
        return Small().eval()

    tower = small_tower(tmp_path, module=module)
    assert tower.onnx_file() == tower.onnx_file()
    assert calls == [1]
    assert small_tower(tmp_path, digest="1" * 8).onnx_file() != tower.onnx_file()


def test_a_named_engine_is_taken(towers):
    assert set(choose_engines(towers, engine="onnxruntime-f32").values()) == {"onnxruntime-f32"}
    assert choose_engines(towers, engine="torch-f32") == {
        "embed.image": "torch-f32",
        "embed.text": "torch-f32",
        "nsfw.image": "onnxruntime-f32",
    }


def test_unknown_and_unfit_engines_are_refused(towers, tmp_path):
    with pytest.raises(EngineError, match="known: torch-f32"):
        choose_engines(towers, engine="tensorrt")
    with pytest.raises(EngineError, match="unknown engine"):
        start(small_tower(tmp_path), "tensorrt")
    nsfw = towers[-1]
    with pytest.raises(EngineError, match=r"torch-f32 cannot run nsfw\.image on this machine"):
        start(nsfw, "torch-f32")
    missing = [engine for engine in ENGINES if engine not in engines_of(small_tower(tmp_path))]
    for engine in missing:
        with pytest.raises(EngineError, match="not to be had on this machine"):
            choose_engines(towers, engine=engine)


def test_openvino_is_loaded_without_its_telemetry():
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from quality.engines.run import _core; _core()\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "import openvino.tools.ovc as ovc; print(ovc.telemetry.__class__.__module__)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "stub" in out


def test_a_model_without_onnx_form_keeps_torch(tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.eigvalsh(x[:, 0])

    tower = small_tower(tmp_path, module=lambda: Odd().eval())
    assert {found.engine for found in choose_engine(tower, seconds=0)} <= {
        "torch-f32",
        "torch-f32-channels_last",
        "torch-bf16",
        "torch-cuda-f16",
    }
    with pytest.raises(EngineError, match="Odd has no ONNX form"):
        start(tower, "openvino-f32")
