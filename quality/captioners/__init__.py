"""Models that write captions for images: a folder of transformers', a hub's name, or open_clip's CoCa with a checkpoint."""

from pathlib import Path

from quality.captioners.coca import Coca, is_coca
from quality.captioners.folder import ImageToText
from quality.captioners.protocol import ROWS, Captioner, CaptionerError, Settings

__all__ = ["ROWS", "Captioner", "CaptionerError", "Settings", "open_captioner"]


def open_captioner(model: str, checkpoint: str | None, settings: Settings, *, device: str = "cpu") -> Captioner:
    """The captioner that a model's folder or name stands for; weights are loaded. device: as torch names it, "cpu" or "cuda".

    The network is used for a hub's name alone, and only when no folder has that name. Raises CaptionerError.
    """
    if is_coca(model):
        if checkpoint is None or not Path(checkpoint).is_file():
            raise CaptionerError(f"{model} needs weights: give the file of its checkpoint as --checkpoint")
        return Coca(model, Path(checkpoint), settings, device=device)
    if checkpoint is not None:
        raise CaptionerError(
            f"--checkpoint is for open_clip's CoCa (coca_ViT-B-32); the weights of {model} lie in its folder: leave it out"
        )
    return ImageToText(model, settings, device=device)
