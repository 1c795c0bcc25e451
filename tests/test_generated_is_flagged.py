"""Our own deepfake scorer flags all that `training.generate` writes: pictures of every kind of prompt, enlarged ones, contact sheets."""

import pytest
import torch

from tests.scoring import tiny_clip
from tests.training.tiny_pipelines import make
from tests.training.tiny_upscalers import make_x4
from tests.trust.bands import judged_pairs
from training.generate import main

PROMPTS = [
    "귀여운 고양이 수채화", "a cute cat, watercolour", "a photo of a person's face, Canon EOS", "<!DOCTYPE x> & \"q\" ]]> \x1b 🐈", "x" * 3000,
    "Software: Adobe Photoshop", "digitalCapture",
]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(name, bytes) of every file that two runs wrote."""
    folder = tmp_path_factory.mktemp("flagged")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, clip, upscaler = make("sd15", folder / "model"), tiny_clip(folder / "clip-flagged"), make_x4(folder / "x4")
    asked = ["--model", str(model), "--ranker", clip, "--steps", "2", "--candidates", "2", "--device", "cpu"]
    asked += [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    assert main([*asked, "--keep", "2", "--negative", "a drawing", "--out", str(folder / "plain")]) == 0
    assert main([*asked, "--upscale", str(upscaler), "--upscale_steps", "1", "--out", str(folder / "enlarged")]) == 0
    torch.set_num_threads(threads)
    return [
        (str(path.relative_to(folder)), path.read_bytes())
        for out in ("plain", "enlarged")
        for path in sorted((folder / out).rglob("*.png"))
    ]


def test_everything_is_flagged_as_synthetic_with_the_highest_band(written):
    assert len(written) == 2 * len(PROMPTS) + 1 + len(PROMPTS) + 1
    for (name, _), one in zip(written, judged_pairs([(None, data) for _, data in written]), strict=True):
        assert one["band"] == "high" and one["synthetic"] >= 0.9, (name, one)
        assert "iptc_ai_fields" in one["evidence"], (name, one)


def test_it_is_the_metadata_that_tells(written):
    """Without it nothing is known; what a probe then says is measured by tests.bench.probe_generated."""
    from quality.images.header import read_header
    from quality.images.metadata import strip_metadata

    bare = [(None, strip_metadata(data, read_header(data))) for _, data in written]
    assert {one["band"] for one in judged_pairs(bare)} <= {"none", "low"}
