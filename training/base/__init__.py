"""The embedded base: a small text-to-image diffusion model of our own, English and Korean, 64 px, with no download."""

from training.base.assemble import embedded_base_dir

__all__ = ["embedded_base_dir"]
