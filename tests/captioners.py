"""Captioning models of real classes with small random weights: folders as save_pretrained writes them, and a checkpoint of CoCa."""

import json
from pathlib import Path


def _tokenizer(folder: Path, words: int = 60):
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(words))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return BertTokenizerFast(vocab=str(folder / "vocab.txt")), len(vocabulary)


def tiny_blip(folder: Path, seed: int = 0) -> Path:
    """A BLIP of two layers; the same weights for a seed."""
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    tokenizer, size = _tokenizer(folder)
    torch.manual_seed(seed)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BlipConfig(
        vision_config={**small, "image_size": 32, "patch_size": 8},
        text_config={
            **small, "encoder_hidden_size": 32, "projection_dim": 32, "vocab_size": size, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3,
            "pad_token_id": 0, "max_position_embeddings": 64, "initializer_range": 1.0,
        },
        projection_dim=32,
    )  # fmt: skip
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def tiny_git(folder: Path) -> Path:
    """A GIT of two layers, which goes on from a prompt."""
    import torch
    from transformers import CLIPImageProcessor, GitConfig, GitForCausalLM, GitProcessor

    tokenizer, size = _tokenizer(folder)
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GitConfig(
        vision_config={**small, "image_size": 32, "patch_size": 8}, **small, vocab_size=size, bos_token_id=2, eos_token_id=3, pad_token_id=0,
        initializer_range=1.0,
    )  # fmt: skip
    GitForCausalLM(config).save_pretrained(folder)
    GitProcessor(CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def tiny_coca(folder: Path) -> tuple[str, Path]:
    """(an architecture of open_clip's that this process knows from now on, a checkpoint of it)."""
    import open_clip
    import torch

    name = "coca_tiny"
    config = {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16, "attentional_pool": True, "attn_pooler_heads": 2,
            "output_tokens": True,
        },
        "text_cfg": {
            "context_length": 16, "vocab_size": 49408, "layers": 1, "heads": 2, "width": 32, "embed_cls": True, "output_tokens": True,
        },
        "multimodal_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1, "attn_pooler_heads": 2},
        "custom_text": True,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model(name).state_dict(), folder / "coca.pt")
    return name, folder / "coca.pt"
