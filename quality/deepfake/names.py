"""Names of persons, from a list of the user's, found in captions as whole words. The names are in no output: not in a score, version or log."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_WORD: Final = re.compile(r"\w+")
LEAST_LETTERS: Final = 2


class NamesError(Exception):
    """The list of names cannot be used; the message says which line, never what stands there."""


class PersonNames:
    """Names to look for. A name is found where its words follow one another in the caption, case-folded, NFC, whatever stands between
    them. Whole words: a Korean name with a particle joined to it is another word. Memory: the list's; a look-up costs the caption's length."""

    def __init__(self, names: Iterable[str]):
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for words in sorted({tuple(_words(name)) for name in names} - {()}):
            self._by_first.setdefault(words[0], []).append(words)

    def __len__(self) -> int:
        return sum(map(len, self._by_first.values()))

    def in_caption(self, caption: str | None) -> bool:
        """Whether a name of the list stands in the caption; False for None."""
        words = [] if caption is None else _words(caption)
        for place, word in enumerate(words):
            for name in self._by_first.get(word, ()):
                if tuple(words[place : place + len(name)]) == name:
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


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()))
