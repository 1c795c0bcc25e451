"""Tiny randomly initialised text-to-image pipelines of the known families, saved by diffusers itself, with real tokenizers made here.

Each of MAKERS writes a folder that `from_pretrained` loads, for pictures of 16 px (latents of 4 x 8 x 8 behind an autoencoder, or pixels).
"""

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    IFPipeline,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

LENGTH = 16  # tokens
WIDTH = 32  # of every text encoder
SIDE = 16  # px
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.:그림"


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's, one token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=LENGTH)


def t5_tokenizer() -> T5Tokenizer:
    """T5's, one token a letter."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, additional_special_tokens=[], model_max_length=LENGTH)


def clip_encoder(kind: type = CLIPTextModel):
    tokenizer = clip_tokenizer()
    return kind(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=37, projection_dim=WIDTH, num_attention_heads=4,
            num_hidden_layers=2, max_position_embeddings=LENGTH, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


def t5_encoder() -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=len(t5_tokenizer()), d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4))


def autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        scaling_factor=0.5,
        shift_factor=0.1,
    )


def unet(**more) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        **{
            "sample_size": SIDE // 2, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (16, 32),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": 4, "norm_num_groups": 8, "cross_attention_dim": WIDTH, **more,
        }
    )  # fmt: skip


def make_sd15(folder: Path, prediction: str = "epsilon") -> Path:
    pipeline = StableDiffusionPipeline(
        vae=autoencoder(), text_encoder=clip_encoder(), tokenizer=clip_tokenizer(), unet=unet(), safety_checker=None, feature_extractor=None,
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, prediction_type=prediction),
        requires_safety_checker=False,
    )  # fmt: skip
    return _saved(pipeline, folder)


def make_sdxl(folder: Path) -> Path:
    """Two text encoders side by side, the second one's pooled text and six numbers of the picture's cut."""
    pipeline = StableDiffusionXLPipeline(
        vae=autoencoder(), text_encoder=clip_encoder(), text_encoder_2=clip_encoder(CLIPTextModelWithProjection), tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(), scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
        unet=unet(
            cross_attention_dim=2 * WIDTH, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=WIDTH + 6 * 8, transformer_layers_per_block=(1, 1), use_linear_projection=True,
        ),
    )  # fmt: skip
    return _saved(pipeline, folder)


def make_pixart(folder: Path) -> Path:
    """A DiT with epsilon and learned variance."""
    transformer = PixArtTransformer2DModel(
        num_attention_heads=4, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, cross_attention_dim=WIDTH, sample_size=8,
        caption_channels=WIDTH, patch_size=2,
    )  # fmt: skip
    pipeline = PixArtAlphaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_encoder(),
        vae=autoencoder(),
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
    )
    return _saved(pipeline, folder)


def make_sd3(folder: Path) -> Path:
    """A DiT with flow matching and three text encoders."""
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=2 * WIDTH, caption_projection_dim=WIDTH, pooled_projection_dim=2 * WIDTH, pos_embed_max_size=16,
    )  # fmt: skip
    t5 = T5EncoderModel(T5Config(vocab_size=len(t5_tokenizer()), d_model=2 * WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4))
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=autoencoder(),
        text_encoder=clip_encoder(CLIPTextModelWithProjection), tokenizer=clip_tokenizer(), text_encoder_3=t5, tokenizer_3=t5_tokenizer(),
        text_encoder_2=clip_encoder(CLIPTextModelWithProjection), tokenizer_2=clip_tokenizer(),
    )  # fmt: skip
    return _saved(pipeline, folder)


def make_if(folder: Path) -> Path:
    """A U-Net over pixels, without an autoencoder, that says its variance too."""
    pipeline = IFPipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5_encoder(), safety_checker=None, feature_extractor=None, watermarker=None,
        scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True),
        unet=unet(
            sample_size=SIDE, in_channels=3, out_channels=6, addition_embed_type="text", addition_embed_type_num_heads=2,
            encoder_hid_dim=WIDTH, cross_attention_dim=24, down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn", up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            resnet_time_scale_shift="scale_shift", attention_head_dim=8,
        ),
        requires_safety_checker=False,
    )  # fmt: skip
    return _saved(pipeline, folder)


def _saved(pipeline, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder


def make(kind: str, folder: Path) -> Path:
    """Writes the pipeline of that kind, the same weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MAKERS[kind](folder)


MAKERS: dict[str, Callable[[Path], Path]] = {"sd15": make_sd15, "sdxl": make_sdxl, "pixart": make_pixart, "sd3": make_sd3, "if": make_if}
