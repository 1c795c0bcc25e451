"""Embeddings of image and caption by any open_clip model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from PIL import Image

from quality.embedded_clip import EMBEDDED_MODEL_NAME, embedded_model_dir, embedded_weights_digest
from quality.engines import Call, Tower, start, start_here
from quality.engines.tower import default_cache, put_file
from quality.scorers.batch import SIDE, PairBatch
from quality.scorers.probe import CAPTIONS, drawings
from schemas.columns import field

ROWS: Final = 8  # of one call of an engine: more is no faster on a CPU, fewer captions are more alike in length
TOKENS_STEP: Final = 8  # captions are padded to a multiple of this
# Both halves together may move a similarity by 0.002 (DESIGN 6).
BOUND: Final = 0.001
_VECTOR: Final = pa.list_(pa.float16())  # not of fixed size: Arrow writes nulls of those to Parquet and cannot read them again
REVISION: Final = "1"  # raised when the code below would give other numbers


class ModelError(Exception):
    """The model or its weights cannot be found; the message says which, and what to do."""


@dataclass(frozen=True)
class ModelSource:
    """Where an open_clip model comes from. name: what policies call it. digest: 8 hex digits of its weights."""

    name: str
    digest: str
    model: str
    pretrained: str | None


class Embed:
    """Normalised embeddings, fp16.

    model: "pigment-embedded", an architecture of open_clip ("ViT-B-32"), or "local-dir:<folder>". pretrained: for an architecture, the
    checkpoint's path, or a tag whose weights are in the local Hugging Face cache. label: the weights' name in policies, which know the
    model as "<model>/<label>"; default the tag or the file's name. engines: by tower, "embed.image" and "embed.text"; default fp32 torch.
    cache: folder of assembled and exported models; default `$XDG_CACHE_HOME/pigment`. Raises ModelError.
    """

    name = "embed"
    needs: tuple[str, ...] = ()
    side = SIDE
    from_image: tuple[str, ...] = ("image",)

    def __init__(
        self,
        *,
        model: str = EMBEDDED_MODEL_NAME,
        pretrained: str | None = None,
        label: str | None = None,
        engines: Mapping[str, str] | None = None,
        cache: Path | None = None,
    ):
        self.source = find_model(model, pretrained, label)
        self._cache = cache
        self._engines = {tower: (engines or {}).get(tower, "torch-f32") for tower in ("embed.image", "embed.text")}
        image, text = self._engines.values()
        engine = image if image == text else f"image:{image}+text:{text}"
        self.fields = pa.schema(
            [
                field("image", _VECTOR, meaning=f"embedding of the image, normalised, {self.source.name}", range=(-1, 1)),
                field("text", _VECTOR, meaning=f"embedding of the caption, normalised, {self.source.name}", range=(-1, 1)),
            ]
        )
        self.version = f"{self.source.name}@{self.source.digest};open_clip side{SIDE};{engine};{REVISION}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_model", "_image", "_text")}

    def towers(self) -> list[Tower]:
        """The halves that an engine is chosen for."""
        return open_model(self.source, self._cache).towers()

    def load(self) -> None:
        self._model = open_model(self.source, self._cache)
        towers = {tower.name: tower for tower in self.towers()}
        self._image, self._text = (start(towers[name], engine) for name, engine in self._engines.items())

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """`image` is null where the image cannot be decoded, `text` where there is no caption; both where fetching failed."""
        told = {row: caption for row, caption in enumerate(batch.captions) if caption is not None and batch.data[row] is not None}
        image = batch.column("embed.image").cast(_VECTOR) if "embed.image" in batch.columns else self._images(batch)
        text = _column(list(told), self._run_captions(list(told.values())), len(batch))
        return pa.record_batch([image, text], schema=self.fields)

    def _images(self, batch: PairBatch) -> pa.Array:
        shown = {row: image for row, image in enumerate(batch.pixels(side=SIDE)) if image is not None}
        return _column(list(shown), self._run_images(list(shown.values())), len(batch))

    def _run_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return self._image(self._model.prepare(images)) if images else np.empty((0, 1), np.float32)

    def _run_captions(self, captions: Sequence[str]) -> np.ndarray:
        if not captions:
            return np.empty((0, 1), np.float32)
        return run_groups(self._text, self._model.tokenize(captions), self._model.settings["trim"])


def without_engine(version: str) -> str:
    """Of the version of an Embed, what does not hang on the engine: engines agree within BOUND, so what is fitted on one serves all."""
    model, preprocessing, _, revision = version.rsplit(";", 3)
    return f"{model};{preprocessing};{revision}"


def run_groups(run: Call, tokens: np.ndarray, pad: int | None) -> np.ndarray:
    """Runs token rows in groups of like length, each without the padding that all its rows share (where the model allows it)."""
    order, groups = token_groups(tokens, pad)
    outputs = np.concatenate([run(group) for group in groups])
    return outputs[np.argsort(order, kind="stable")]


def token_groups(tokens: np.ndarray, pad: int | None) -> tuple[np.ndarray, list[np.ndarray]]:
    """(order, groups): rows sorted by length and cut into groups of ROWS. pad: the token that fills up; None: nothing may be cut off."""
    if pad is None:
        return np.arange(len(tokens)), [tokens[at : at + ROWS] for at in range(0, len(tokens), ROWS)]
    lengths = (tokens != pad).sum(1)
    order = np.argsort(lengths, kind="stable")
    groups = []
    for at in range(0, len(tokens), ROWS):
        rows = order[at : at + ROWS]
        length = -(-int(lengths[rows].max()) // TOKENS_STEP) * TOKENS_STEP
        groups.append(np.ascontiguousarray(tokens[rows, :length]))
    return order, groups


def _column(rows: Sequence[int], vectors: np.ndarray, length: int) -> pa.Array:
    there = np.zeros(length, bool)
    there[rows] = True
    offsets = np.concatenate([[0], np.cumsum(there * vectors.shape[1])])
    values = pa.array(vectors.astype(np.float16).ravel())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=_VECTOR, mask=pa.array(~there))


# ---- the model


def find_model(model: str, pretrained: str | None = None, label: str | None = None) -> ModelSource:
    """Names a model and digests its weights, without loading it. Raises ModelError."""
    if model == EMBEDDED_MODEL_NAME:
        if pretrained is not None:
            raise ModelError(f"{EMBEDDED_MODEL_NAME} has its own weights; leave out {pretrained!r} or name an architecture of open_clip")
        return ModelSource(model, embedded_weights_digest()[:8], model, None)
    if model.startswith("local-dir:"):
        folder = Path(model.removeprefix("local-dir:"))
        found = sorted(folder.glob("open_clip_*.safetensors")) + sorted(folder.glob("open_clip_*.bin"))
        if not found or not (folder / "open_clip_config.json").is_file():
            raise ModelError(f"{folder} has no open_clip_config.json with open_clip_model.safetensors beside it")
        return ModelSource(label or folder.name, _digest_of(found[0]), model, None)
    if pretrained is None:
        raise ModelError(f"{model} needs weights: give a checkpoint's path, or a tag of open_clip that is in the local cache")
    path = Path(pretrained)
    if not path.is_file():
        path = _cached_weights(model, pretrained)
    return ModelSource(
        f"{model}/{label or (Path(pretrained).stem if path == Path(pretrained) else pretrained)}", _digest_of(path), model, str(path)
    )


def _cached_weights(model: str, tag: str) -> Path:
    from huggingface_hub import try_to_load_from_cache
    from open_clip import get_pretrained_cfg

    config = get_pretrained_cfg(model, tag)
    repository = config.get("hf_hub", "").rstrip("/") if config else ""
    for file in ("open_clip_model.safetensors", "open_clip_pytorch_model.bin") if repository else ():
        found = try_to_load_from_cache(repository, file)
        if isinstance(found, str):
            return Path(found)
    raise ModelError(
        f"{tag!r} is no file, and no weights of {model} of that name are in the local Hugging Face cache (nothing is downloaded); "
        "give the checkpoint's path"
    )


@cache
def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


@cache
def open_model(source: ModelSource, cache: Path | None) -> "ClipModel":
    """One per process: both scorers and towers use it."""
    return ClipModel(source, cache)


class ClipModel:
    """An open_clip model that is loaded only when something needs its weights: what else is asked for is kept beside its ONNX files."""

    def __init__(self, source: ModelSource, cache: Path | None):
        self.source, self._cache = source, cache

    @cached_property
    def torch_model(self) -> Any:
        import open_clip
        import torch

        torch.set_num_threads(1)
        return open_clip.create_model(self._address, pretrained=self.source.pretrained, device="cpu").eval()

    @property
    def _address(self) -> str:
        return f"local-dir:{embedded_model_dir(self._cache)}" if self.source.model == EMBEDDED_MODEL_NAME else self.source.model

    @cached_property
    def settings(self) -> dict[str, Any]:
        """open_clip's preprocessing, and `trim`: the padding token, null where captions must keep their full length."""
        path = (self._cache or default_cache()) / "towers" / f"{self.source.name.replace('/', '-')}-{self.source.digest}.{REVISION}.json"
        if not path.is_file():
            put_file(path, json.dumps(_settings_of(self.torch_model), indent=1, sort_keys=True).encode())
        return json.loads(path.read_text(encoding="utf-8"))

    @cached_property
    def tokenizer(self) -> Any:
        import open_clip

        return open_clip.get_tokenizer(self._address)

    def tokenize(self, captions: Sequence[str]) -> np.ndarray:
        """int64, rows x context length."""
        return self.tokenizer(list(captions)).numpy()

    @cached_property
    def _resize(self) -> Any:
        """open_clip's own transform without its last two steps, which the tower does: PIL image to PIL image."""
        from open_clip.transform import MaybeToTensor, PreprocessCfg, image_transform_v2
        from torchvision.transforms import Compose, Normalize

        steps = image_transform_v2(PreprocessCfg(**self.settings["preprocess"]), is_train=False).transforms
        assert isinstance(steps[-1], Normalize) and isinstance(steps[-2], MaybeToTensor), steps
        return Compose(steps[:-2])

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """uint8, rows x height x width x 3, as the image tower takes them."""
        return np.stack([np.asarray(self._resize(Image.fromarray(image))) for image in images])

    def towers(self) -> list[Tower]:
        tower = partial(Tower, digest=self.source.digest, rows=ROWS, bound=BOUND, cache=self._cache)
        return [
            tower(
                name="embed.image",
                module=lambda: image_tower(self.torch_model, self.settings["preprocess"]),
                probe=lambda: [self.prepare(drawings())],
                error=lambda found, reference: _moved(found, reference, self._reference["text"]),
            ),
            tower(
                name="embed.text",
                module=lambda: text_tower(self.torch_model),
                probe=lambda: token_groups(self.tokenize(CAPTIONS), self.settings["trim"])[1],
                error=lambda found, reference: _moved(found, reference, self._reference["image"]),
                free_axes=() if self.settings["trim"] is None else (1,),
            ),
        ]

    @cached_property
    def _reference(self) -> dict[str, np.ndarray]:
        """fp32 torch embeddings of the probe, by which the other half's engines are judged."""
        return {
            tower.name.rpartition(".")[2]: np.concatenate(
                [start_here(tower, tower.reference, mapped=False)(batch) for batch in tower.probe()]
            )
            for tower in self.towers()
        }


