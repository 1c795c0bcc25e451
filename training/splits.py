"""Which pairs are trained on and which are held out, decided by what a picture shows and not by which file it is.

A *concept* is a normalised string: the code points of an emoji, or the title of a drawing. Every picture of one concept falls into one
split, so four drawings of one emoji by four sets, its skin tones, or twelve numbered variants of one arrow never stand on both sides of
an evaluation.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, get_args

Split = Literal["train", "validation", "heldout"]
SPLITS: tuple[Split, ...] = get_args(Split)

_PRESENTATION = frozenset({0xFE0E, 0xFE0F})
_SKIN_TONES = frozenset(range(0x1F3FB, 0x1F3FF + 1))
_SIGNS_OF_GENDER = frozenset({0x2640, 0x2642})
_DIRECTIONS = frozenset({0x27A1, 0x2B05})  # "facing right": a mirror image of the same drawing
_JOINER = 0x200D
_NEUTRAL = {0x1F468: 0x1F9D1, 0x1F469: 0x1F9D1, 0x1F466: 0x1F9D2, 0x1F467: 0x1F9D2}  # man, woman: person; boy, girl: child
_NOT_A_LETTER = re.compile(r"[\W\d_]+")


def split_of(concept: str) -> Split:
    """The split of a concept: 80 % train, 10 % validation, 10 % heldout, by the first 64 bits of its SHA-256."""
    if not concept:
        raise ValueError("A concept is empty: give the title or the code points of what the picture shows.")
    share = int.from_bytes(hashlib.sha256(concept.encode()).digest()[:8], "big") / 2**64
    if share < 0.8:
        return "train"
    return "validation" if share < 0.9 else "heldout"


def concept_of_emoji(codepoints: str | Iterable[int]) -> str:
    """The concept of an emoji, for example "1f44b" of both "1f44b-1f3fd" and "1F44B".

    `codepoints` are integers, or hexadecimal joined by "-", "_" or blanks. Presentation selectors, skin tones, gender signs and directions
    are dropped, and the persons in a joined sequence become neutral: sets draw these variants from one template, and they would leak
    across splits.
    """
    if isinstance(codepoints, str):
        codepoints = [int(part, 16) for part in re.split(r"[-_\s]+", codepoints.strip())]
    points = list(codepoints)
    joined = _JOINER in points
    dropped = _PRESENTATION | _SKIN_TONES
    if joined:
        dropped = dropped | _SIGNS_OF_GENDER | _DIRECTIONS
    kept = [_NEUTRAL.get(point, point) if joined else point for point in points if point not in dropped]
    while kept and kept[-1] == _JOINER:
        kept.pop()
    # A skin tone swatch alone is an emoji of its own: with nothing else in it, it stays what it is.
    return "-".join(f"{point:x}" for point in kept or points)


def concept_of_title(title: str) -> str:
    """The concept of a drawing by its title: its letters in lower case, so "Arrow 02" and "arrow_3" are both "arrow".

    A title without any letter is its own concept.
    """
    folded = unicodedata.normalize("NFKC", title).casefold()
    return _NOT_A_LETTER.sub(" ", folded).strip() or folded.strip()
