"""Histograms as SVG, drawn by matplotlib, coloured by the page.

Why matplotlib and not Vega: an SVG that is drawn here needs no script to be seen (mail previews, printing, a locked-down browser), asks for
no `eval` (the page's content security policy allows one script, by its digest), is a tenth of the 1 MB of the Vega bundles, and takes its
colours from the page's variables, so that dark, light and print need no second drawing. What moves (the cut) is an element over it.

Colours go in as hex words that nobody uses and come out as `var(--name)`; text stays text.
"""

import io
import re
from typing import Any, Final

import numpy as np

from quality.report.histograms import bars
from quality.report.model import Histogram, Shift

# Place of the axes in the drawing, as shares of its width and height: report.js puts the cut there (data-left, data-width).
LEFT, WIDTH, BOTTOM, HEIGHT = 0.115, 0.87, 0.13, 0.83
_SIZE: Final = (4.4, 2.1)  # inches of 100 pixels
_HEX: Final = {"#010203": "--ink", "#020304": "--faint", "#030405": "--keep", "#040506": "--review", "#050607": "--drop", "#060708": "--plain",
               "#070809": "--before"}  # fmt: skip
_FLOOR: Final = 0.5  # of an axis of logarithms, on which one pair must be seen and none must not
_INK, _FAINT, _KEEP, _REVIEW, _DROP, _PLAIN, _BEFORE = _HEX


def histogram_svg(histogram: Histogram, *, decided: bool) -> str:
    """All measured pairs by value; of a release, those that are kept in front of those for review in front of all. Bounds are lines."""
    figure, axes = _axes()
    counts = bars(np.array(histogram.at_least), histogram.drawn, histogram.totals)
    ends = np.array(histogram.edges)[list(histogram.drawn)]
    layers = [(counts.sum(axis=1), _DROP if decided else _PLAIN)]
    if decided:
        layers += [(counts[:, 0] + counts[:, 1], _REVIEW), (counts[:, 0], _KEEP)]
    for values, colour in layers:
        floor = _FLOOR if histogram.log_y else 0
        axes.stairs(np.maximum(values, floor), ends, fill=True, color=colour, linewidth=0, baseline=floor)
    _scales(axes, ends, histogram.log_x, log_y=histogram.log_y, whole=histogram.whole)
    for bound in histogram.bounds:
        axes.axvline(bound.at, color=_INK, linewidth=1.1, linestyle="-" if bound.do == "drop" else (0, (3, 2)))
    return _svg(figure, histogram.name)


def shift_svg(shift: Shift) -> str:
    """Shares of what is kept, now (filled) and before (a line)."""
    figure, axes = _axes()
    ends = np.array(shift.edges)
    for counts, fill, colour in ((shift.now, True, _KEEP), (shift.before, False, _BEFORE)):
        total = sum(counts)
        axes.stairs(
            np.array(counts) / total * 100 if total else np.array(counts), ends, fill=fill, color=colour, linewidth=0 if fill else 1.4
        )
    _scales(axes, ends, shift.log_x, log_y=False, whole=False)
    return _svg(figure, f"shift {shift.name}")


def positions(histogram: Histogram) -> list[float]:
    """Where each edge lies on the axis, 0..1."""
    edges = np.array(histogram.edges)
    ends = edges[[histogram.drawn[0], histogram.drawn[-1]]] if len(histogram.drawn) > 1 else np.array([0.0, 1.0])
    if histogram.log_x:
        low, high = np.log10(ends)
        places = (np.log10(np.maximum(edges, ends[0])) - low) / (high - low)
    else:
        places = (edges - ends[0]) / (ends[1] - ends[0])
    return [round(float(place), 4) for place in np.clip(places, 0, 1)]


def _axes() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=100)
    return figure, figure.add_axes((LEFT, BOTTOM, WIDTH, HEIGHT))


def _scales(axes: Any, ends: np.ndarray, log_x: bool, *, log_y: bool, whole: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0,) if ends[-1] / ends[0] > 300 else (1.0, 2.0, 5.0), numticks=8))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlim(ends[0], ends[-1])
    if log_y:
        axes.set_yscale("log")
        axes.set_ylim(bottom=_FLOOR)
        axes.yaxis.set_major_locator(LogLocator(base=10, numticks=5))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=not log_y and axes.get_ylim()[1] > 3, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.tick_params(length=0, pad=4, labelsize=9, colors=_INK)


def _short(value: float, _: int) -> str:
    """12,000 as 12k: an axis has no room."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit * (10 if unit == 1e3 else 1):
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _svg(figure: Any, name: str) -> str:
    from matplotlib import rc_context

    out = io.StringIO()
    figure.patch.set_visible(False)
    # The salt makes ids of clip paths: the same drawing gets the same ones, two drawings on a page get different ones.
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*|<style[^>]*>.*?</style>", "", text, flags=re.S)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"font-family:[^;\"]*(?:'[^']*'[^;\"]*)*; ?", "", text)
    text = re.sub(r'\bid="(?!p?[0-9a-f]{11})[^"]*"', "", text)  # ids of groups, equal on every drawing; clip paths keep theirs
    for word, variable in _HEX.items():
        text = text.replace(word, f"var({variable})")
    return re.sub(r"\s+", " ", text).replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
