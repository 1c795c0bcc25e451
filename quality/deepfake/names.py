"""Names of persons, from a list of the user's, found in captions as whole words, or with a Korean particle behind.

The names are in no output: not in a score, version or log.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_WORD: Final = re.compile(r"\w+")
LEAST_LETTERS: Final = 2
# What Korean joins to a name: a title or none, and a particle or none. The common ones, our list.
_TITLES: Final = ("", "씨", "님", "군", "양", "이")
_PARTICLES: Final = (
    "", "이", "가", "은", "는", "을", "를", "의", "에", "에게", "에게서", "께", "께서", "한테", "와", "과", "랑", "이랑", "하고", "도", "만", "로",
    "으로", "부터", "까지", "처럼", "보다", "라는", "이라는", "와의", "과의", "입니다",
)  # fmt: skip
_ENDINGS: Final = frozenset(title + particle for title in _TITLES for particle in _PARTICLES) - {""}
_LONGEST: Final = max(map(len, _ENDINGS))


class NamesError(Exception):
    """The list of names cannot be used; the message says which line, never what stands there."""


class PersonNames:
    """Names to look for. A name is found where its words follow one another in the caption, case-folded, NFC, whatever stands between
    them; to the last may be joined what Korean joins to names ("홍길동이", "홍길동 씨", "홍길동씨의"), which finds "이수도", an island, for a name
    "이수" too. Memory: the list's; a look-up costs the caption's length, however many names begin alike."""

    def __init__(self, names: Iterable[str]):
        self._names = {tuple(_words(name)) for name in names} - {()}
        self._lengths: dict[str, set[int]] = {}  # by first word, in words
        for words in self._names:
            self._lengths.setdefault(words[0], set()).add(len(words))

    def __len__(self) -> int:
        return len(self._names)

    def in_caption(self, caption: str | None) -> bool:
        """Whether a name of the list stands in the caption; False for None."""
        words = [] if caption is None else _words(caption)
        for place, word in enumerate(words):
            if any((stem,) in self._names for stem in _stems(word)):
                return True
            for length in self._lengths.get(word, ()):
                *body, last = words[place : place + length]
                if any((*body, stem) in self._names for stem in _stems(last)):
                    return True
        return False


def read_names(path: str | Path) -> PersonNames:
    """One name a line, UTF-8; empty lines and lines that begin with # are left out. Raises NamesError."""
    lines = _lines(path)
    for number, line in enumerate(lines, 1):
        if _is_name(line) and sum(map(len, _words(line))) < LEAST_LETTERS:
            raise NamesError(f"{path}: line {number} has fewer than {LEAST_LETTERS} letters; it would be found everywhere")
    names = PersonNames(line for line in lines if _is_name(line))
    if not len(names):
        raise NamesError(f"{path}: no name in it; write one a line")
    return names


def names_digest(path: str | Path) -> str:
    """8 hex digits of SHA-256 over the names as they are compared, sorted; part of the scorer's version. Raises NamesError."""
    compared = sorted({" ".join(_words(line)) for line in _lines(path) if _is_name(line)})
    return hashlib.sha256("\n".join(compared).encode()).hexdigest()[:8]


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise NamesError(f"{path}: {error.strerror}; give a text file with one name a line") from error
    except UnicodeDecodeError as error:
        raise NamesError(f"{path}: not UTF-8 at byte {error.start}") from error


def _is_name(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _stems(word: str) -> Iterator[str]:
    """The word, and what is left of it without an ending."""
    yield word
    for length in range(1, min(_LONGEST, len(word) - 1) + 1):
        if word[-length:] in _ENDINGS:
            yield word[:-length]


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()))
