"""Korean word pieces for MiniLM's vocabulary, learned from the captions that are trained on."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

HANGUL = re.compile("[가-힣]+")  # composed syllables
CONTINUES = "##"  # WordPiece's mark of a piece inside a word
LONGEST = 4  # syllables in a piece; Korean stems and suffixes are rarely longer
# The modern jamo that a syllable decomposes into (Unicode 3.12): leads, vowels, tails. What MiniLM's vocabulary lacks of them is added,
# so that any syllable has tokens; the compatibility jamo are what people type alone, as in "ㅋㅋ".
JAMO = [
    chr(code) for first, last in ((0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0x3131, 0x3163)) for code in range(first, last + 1)
]


def learn_pieces(texts: Iterable[str], *, known: set[str], size: int) -> list[str]:
    """At most `size` pieces of the Hangul words in `texts`, composed (NFC), in the order of their rows; their order decides nothing.

    First come the jamo that are not in `known` (MiniLM's vocabulary), then the syllables that occur, at the start of a word and inside it,
    then the runs of 2 to LONGEST syllables that save most tokens. A run occurs twice at least, and not always as part of the
    same longer run. Raises ValueError when `size` has no room for jamo and syllables.
    """
    words = Counter(word for text in texts for word in HANGUL.findall(unicodedata.normalize("NFC", text)))
    jamo = [mark + letter for letter in JAMO for mark in ("", CONTINUES) if mark + letter not in known]
    counts: Counter[str] = Counter()
    for word, occurs in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + LONGEST) + 1):
                counts[CONTINUES * (start > 0) + word[start:end]] += occurs
    syllables = sorted(piece for piece in counts if _length(piece) == 1)
    if len(jamo) + len(syllables) > size:
        raise ValueError(f"{size} pieces are too few: {len(jamo)} jamo and {len(syllables)} syllables come first.")
    covered = {piece[:-1]: count for piece, count in sorted(counts.items(), key=lambda item: item[1])}  # by the commonest longer run
    runs = [piece for piece, count in counts.items() if _length(piece) > 1 and count > max(1, covered.get(piece, 0))]
    runs.sort(key=lambda piece: (-counts[piece] * (_length(piece) - 1), piece))
    return (jamo + syllables + runs)[:size]


def _length(piece: str) -> int:
    return len(piece.removeprefix(CONTINUES))
