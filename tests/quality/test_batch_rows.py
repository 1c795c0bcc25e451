"""Rows of a call: as many as there is memory for, and no score depends on how many those are."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from quality.engines import Run, engines_of, run, start_here
from quality.engines.memory import free_memory, peak_of, rows_that_fit, share_of_process
from quality.engines.run import LEAST_ROWS
from quality.images.decode import decode
from quality.scorers import towers_of
from quality.scorers.embed import Embed, open_model
from quality.scorers.nsfw import Nsfw, prepare
from tests.quality.test_engines import small_tower
from tests.scoring import cache_folder, sample_pairs, tiny_clip

torch.set_num_threads(1)


def test_the_same_bits_with_fewer_rows(tmp_path):
    embed = Embed(model=tiny_clip(tmp_path / "tiny"), cache=cache_folder())
    model = open_model(embed.source, cache_folder())
    pairs = sample_pairs(9)
    images = [decode(data, side=512) for _, data in pairs]
    inputs = {
        "embed.image": model.prepare(images),
        "embed.text": model.tokenize([caption for caption, _ in pairs]),
        "nsfw.image": prepare(images),
    }
    for tower in towers_of([embed, Nsfw()]):
        for engine in engines_of(tower):
            if "cuda" in engine or engine == "torch-bf16":  # the one is not here, the other slow without AMX
                continue
            least = LEAST_ROWS[engine.partition("-")[0]]
            many, few = (start_here(replace(tower, rows=rows), engine, mapped=False)(inputs[tower.name]) for rows in (tower.rows, least))
            assert np.array_equal(many, few), f"{tower.name} on {engine}: {tower.rows} rows a call and {least} give other bits"


def test_rows_are_halved_until_they_fit():
    assert rows_that_fit(10, 1000, least=1, most=64) == 64
    assert rows_that_fit(10, 640, least=1, most=64) == 64
    assert rows_that_fit(10, 639, least=1, most=64) == 32
    assert rows_that_fit(10, 0, least=1, most=64) == 1
    assert rows_that_fit(10, 0, least=2, most=8) == 2
    assert rows_that_fit(10, None, least=2, most=8) == 8


def test_an_engine_starts_with_the_rows_that_there_is_memory_for(tmp_path, monkeypatch, caplog):
    tower = small_tower(tmp_path, rows=8)
    plenty = start_here(tower, "onnxruntime-f32")
    monkeypatch.setattr(run, "share_of_process", lambda: 0)
    with caplog.at_level(logging.INFO):
        for engine in ("torch-f32", "onnxruntime-f32", "openvino-f32"):
            short = start_here(tower, engine)
            assert (plenty.rows, short.rows) == (8, LEAST_ROWS[engine.partition("-")[0]])
            assert f"small.image: {engine}, {short.rows} rows a call" in caplog.text
            assert np.array_equal(short(tower.probe()[0]), start_here(tower, engine, mapped=False)(tower.probe()[0]))


def test_where_a_device_has_no_more_memory_rows_are_halved_and_stay_so():
    given = []

    def call(inputs):  # as torch raises on a device with room for 20 rows
        given.append(len(inputs))
        if len(inputs) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inputs * 2

    device = Run("torch-cuda-f16", 64, call)
    inputs = np.arange(70, dtype=np.float32).reshape(70, 1)
    assert np.array_equal(device(inputs), inputs * 2)
    assert given == [64, 32, 16, 16, 16, 16, 16] and device.rows == 16
    given.clear()
    assert np.array_equal(device(inputs[:5]), inputs[:5] * 2) and given == [16]
    with pytest.raises(torch.OutOfMemoryError):
        Run("torch-cuda-f16", 1, lambda inputs: call(np.repeat(inputs, 21, axis=0)))(inputs)


def test_other_errors_are_not_taken_for_want_of_memory():
    def call(inputs):
        raise RuntimeError("no kernel")

    with pytest.raises(RuntimeError, match="no kernel"):
        Run("torch-cuda-f16", 64, call)(np.zeros((3, 1), np.float32))


def test_free_memory_is_the_least_that_anybody_allows(tmp_path):
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    groups.mkdir()
    assert free_memory(proc=proc, cgroups=groups) is None
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert free_memory(proc=proc, cgroups=groups) == 4000 * 1024
    (groups / "memory.max").write_text("max\n")
    (groups / "memory.current").write_text("1000\n")
    assert free_memory(proc=proc, cgroups=groups) == 4000 * 1024
    (groups / "memory.max").write_text("5000\n")
    assert free_memory(proc=proc, cgroups=groups) == 4000
    (groups / "memory.current").write_text("6000\n")
    assert free_memory(proc=proc, cgroups=groups) == 0


def test_memory_of_a_call_is_measured():
    size = 50_000_000
    grown = peak_of(lambda: np.ones(size, np.uint8).sum())
    if grown is None:
        pytest.skip("not run: this system does not say how far a process grew")
    assert size * 0.9 < grown < size * 3
    share = share_of_process()
    assert share is None or share > 0
