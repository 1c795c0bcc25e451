"""The embedded base's networks, built anew."""

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

SIDE = 64  # px, of a picture
LATENT = (24, 8, 8)  # channels, height, width
TEXT_WIDTH = 384  # MiniLM's
TOKENS = 16  # of a prompt, [CLS] and [SEP] among them; longer prompts are cut
GUIDANCE, STEPS = 7.0, 12  # of generation; validation figures: CARD.md

AUTOENCODER = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (12, 24, 64, 64),
    "layers_per_block": 1,
    "latent_channels": LATENT[0],
    "norm_num_groups": 1,  # the encoder is built by hand and needs it so: training/base/encoder.py
    "sample_size": SIDE,
    "mid_block_add_attention": False,
    "force_upcast": False,
}
UNET = {
    "sample_size": LATENT[1],
    "in_channels": LATENT[0],
    "out_channels": LATENT[0],
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (64, 128),
    "layers_per_block": 1,
    "attention_head_dim": 4,  # the number of heads, whatever its name (diffusers issue 2011)
    "norm_num_groups": 16,
    "cross_attention_dim": TEXT_WIDTH,
}


def autoencoder(scaling_factor: float = 1.0) -> AutoencoderKL:
    """An untrained autoencoder, (n, 3, 64, 64) to (n, 24, 8, 8) and back."""
    return AutoencoderKL(**AUTOENCODER, scaling_factor=scaling_factor)


def unet() -> UNet2DConditionModel:
    """An untrained U-Net over latents with cross attention to MiniLM's tokens at 8 x 8 and 4 x 4 positions."""
    return UNet2DConditionModel(**UNET)


def scheduler() -> DDIMScheduler:
    """The noise schedule of training and generation: v-prediction with zero terminal SNR and trailing steps (Lin et al., arXiv 2305.08891)."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,  # what the pipeline asks for; trailing spacing does not use it
    )
