"""What a captioner is: a model that writes a caption for each of some images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np

ROWS: Final = 8  # images of one call of the model: a constant, for what a model says may hang on how many it looks at
DTYPES: Final = ("float32", "bfloat16", "float16")


class CaptionerError(Exception):
    """The model cannot be opened, or writes no captions; the message says which, why and what to do."""


@dataclass(frozen=True)
class Settings:
    """What of the model's use can change a caption. beams: 1 is greedy; nothing is drawn by chance. tokens: at most, of a caption.

    prompt: text that the model goes on from, or a question to one that chats; it is no part of the caption.
    """

    beams: int = 1
    tokens: int = 60
    prompt: str | None = None
    dtype: str = "float32"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "rows": ROWS}


class Captioner(Protocol):
    """name: of the model, without a path. weights: SHA-256 over the files that fix what it says."""

    name: str
    weights: str
    settings: Settings

    def write(self, images: Sequence[np.ndarray]) -> list[str]:
        """A caption for each of at most ROWS images (RGB, uint8, height x width x 3); "" where the model says nothing."""


def origin_of(captioner: Captioner) -> dict[str, Any]:
    """What a version of captions says of the model that wrote them; nothing about the machine."""
    return {"model": captioner.name, "weights": captioner.weights, "settings": captioner.settings.as_dict()}
