"""Figures as text: a terminal's columns, or Markdown."""

from collections.abc import Mapping, Sequence

from training.measures.figures import Figure
from training.measures.names import MEASURES


def cell(figure: Figure | None, digits: int) -> str:
    """A value with its interval, or "not measured"."""
    if figure is None or figure.value is None:
        return "not measured"
    text = f"{figure.value:.{digits}f}"
    if figure.low is not None and figure.high is not None:
        text += f" [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
    return text


def lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many cells, the first a head, in aligned columns."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table."""
    safe = [[text.replace("|", "\\|") for text in row] for row in rows]
    head, *rest = ["| " + " | ".join(row) + " |" for row in safe]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def figure_rows(columns: Mapping[str, Mapping[str, Figure]], features: str) -> list[list[str]]:
    """A row for each measure that any column has, in our order; columns by their heads."""
    rows = [["measure", "better", *columns]]
    for name, measure in MEASURES.items():
        if any(name in figures for figures in columns.values()):
            cells = [cell(figures.get(name), measure.digits) for figures in columns.values()]
            rows.append([measure.title.format(features=features), measure.better, *cells])
    return rows
