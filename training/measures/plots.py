"""An evaluation as a picture: scores, shares with their intervals, and how near to training, beside real pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from training.measures.figures import Figure

GENERATED, REAL = "#0072B2", "#E69F00"  # of Okabe and Ito's colours, which the colour-blind tell apart
_SHARES = ("precision", "recall", "density", "coverage")


def plot(
    path: Path,
    *,
    title: str,
    features: str,
    figures: Mapping[str, "Figure"],
    real: Mapping[str, "Figure"],
    scores: np.ndarray,
    real_scores: np.ndarray,
    nearest: Mapping[str, np.ndarray],
) -> None:
    """Writes a PNG of four panels; a panel without numbers says so."""
    figure, ((scored, shared), (cosines, bits)) = plt.subplots(2, 2, figsize=(11, 7.5), dpi=110, layout="constrained")
    figure.suptitle(title)
    _two(scored, scores, real_scores, f"CLIP score (cosine), {features}", "higher: nearer to the prompt")
    _shares(shared, figures, real, features)
    missing = "not measured: no training release was given"
    if nearest:
        _two(cosines, nearest["cosine"], nearest["cosine_heldout"], f"cosine to the nearest training picture, {features}", "right: nearer")
        known, held = (nearest[name][nearest[name] >= 0] for name in ("pdq", "pdq_heldout"))
        _two(bits, known, held, "PDQ bits to the nearest training picture", "left: nearer; 31 or fewer: the same picture, by PDQ")
        bits.axvline(31, color="#666666", linewidth=0.8, linestyle="--")
    else:
        for axes, name in ((cosines, "cosine to the nearest training picture"), (bits, "PDQ bits to the nearest training picture")):
            _nothing(axes, name, missing)
    figure.savefig(path)
    plt.close(figure)


def _two(axes: Any, generated: np.ndarray, real: np.ndarray, title: str, note: str) -> None:
    if not len(generated) or not len(real):
        _nothing(axes, title, "not measured")
        return
    ends = np.concatenate([generated, real]).astype(np.float64)
    edges = np.linspace(ends.min(), ends.max() + 1e-9, 31)
    for values, colour, label in ((generated, GENERATED, "generated"), (real, REAL, "held-out, real")):
        axes.hist(
            values, bins=edges, weights=np.full(len(values), 1 / len(values)), color=colour, alpha=0.55, label=f"{label} (n={len(values)})"
        )
    axes.set(title=title, xlabel=note, ylabel="share")
    axes.legend(frameon=False)


def _shares(axes: Any, figures: Mapping[str, "Figure"], real: Mapping[str, "Figure"], features: str) -> None:
    title = f"real-looking, and how much of the real, {features}"
    if all(figures[name].value is None for name in _SHARES):
        _nothing(axes, title, figures["precision"].note)
        return
    for offset, found, colour, label in ((-0.18, figures, GENERATED, "generated"), (0.18, real, REAL, "held-out, real")):
        for place, name in enumerate(_SHARES):
            one = found.get(name)
            if one is None or one.value is None or one.low is None or one.high is None:
                continue
            spread = [[one.value - one.low], [one.high - one.value]]
            axes.bar(place + offset, one.value, 0.34, yerr=spread, color=colour, alpha=0.75, capsize=3, label=label if not place else None)
    axes.set_xticks(range(len(_SHARES)), _SHARES)
    axes.set(title=title, ylabel="higher is better; bars: 95 % by bootstrap")
    axes.legend(frameon=False)


def _nothing(axes: Any, title: str, why: str) -> None:
    axes.set(title=title)
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", wrap=True, transform=axes.transAxes)
