"""A font that has the letters of captions: the system's, since one with Hangul is too large to carry along."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from matplotlib import get_data_path
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from training.command import Mistake

# Families with Hangul and Latin, by the beginning of the file's name, the best to read small first: Linux, Windows, macOS.
PREFERRED: Final = (
    "NotoSansCJK-Regular",
    "NotoSansKR",
    "NanumGothic.",
    "NanumSquareRoundR",
    "NanumBarunGothic",
    "malgun.",
    "AppleSDGothicNeo",
    "UnDotum",
)
_LATIN: Final = Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")  # comes with matplotlib: Latin, Greek, Cyrillic and more, no Hangul


class FontError(Mistake):
    """A file is no font; the message says which."""


def font_for(texts: Iterable[str], *, file: str | Path | None = None) -> Path:
    """The file of the font that has most letters of the texts: `file` if given, else a preferred one of the system, else any.

    Raises FontError when `file` is no font.
    """
    if file is not None:
        letters_of(Path(file))
        return Path(file)
    wanted = {letter for text in texts for letter in text if not letter.isspace()}
    if wanted <= letters_of(_LATIN):
        return _LATIN
    found = sorted((Path(path) for path in findSystemFonts()), key=lambda path: (_rank(path.name), path.name))
    best, most = _LATIN, len(wanted & letters_of(_LATIN))
    for path in found:
        try:
            has = len(wanted & letters_of(path))
        except FontError:  # of another's installation, and not asked for
            continue
        if has > most:
            best, most = path, has
        if most == len(wanted) or (_rank(path.name) < len(PREFERRED) and best == path):
            break
    return best


def lacks(font: Path, text: str) -> bool:
    """Whether the font lacks a letter of the text."""
    return not {letter for letter in text if not letter.isspace()} <= letters_of(font)


@cache
def letters_of(path: Path) -> frozenset[str]:
    """The characters that a font draws. Raises FontError."""
    try:
        return frozenset(map(chr, FT2Font(str(path)).get_charmap()))
    except (OSError, RuntimeError) as error:
        raise FontError(f"{path} is no font that can be read ({error}); give a .ttf, .otf or .ttc file") from error


@cache
def sized(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


def _rank(name: str) -> int:
    return next((at for at, start in enumerate(PREFERRED) if name.startswith(start)), len(PREFERRED))
