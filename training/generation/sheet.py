"""Contact sheets: pictures in rows with their prompts below them."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from training.generation.fonts import lacks, sized

WIDTH: Final = 1280  # px, about
CELL: Final = (128, 320)  # px, of a picture's longer side: smaller ones are drawn larger, larger ones smaller
PROMPTS: Final = 120  # on one sheet; more go to further sheets
_GAP, _TEXT, _LINE, _LINES = 10, 15, 20, 3  # px, px, px, lines of a caption
_PAPER, _INK, _QUIET = "white", "#1a1a1a", "#5f5f5f"


@dataclass(frozen=True)
class Row:
    """What of one prompt is shown: its pictures side by side, the caption below, and a quieter line below that."""

    caption: str
    images: Sequence[Image.Image]
    note: str = ""
    number: int = 0  # of the prompt, for a caption that cannot be drawn


def sheets(rows: Sequence[Row], font: Path) -> Iterator[Image.Image]:
    """The sheets, RGB. A caption with a letter that the font lacks is shown as the number of its prompt: boxes would tell nothing."""
    for start in range(0, len(rows), PROMPTS):
        yield _sheet(rows[start : start + PROMPTS], font)


def _sheet(rows: Sequence[Row], font: Path) -> Image.Image:
    longest = max(max(image.size) for row in rows for image in row.images)
    cell = min(max(longest, CELL[0]), CELL[1])
    block = max(len(row.images) for row in rows) * (cell + _GAP) - _GAP
    columns = max(1, min(len(rows), (WIDTH - _GAP) // (block + _GAP)))
    letters, small = sized(font, _TEXT), sized(font, _TEXT - 3)
    captions = [wrapped(_caption(row, font), block, letters.getlength, _LINES) for row in rows]
    lines = max(map(len, captions)) + any(row.note for row in rows)
    height = cell + lines * _LINE + 2 * _GAP
    paper = Image.new("RGB", (_GAP + columns * (block + _GAP), _GAP + -(-len(rows) // columns) * height), _PAPER)
    draw = ImageDraw.Draw(paper)
    for at, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        left, top = _GAP + at % columns * (block + _GAP), _GAP + at // columns * height
        for position, image in enumerate(row.images):
            shown = _fitted(image, cell)
            paper.paste(shown, (left + position * (cell + _GAP) + (cell - shown.width) // 2, top + (cell - shown.height) // 2))
        top += cell + 4
        for number, text in enumerate(caption):
            draw.text((left, top + number * _LINE), text, _INK, letters)
        draw.text((left, top + len(caption) * _LINE), row.note, _QUIET, small)
    return paper


def _caption(row: Row, font: Path) -> str:
    return f"prompt {row.number} (no font for its letters)" if lacks(font, row.caption) else row.caption


def _fitted(image: Image.Image, cell: int) -> Image.Image:
    """The image with its longer side `cell`; one that is enlarged shows its pixels."""
    scale = cell / max(image.size)
    sides = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.convert("RGB").resize(sides, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def wrapped(text: str, width: float, length: Callable[[str], float], lines: int) -> list[str]:
    """The text in at most `lines` lines no longer than `width`, cut at spaces where there are any; the last ends in an ellipsis if it is cut.

    length: of a text, in the unit of width.
    """
    words, found = " ".join(text.split()), list[str]()
    while words and len(found) < lines:
        if length(words) <= width:
            found.append(words)
            return found
        fits = max(1, bisect_right(range(1, len(words) + 1), width, key=lambda at: length(words[:at])))
        space = words.rfind(" ", 0, fits + 1)
        cut = space if space > 0 else fits
        found.append(words[:cut])
        words = words[cut:].lstrip()
    if words and found:
        last = found[-1]
        while last and length(last + "…") > width:
            last = last[:-1]
        found[-1] = last.rstrip() + "…"
    return found
