"""What is read of a corpus: its pairs, which of them may be trained on, and the texts that each is trained with."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

HELD_OUT_DRAWINGS = "openmoji"  # a whole set of drawings that is measured on and never trained on
# Public domain, CC BY, Apache-2.0, MIT. The Open Clip Art library has 61 drawings that state no licence, and 4 that state the GPL.
LEARNED_FROM = (
    "http://web.resource.org/cc/PublicDomain",
    "http://creativecommons.org/licenses/publicdomain/",
    "https://creativecommons.org/licenses/by/",
    "https://www.apache.org/licenses/LICENSE-2.0",
    "https://opensource.org/license/mit",
)
# A caption that stands under more drawings than this names their collection ("Part of the Flat Icon Collection"), not what they show.
SHARED_BY = 5
_TONE = re.compile(r"-(?:(?:medium-dark|medium-light|dark|light|medium)(?:-skin-tone)?|tone[1-5])(?=-|$)")
_ENGLISH = ("a drawing of {}", "clip art of {}", "{} icon", "picture of {}")
_KOREAN = ("{} 그림", "{} 아이콘", "{} 이미지", "{} 삽화")


@dataclass(frozen=True)
class Pair:
    """A row of the corpus. `file` is below the corpus's folder; `captioned` is False where the caption names a collection."""

    file: str
    collection: str
    concept: str
    split: str
    license_url: str
    caption: str
    caption_ko: str | None
    keywords: tuple[str, ...]
    keywords_ko: tuple[str, ...]
    category: str
    captioned: bool

    @property
    def toned(self) -> bool:
        """Whether this is a skin tone variant of another emoji."""
        return _TONE.search(Path(self.file).stem) is not None


def read_corpus(corpus: Path) -> list[Pair]:
    """The pairs of the corpus at `corpus` (`python -m training.corpus`), in the order of their files' names. Raises FileNotFoundError."""
    path = corpus / "metadata.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: build the corpus with `make corpus`, or name its folder with --corpus.")
    rows = sorted(pq.read_table(path).to_pylist(), key=lambda row: row["file_name"])
    shown = Counter((row["collection"], row["caption"]) for row in rows)
    return [
        Pair(
            file=row["file_name"],
            collection=row["collection"],
            concept=row["concept"],
            split=row["split"],
            license_url=row["license_url"] or "",
            caption=row["caption"],
            caption_ko=row["caption_ko"],
            keywords=_split(row["keywords"]) or _split(row["tags"]),
            keywords_ko=_split(row["keywords_ko"]),
            category=(row["category"] or "").replace("_", " "),
            captioned=row["collection"] != "openclipart" or shown[row["collection"], row["caption"]] <= SHARED_BY,
        )
        for row in rows
    ]


def trainable(pairs: Iterable[Pair], *, split: str = "train") -> list[Pair]:
    """The pairs of `split` that training may see: not of the held-out drawings, under a licence of LEARNED_FROM, no skin tone variants.

    Tones are left out because sets draw them from one template: five pictures that differ in one colour would weigh five times.
    """
    return [
        pair
        for pair in pairs
        if pair.split == split and pair.collection != HELD_OUT_DRAWINGS and pair.license_url.startswith(LEARNED_FROM) and not pair.toned
    ]


def english_texts(pair: Pair) -> list[str]:
    """Captions as people write them: the pair's own, with some of its keywords, keywords alone, and the caption in a phrase."""
    some = _some(pair.keywords, pair.file, 3)
    place = pair.category.rsplit("/", 1)[-1]
    texts = [" ".join((*some, place))] if some or not pair.captioned else []
    if pair.captioned:
        texts += [pair.caption, _phrase(_ENGLISH, pair.caption, pair.file)]
        texts += [", ".join((pair.caption, *some[:2]))] if some else []
        texts += [f"{place} {pair.caption}"] if place and pair.collection == "openclipart" else []
    return [text for text in dict.fromkeys(texts) if text.strip()]


def korean_texts(pair: Pair) -> list[str]:
    """As `english_texts`, in Korean; none for a pair without a Korean caption."""
    if pair.caption_ko is None:
        return []
    some = _some(pair.keywords_ko, pair.file, 3)
    texts = [pair.caption_ko, _phrase(_KOREAN, pair.caption_ko, pair.file)]
    texts += [", ".join((pair.caption_ko, *some[:2])), " ".join(some)] if some else []
    return list(dict.fromkeys(texts))


@dataclass(frozen=True)
class Entry:
    """One concept in both languages: `names` are (English, Korean), an emoji's gender variants being names of one concept."""

    concept: str
    names: tuple[tuple[str, str], ...]
    keywords: tuple[str, ...]
    keywords_ko: tuple[str, ...]


def lexicon(pairs: Sequence[Pair]) -> list[Entry]:
    """The concepts of `pairs` that have a Korean name, by concept."""
    found: dict[str, tuple[dict, dict, dict]] = defaultdict(lambda: ({}, {}, {}))
    for pair in pairs:
        if pair.caption_ko is not None:
            for kept, texts in zip(found[pair.concept], ([(pair.caption, pair.caption_ko)], pair.keywords, pair.keywords_ko), strict=True):
                kept.update(dict.fromkeys(texts))
    return [Entry(concept, *(tuple(texts) for texts in found[concept])) for concept in sorted(found)]


def _split(joined: str | None) -> tuple[str, ...]:
    return tuple(part.replace("_", " ") for part in joined.split("|")) if joined else ()


def _some(words: Sequence[str], key: str, count: int) -> tuple[str, ...]:
    """`count` of the words, which ones being a function of `key`."""
    return tuple(sorted(words, key=lambda word: hashlib.sha256(f"{key} {word}".encode()).digest())[:count])


def _phrase(phrases: Sequence[str], caption: str, key: str) -> str:
    return phrases[hashlib.sha256(key.encode()).digest()[0] % len(phrases)].format(caption)
