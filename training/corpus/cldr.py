"""Names and keywords of emoji in English and Korean, from Unicode's CLDR annotations."""

from dataclasses import dataclass
from pathlib import Path

from training.corpus.sources import CLDR, CLDR_DERIVED, fetch, read_json

_PRESENTATION = dict.fromkeys((0xFE0E, 0xFE0F))


@dataclass(frozen=True)
class Annotation:
    name: str
    keywords: tuple[str, ...]


def without_presentation(text: str) -> str:
    """The emoji without presentation selectors, as CLDR's keys are compared here."""
    return text.translate(_PRESENTATION)


def annotations(language: str, folder: Path) -> dict[str, Annotation]:
    """Annotation of each emoji of CLDR by its characters without presentation selectors; skin tones, flags and keycaps included.

    `language` is a CLDR locale, "en" or "ko". Raises SourceError.
    """
    plain = read_json(fetch(CLDR, folder), f"annotations/{language}/annotations.json")["annotations"]["annotations"]
    derived = read_json(fetch(CLDR_DERIVED, folder), f"annotationsDerived/{language}/annotations.json")["annotationsDerived"]["annotations"]
    return {
        without_presentation(emoji): Annotation(entry["tts"][0], tuple(entry.get("default", ())))
        for emoji, entry in {**derived, **plain}.items()
        if entry.get("tts")
    }
