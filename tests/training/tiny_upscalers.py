"""Tiny randomly initialised super-resolution pipelines, saved by diffusers itself: four times the sides."""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler, LDMSuperResolutionPipeline, StableDiffusionUpscalePipeline, UNet2DModel, VQModel

from tests.training.tiny_pipelines import autoencoder, clip_encoder, clip_tokenizer, unet


def make_x4(folder: Path) -> Path:
    """As stabilityai's x4 upscaler: the small picture is concatenated to the latents, its noise level is a class."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = {
            "block_out_channels": (8, 16, 16),
            "down_block_types": ("DownEncoderBlock2D",) * 3,
            "up_block_types": ("UpDecoderBlock2D",) * 3,
        }
        pipeline = StableDiffusionUpscalePipeline(
            vae=type(autoencoder())(latent_channels=4, norm_num_groups=4, scaling_factor=0.5, **blocks),
            text_encoder=clip_encoder(),
            tokenizer=clip_tokenizer(),
            unet=unet(in_channels=7, num_class_embeds=1000),
            low_res_scheduler=DDPMScheduler(),
            scheduler=DDIMScheduler(prediction_type="v_prediction"),
        )
    pipeline.save_pretrained(folder)
    return folder


def make_ldm(folder: Path) -> Path:
    """As CompVis' latent diffusion for super-resolution: no prompt."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = LDMSuperResolutionPipeline(
            vqvae=VQModel(
                block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
                latent_channels=3, num_vq_embeddings=16, norm_num_groups=4,
            ),
            unet=UNet2DModel(
                sample_size=16, in_channels=6, out_channels=3, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
                down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
            ),
            scheduler=DDIMScheduler(),
        )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder
