"""The embedded base's encoder, built and not trained: a principal component analysis of 8 x 8 px, written as weights of an `AutoencoderKL`.

A picture halves its side three times; each halving takes 2 x 2 positions together and keeps their components of most variance (12 of 12, 24
of 48, 24 of 96). That is linear, and an `AutoencoderKL` can be made to compute it: residual branches end in zeros, the strided convolutions
carry the components, and the two steps that are not linear are undone. The last group norm divides by the spread of all channels together,
which two constant channels of +-LEVEL dominate, so that it hardly differs between pictures; and silu(x) - silu(-x) is x.
Nothing is to be trained before latents are there, and they behave like the pixels of a small picture.
"""

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

LEVEL = 64.0  # of the constant channels; the components have a spread of about 1
LOG_VARIANCE = -12.0  # of the posterior: none to speak of
# Components are divided by their spread to this power: 0 leaves them (the first, of brightness, drowns all), 1 makes noise as loud as form.
WHITENING = 0.5
_SAMPLE = 200_000  # rows that components are computed from


def build(vae: AutoencoderKL, images: np.ndarray) -> None:
    """Sets the weights of the encoder of `vae` from uint8 pictures (n, 64, 64, 3)."""
    encoder = vae.encoder
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                if module.bias is not None:
                    module.bias.zero_()
        features = images.astype(np.float32) / 127.5 - 1
        encoder.conv_in.weight[:3, :, 1, 1] = torch.eye(3)
        count = 3
        blocks = list(encoder.down_blocks)
        for stage, block in enumerate(blocks[:-1]):
            for resnet in block.resnets:
                if resnet.conv_shortcut is not None:
                    resnet.conv_shortcut.weight[:count, :count, 0, 0] = torch.eye(count)
            last = stage == len(blocks) - 2
            patches = _halved(features)
            kept = min(patches.shape[-1], 24 if not last else vae.config.latent_channels)
            mean, components, spread = _components(patches, kept)
            if last:
                components = components / spread**WHITENING
                components /= np.sqrt(np.mean(spread ** (2 - 2 * WHITENING)))  # one over all components, which are then about 1
            convolution = block.downsamplers[0].conv
            taps = torch.from_numpy(components.T.reshape(kept, 2, 2, count).transpose(0, 3, 1, 2).copy())
            offset = torch.from_numpy(-(mean @ components))
            convolution.weight[:kept, :count, :2, :2] = taps
            convolution.bias[:kept] = offset
            if last:
                convolution.weight[kept : 2 * kept, :count, :2, :2] = -taps
                convolution.bias[kept : 2 * kept] = -offset
                convolution.bias[2 * kept : 2 * kept + 2] = torch.tensor([LEVEL, -LEVEL])
            features = (patches - mean) @ components
            count = kept
        width = encoder.conv_norm_out.num_channels
        variance = 2 * (LEVEL**2 + float((features**2).sum(-1).mean())) / width
        encoder.conv_norm_out.weight.fill_(variance**0.5)
        encoder.conv_norm_out.bias.zero_()
        diagonal = torch.eye(count)
        encoder.conv_out.weight[:count, :count, 1, 1] = diagonal
        encoder.conv_out.weight[:count, count : 2 * count, 1, 1] = -diagonal
        encoder.conv_out.bias[count:] = LOG_VARIANCE
        vae.quant_conv.weight.copy_(torch.eye(2 * count)[:, :, None, None])
        vae.quant_conv.bias.zero_()


def _halved(features: np.ndarray) -> np.ndarray:
    """(n, side, side, c) to (n, side / 2, side / 2, 4 c), the four neighbours' channels after one another."""
    n, side, _, c = features.shape
    return features.reshape(n, side // 2, 2, side // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, side // 2, side // 2, 4 * c)


def _components(patches: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (width,), components (width, kept) and their standard deviations (kept,), float32."""
    rows = patches.reshape(-1, patches.shape[-1])
    rows = rows[:: max(1, len(rows) // _SAMPLE)].astype(np.float64)
    mean = rows.mean(0)
    values, vectors = np.linalg.eigh(np.cov(rows - mean, rowvar=False))
    best = np.argsort(values)[::-1][:kept]
    return mean.astype(np.float32), vectors[:, best].astype(np.float32), np.sqrt(values[best].clip(1e-8)).astype(np.float32)
