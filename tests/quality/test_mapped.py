"""Weights in mapped files: the same bits, and pages that belong to nobody."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from quality.engines import engines_of, mapped, start_here
from quality.engines.mapped import cpu, map_weights
from quality.engines.run import converted
from schemas.cache import built_once
from tests.quality.test_engines import small_tower

torch.set_num_threads(1)
WIDE = 1024


class Wide(torch.nn.Module):
    """4 MB of weights in its one layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.inner = torch.nn.Linear(WIDE, WIDE)

    def forward(self, x):
        return self.inner(x.to(self.inner.weight.dtype))


def wide_tower(folder):
    inputs = np.random.Generator(np.random.PCG64(0)).normal(size=(4, WIDE)).astype(np.float32)
    return small_tower(folder, name="wide.rows", module=lambda: Wide().eval(), probe=lambda: [inputs])


def test_the_same_bits_as_weights_of_ones_own(tmp_path):
    for tower in (small_tower(tmp_path), wide_tower(tmp_path)):
        for engine in engines_of(tower):
            own, laid_out, again = (start_here(tower, engine, mapped=shared)(tower.probe()[0]) for shared in (False, True, True))
            assert np.array_equal(own, laid_out) and np.array_equal(own, again), engine


@pytest.mark.parametrize("engine", ["torch-f32", "onnxruntime-f32", "openvino-f32"])
def test_weights_are_pages_of_a_file(tmp_path, engine):
    if not Path("/proc/self/smaps").is_file():
        pytest.skip("not run: this system does not say what is mapped")
    tower = wide_tower(tmp_path)
    run = start_here(tower, engine)
    run(tower.probe()[0])
    regions = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    ours = [region for region in regions if str(tmp_path / "mapped") in region.splitlines()[0]]
    kilobytes = {key: sum(int(re.search(rf"^{key}: +(\d+)", region, re.M)[1]) for region in ours) for key in ("Size", "Anonymous")}
    assert kilobytes["Size"] >= WIDE * WIDE * 4 / 1024
    assert kilobytes["Anonymous"] == 0, "pages were written to: every process has its own"


def test_both_halves_of_a_model_share_a_file(tmp_path):
    models = [Wide(), Wide()]
    for model in models:
        map_weights(model, "wide", tmp_path)
    map_weights(torch.nn.Linear(2, 2), "wide", tmp_path)
    assert len([path for path in (tmp_path / "mapped").iterdir() if path.is_dir()]) == 2
    assert torch.equal(models[0].inner.weight, Wide().inner.weight)


def test_what_needs_no_change_is_not_copied():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).eval()
    found = converted(module, device=torch.device("cpu"), dtype=torch.float32, channels_last=True)
    assert found[0].weight.is_contiguous(memory_format=torch.channels_last) and module[0].weight.is_contiguous()
    assert found[1].running_mean.data_ptr() == module[1].running_mean.data_ptr()
    halved = converted(module, device=torch.device("cpu"), dtype=torch.bfloat16)
    assert halved[0].weight.dtype == torch.bfloat16 and module[0].weight.dtype == torch.float32
    assert halved[1].num_batches_tracked.dtype == torch.int64


def test_who_begins_together_lays_out_once(tmp_path, monkeypatch):
    tower, built = wide_tower(tmp_path), []
    tower.onnx_file()
    monkeypatch.setattr(
        mapped, "built_once", lambda name, build, cache: built_once(name, lambda *to: built.append(name) or build(*to), cache)
    )
    with ThreadPoolExecutor(3) as executor:  # a lock is of the opened file: threads wait as processes do
        files = list(executor.map(lambda _: mapped.onnxruntime_file(tower), range(3)))
    assert len(set(files)) == 1 and len(built) == 1
    assert [path.name for path in (tmp_path / "mapped").iterdir()] == built, "the lock's file is left"


def test_the_cpu_is_part_of_the_name():
    assert cpu() == cpu() and len(cpu()) > 16


def test_a_cache_that_cannot_be_written_costs_memory_and_nothing_else(tmp_path, caplog):
    tower = wide_tower(tmp_path)
    tower.onnx_file()
    (tmp_path / "mapped").write_text("no folder")
    for engine in ("torch-f32", "onnxruntime-f32", "openvino-f32"):
        assert np.array_equal(start_here(tower, engine)(tower.probe()[0]), start_here(tower, engine, mapped=False)(tower.probe()[0]))
    assert "cannot be written" in caplog.text
