"""A learned probe: a linear classifier on stored image embeddings, fitted by `python -m quality.probe` on a user's own labels.

Its evidence is weak by rule: never below zero, so that it clears nothing, and never enough to raise a band beyond review.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from quality.deepfake.table import PROBE_MOST

FORMAT: Final = "pigment-probe-1"
_EDGE: Final = 1e-6  # probabilities are kept this far from 0 and 1


class ProbeError(Exception):
    """The probe's file cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class Probe:
    """embedding: the version of the embeddings without their engine. weights, bias: of the raw value. slope, offset: Platt's, from raw
    value to log odds. base_rate: share of yes among the labels it was fitted on. card: what is known of it."""

    embedding: str
    weights: tuple[float, ...]
    bias: float
    slope: float
    offset: float
    base_rate: float
    card: dict[str, Any] = field(default_factory=dict)

    def probability(self, embeddings: np.ndarray) -> np.ndarray:
        """Calibrated probability of yes. embeddings: rows x numbers, float; NaN rows give NaN."""
        raw = embeddings @ np.asarray(self.weights) + self.bias
        return 1 / (1 + np.exp(-np.clip(self.slope * raw + self.offset, -50, 50)))

    def evidence(self, embeddings: np.ndarray) -> np.ndarray:
        """Log-likelihood ratio, 0 to PROBE_MOST: the log odds that the probe gives beyond those of its labels. NaN where there is none."""
        found = np.clip(self.probability(embeddings), _EDGE, 1 - _EDGE)
        return np.clip(_logit(found) - _logit(np.array(self.base_rate)), 0.0, PROBE_MOST)

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True)


def read_probe(path: str | Path) -> Probe:
    """A probe's file. Raises ProbeError."""
    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror}; make one with python -m quality.probe") from error
    except ValueError as error:
        raise ProbeError(f"{path}: not JSON ({error}); make one with python -m quality.probe") from error
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise ProbeError(f"{path}: no probe of format {FORMAT}; make one with python -m quality.probe")
    try:
        probe = Probe(**{**data, "weights": tuple(data["weights"])})
        numbers = np.array([*probe.weights, probe.bias, probe.slope, probe.offset, probe.base_rate], np.float64)
    except (TypeError, KeyError, ValueError) as error:
        raise ProbeError(f"{path}: a probe's fields are missing or unknown ({error}); make it anew with python -m quality.probe") from error
    if not np.isfinite(numbers).all() or not 0 < probe.base_rate < 1:
        raise ProbeError(f"{path}: its numbers are not finite, or its base rate is not between 0 and 1")
    return probe


def probe_digest(path: str | Path) -> str:
    """8 hex digits of the file's SHA-256; part of the scorer's version. Raises ProbeError."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror}; make one with python -m quality.probe") from error


def _logit(share: np.ndarray) -> np.ndarray:
    return np.log(share) - np.log1p(-share)
