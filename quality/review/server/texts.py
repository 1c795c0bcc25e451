"""What the pages say, in English and Korean."""

import unicodedata
from typing import Final

from quality.review.server.texts_ko import REASONS_KO
from quality.review.server.words import WORDS
from schemas.reasons import reason_text
from schemas.reviews import KEEP

LANGUAGES: Final = {"en": "English", "ko": "한국어"}
_BIDI: Final = dict(zip("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
                        ["ALM", "LRM", "RLM", "LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"], strict=True))  # fmt: skip


class Texts:
    """The texts of one language."""

    def __init__(self, language: str):
        self.language = language
        self._at = list(LANGUAGES).index(language)

    def __call__(self, key: str, **values: object) -> str:
        """The text with its {values}. Raises KeyError for a key that there is not."""
        return WORDS[key][self._at].format(**values)

    def reason(self, reason: str) -> str:
        """What a reason means, as a sentence without its end."""
        if self.language == "ko":
            return REASONS_KO[reason]
        text = reason_text(reason)
        return text[0].upper() + text[1:]

    def question(self, question: str) -> tuple[str, str]:
        """(statement or subject, what is asked)."""
        if question == KEEP:
            return self("keep_subject"), self("keep_ask")
        return self.reason(question), self("holds_ask")


def language_of(cookie: str | None, accepts: str) -> str:
    """The language chosen, else the first that the browser asks for and we have."""
    if cookie in LANGUAGES:
        return str(cookie)
    for part in accepts.split(","):
        word = part.split(";")[0].strip().lower()[:2]
        if word in LANGUAGES:
            return word
    return "en"


def storable(text: str) -> str:
    """The text without what PostgreSQL or UTF-8 cannot hold: NUL becomes its picture, a lone surrogate a question mark."""
    return text.replace("\0", "\u2400").encode("utf-8", "replace").decode()


def shown(text: str | None) -> str:
    """Text of a stranger, safe to show beside ours: what has no shape or turns the writing around is shown by its name.

    Line ends become spaces, control characters their pictures (U+2400), marks of direction ⟦RLO⟧; lone surrogates are replaced.
    """
    out = []
    for letter in text or "":
        code = ord(letter)
        if letter in "\n\t\r":
            out.append(" ")
        elif code < 0x20 or code == 0x7F:
            out.append(chr(0x2400 + code) if code < 0x20 else "\u2421")
        elif letter in _BIDI:
            out.append(f"⟦{_BIDI[letter]}⟧")
        elif unicodedata.category(letter) in ("Cc", "Cs", "Co", "Cn"):
            out.append(f"⟦U+{code:04X}⟧")
        else:
            out.append(letter)
    return "".join(out)
