"""Text-to-image checkpoints opened by one word, and what a trainer and a generator must know of them.

pipeline = open_pipeline("embedded")                  # our own small base, no download
pipeline = open_pipeline("models/sdxl", dtype=torch.bfloat16, device="cuda")
pipeline = open_pipeline("pigment-model")             # what training.finetune wrote, full or LoRA
describe(pipeline).prediction                         # "v_prediction"
"""

import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from diffusers import DiffusionPipeline

from training.command import Mistake

EMBEDDED: Final = "embedded"
RUN, PIPELINE, LORA = "run.json", "pipeline", "lora"  # of a folder that training.finetune wrote
LORA_FILE: Final = "pytorch_lora_weights.safetensors"  # diffusers' name
Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")


class ModelError(Mistake):
    """A model that cannot be opened or is not of a kind that is known here; the message says which and what to do."""


@dataclass(frozen=True)
class Description:
    """What kind of model a pipeline holds.

    denoiser: the pipeline's attribute. prediction: what it is trained to say. space: of what it denoises. side: px of the square it was
    made for, or None when its configuration does not say. multiple: px that sides must be a multiple of. pixels: px of a side that one
    place of the denoiser's input stands for, 1 in pixel space. channels: of that input.
    """

    denoiser: Literal["unet", "transformer"]
    prediction: Prediction
    space: Literal["latent", "pixel"]
    side: int | None
    multiple: int
    pixels: int
    channels: int


def open_pipeline(
    model: str | Path,
    *,
    lora: str | Path | None = None,
    dtype: torch.dtype | dict[str, torch.dtype] = torch.float32,
    device: str | torch.device = "cpu",
) -> DiffusionPipeline:
    """The pipeline that `model` names: "embedded", a diffusers folder, a folder that training.finetune wrote, or a name on a hub.

    A LoRA that training.finetune wrote is opened on the base that the run.json beside it names. lora: the weights' file, or the folder it
    lies in, put on top. dtype: of all parts, or by a part's name and "default".
    The network is used for a hub's name alone, and only when no folder has that name. Raises ModelError.
    """
    folder, own = resolve(str(model))
    local = Path(folder).is_dir()
    try:
        pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=dtype, local_files_only=local)
    except (OSError, ValueError) as error:
        raise ModelError(f"{model}: diffusers cannot open it as a pipeline: {error}") from error
    for weights in (own, lora):
        if weights is not None:
            add_lora(pipeline, Path(weights))
    return pipeline.to(device)


def resolve(model: str) -> tuple[str, Path | None]:
    """(diffusers' folder or a hub's name, folder of a LoRA to put on it or None). Raises ModelError."""
    if model == EMBEDDED:
        from training.base import embedded_base_dir  # assembles it at the first call

        return str(embedded_base_dir()), None
    path = Path(model)
    if (path / "model_index.json").is_file():
        return str(path), None
    if (path / RUN).is_file():
        return _finetuned(path)
    if path.exists():
        raise ModelError(f"{path}: neither a diffusers folder (model_index.json) nor one that training.finetune wrote ({RUN})")
    if _HUB_NAME.fullmatch(model):
        return model, None
    raise ModelError(f"{model}: no such folder; give one, {EMBEDDED!r}, or a hub's name like owner/model")


def _finetuned(path: Path) -> tuple[str, Path | None]:
    if (path / PIPELINE / "model_index.json").is_file():
        return str(path / PIPELINE), None
    if (path / LORA / LORA_FILE).is_file():
        base, below = resolve(json.loads((path / RUN).read_text("utf-8"))["base"])
        if below is not None:
            raise ModelError(f"{path}: its base is a LoRA itself ({below}); open one of the two on a whole pipeline with lora=")
        return base, path / LORA
    raise ModelError(f"{path}: its fine-tuning has not ended; the command that began it goes on with it")


def add_lora(pipeline: Any, weights: Path) -> None:
    """Puts the LoRA at `weights`, a file or its folder, on the pipeline. Raises ModelError."""
    if not hasattr(pipeline, "load_lora_weights"):
        raise ModelError(f"{weights}: diffusers has no LoRA for {type(pipeline).__name__}")
    if weights.is_dir() and not (weights / LORA_FILE).is_file() and (weights / LORA / LORA_FILE).is_file():
        weights = weights / LORA
    folder, name = (weights, LORA_FILE) if weights.is_dir() else (weights.parent, weights.name)
    if not (folder / name).is_file():
        raise ModelError(f"{folder / name}: no such file; give a LoRA's file, or the folder of {LORA_FILE}")
    pipeline.load_lora_weights(str(folder), weight_name=name)


def describe(pipeline: Any) -> Description:
    """Read from the configurations of denoiser, scheduler and autoencoder. Raises ModelError when there is no denoiser."""
    name: Literal["unet", "transformer"] = "unet" if getattr(pipeline, "unet", None) is not None else "transformer"
    denoiser = getattr(pipeline, name, None)
    if denoiser is None:
        raise ModelError(f"{type(pipeline).__name__} has neither a unet nor a transformer")
    config = denoiser.config
    pixels = int(pipeline.vae_scale_factor) if getattr(pipeline, "vae", None) is not None else 1
    # A U-Net halves its input between blocks, a transformer cuts it into patches.
    least = 2 ** (len(config.down_block_types) - 1) if name == "unet" else config.get("patch_size") or 1
    side = config.get("sample_size")
    side = max(side) if isinstance(side, (list, tuple)) else side
    return Description(
        denoiser=name,
        prediction=_prediction(pipeline.scheduler),
        space="pixel" if getattr(pipeline, "vae", None) is None else "latent",
        side=None if side is None else side * pixels,
        multiple=pixels * least,
        pixels=pixels,
        channels=config.in_channels,
    )


def exact_size(pipeline: Any) -> dict[str, Any]:
    """What a call of the pipeline needs besides height and width to draw just that: PixArt and Sana round to their own list of sizes."""
    return {"use_resolution_binning": False} if "use_resolution_binning" in inspect.signature(pipeline.__call__).parameters else {}


def is_flow(scheduler: Any) -> bool:
    """Whether the network of a checkpoint with this scheduler predicts the velocity of a flow."""
    config = scheduler.config
    return (
        "FlowMatch" in type(scheduler).__name__ or bool(config.get("use_flow_sigmas")) or config.get("prediction_type") == "flow_prediction"
    )


def _prediction(scheduler: Any) -> Prediction:
    if is_flow(scheduler):
        return "flow"
    found = scheduler.config.get("prediction_type", "epsilon")
    if found not in ("epsilon", "v_prediction", "sample"):
        raise ModelError(
            f"prediction type {found!r} of {type(scheduler).__name__} is not known here; known: epsilon, v_prediction, sample, flow"
        )
    return found
