"""The picture that shows what the embedded base draws: held-out prompts, and beside each picture the training drawing that is nearest to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from training.base.data import colour_drawings, pictures
from training.base.judge import Eyes, features_of
from training.base.train import is_sided
from training.clip.prepare import Pair
from training.generation.fonts import font_for, sized
from training.generation.sheet import wrapped
from training.measures.distances import unit

if TYPE_CHECKING:
    from training.base.evaluate import Prompt

COLUMNS, ROWS = 4, 10  # of prompts; the upper half of the rows in English, the lower in Korean
CELL = (150, 84)  # px: two pictures of 64 and a line of text


def write_grid(
    shown: Sequence[tuple[Sequence["Prompt"], np.ndarray]], pairs: Sequence[Pair], corpus: Path, work: Path, eyes: Eyes, out: Path
) -> None:
    """Writes a PNG. `shown` has for each language its prompts and pictures; the first of each are taken, none is chosen by hand.

    The nearest neighbour is by the cosine of EfficientNet-Lite1's features, among all drawings that were trained on.
    """
    trained = colour_drawings(pairs)
    images = pictures(corpus, trained, work)
    known = unit(features_of(images, np.array([is_sided(pair) for pair in trained]), work)[0])
    sheet = Image.new("RGB", (COLUMNS * CELL[0], ROWS * CELL[1]), "white")
    draw = ImageDraw.Draw(sheet)
    font = sized(font_for(prompt.text for asked, _ in shown for prompt in asked), 11)
    each = COLUMNS * ROWS // len(shown)
    cell = 0
    for asked, made in shown:
        nearest = (unit(eyes(made[:each])) @ known.T).argmax(1)
        for prompt, picture, neighbour in zip(asked, made, nearest, strict=False):
            left, top = cell % COLUMNS * CELL[0] + 4, cell // COLUMNS * CELL[1] + 2
            sheet.paste(Image.fromarray(picture), (left, top))
            sheet.paste(Image.fromarray(images[neighbour]), (left + 70, top))
            draw.rectangle((left + 69, top - 1, left + 134, top + 64), outline=(150, 150, 150))
            draw.text((left, top + 66), wrapped(prompt.text, CELL[0] - 8, font.getlength, 1)[0], fill="black", font=font)
            cell += 1
    sheet.quantize(128, dither=Image.Dither.NONE).save(out, optimize=True)
