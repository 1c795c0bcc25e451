"""The measures by name: what a table calls them, and which way is better."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Measure:
    """title: with {features} in it where features were used. better: higher or lower. digits: after the point, in tables."""

    title: str
    better: str
    digits: int = 3


MEASURES: Final = {
    "heldout_loss": Measure("loss on held-out pairs", "lower", 5),
    "clip_score": Measure("CLIP score (cosine), {features}", "higher"),
    "prompt_auc": Measure("own prompt before others' (AUC), {features}", "higher"),
    "cmmd": Measure("CMMD, {features}", "lower"),
    "kid": Measure("KID, {features}", "lower", 5),
    "fd": Measure("FD, {features}", "lower", 4),
    "precision": Measure("precision (k=3), {features}", "higher"),
    "recall": Measure("recall (k=3), {features}", "higher"),
    "density": Measure("density (k=5), {features}", "higher"),
    "coverage": Measure("coverage (k=5), {features}", "higher"),
    "nearer_to_training": Measure("nearer to training than held-out (AUC), {features}", "lower"),
}