def _moved(found: np.ndarray, reference: np.ndarray, others: np.ndarray) -> float:
    """The largest change of any similarity between a row and any of `others`."""
    return float(np.abs((found - reference) @ others.T).max())


def _settings_of(model: Any) -> dict[str, Any]:
    from open_clip.hf_model import HFTextEncoder

    text = getattr(model, "text", None)
    # Hugging Face encoders mask padding out of attention and pooling; open_clip's own need all positions.
    pad = text.config.pad_token_id if isinstance(text, HFTextEncoder) else None
    return {"preprocess": dict(model.visual.preprocess_cfg), "trim": pad}


def image_tower(model: Any, preprocess: Mapping[str, Any]) -> Any:
    """uint8 rows x height x width x 3 to normalised embeddings: open_clip's ToTensor and Normalize, then encode_image."""
    import torch

    class ImageTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any) -> Any:
            # In fp32 whatever the weights are: bf16 has eight bits, too few for what is left of a pixel after the mean.
            mean, std = (
                torch.tensor(preprocess[name], dtype=torch.float32, device=x.device).reshape(1, 3, 1, 1) for name in ("mean", "std")
            )
            pixels = (x.permute(0, 3, 1, 2).float() / 255 - mean) / std
            return self.model.encode_image(pixels.contiguous().to(next(self.model.parameters()).dtype), normalize=True)

    return ImageTower().eval()


def text_tower(model: Any) -> Any:
    """int64 rows x tokens to normalised embeddings."""
    import torch

    class TextTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any) -> Any:
            return self.model.encode_text(x, normalize=True)

    return TextTower().eval()
