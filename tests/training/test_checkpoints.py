"""Pipelines of every family are opened and described; what cannot be opened is refused with a way out."""

import json

import pytest
import torch

from tests.training.tiny_pipelines import MAKERS, make
from training.checkpoints import Description, ModelError, describe, exact_size, open_pipeline

WANTED = {
    "sd15": Description("unet", "epsilon", "latent", 16, 4, 2, 4),
    "sdxl": Description("unet", "epsilon", "latent", 16, 4, 2, 4),
    "pixart": Description("transformer", "epsilon", "latent", 16, 4, 2, 4),
    "sd3": Description("transformer", "flow", "latent", 16, 4, 2, 4),
    "if": Description("unet", "epsilon", "pixel", 16, 2, 1, 3),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_family_is_opened_described_and_draws(tmp_path, kind):
    pipeline = open_pipeline(make(kind, tmp_path / kind))
    pipeline.set_progress_bar_config(disable=True)
    assert describe(pipeline) == WANTED[kind]
    images = pipeline(
        "a cat", height=16, width=16, num_inference_steps=2, generator=torch.Generator().manual_seed(0), **exact_size(pipeline)
    ).images
    assert images[0].size == (16, 16)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no such folder; give one, 'embedded', or a hub's name like owner/model"):
        open_pipeline(tmp_path / "absent")
    with pytest.raises(ModelError, match=r"neither a diffusers folder \(model_index.json\) nor"):
        open_pipeline(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"base": "embedded"}))
    with pytest.raises(ModelError, match="its fine-tuning has not ended"):
        open_pipeline(tmp_path)
