"""Plots of an evaluation, as SVG; needs matplotlib, which the extra `plots` brings."""

import io
from importlib.util import find_spec
from typing import Any


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def plots_of(result: dict[str, Any]) -> dict[str, bytes]:
    """File name to SVG: ROC, precision and recall, calibration for a number, confusion for words. The same result gives the same bytes."""
    told, title = result["measured"], result["column"]
    made = {}
    if "curves" in told:
        curves = told["curves"]
        made["roc.svg"] = _line(
            [0.0, *curves["false_positive_rate"]],
            [0.0, *curves["true_positive_rate"]],
            title,
            "false positive rate",
            "recall",
            diagonal=True,
        )
        made["precision_recall.svg"] = _line(curves["true_positive_rate"], curves["precision"], title, "recall", "precision")
    if "calibration" in told:
        bins = told["calibration"]["bins"]
        shares = [row["yes"] for row in bins]
        errors = [[row["value"] - row["low"] for row in shares], [row["high"] - row["value"] for row in shares]]
        x, y = [row["mean_score"] for row in bins], [row["value"] for row in shares]
        made["calibration.svg"] = _line(x, y, title, "mean score", "share of yes", diagonal=True, errors=errors)
    if "confusion" in told:
        made["confusion.svg"] = _bars(told["confusion"], title)
    return made


def _line(x: list, y: list, title: str, across: str, up: str, *, diagonal: bool = False, errors: list | None = None) -> bytes:
    figure, axes = _axes(title, across, up)
    if diagonal:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    if errors is None:
        axes.plot(x, y)
    else:
        axes.errorbar(x, y, yerr=errors, marker="o", capsize=3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    return _svg(figure)


def _bars(rows: list[dict[str, Any]], title: str) -> bytes:
    figure, axes = _axes(title, "value", "pairs")
    names, no = [row["value"] for row in rows], [row["no"] for row in rows]
    axes.bar(names, no, label="no", color="0.7")
    axes.bar(names, [row["yes"] for row in rows], bottom=no, label="yes")
    axes.legend()
    return _svg(figure)


def _axes(title: str, across: str, up: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=across, ylabel=up)
    return figure, axes


def _svg(figure: Any) -> bytes:
    from matplotlib import rc_context

    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "pigment"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
