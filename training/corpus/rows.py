"""One row of the corpus, and how its image is made."""

from dataclasses import dataclass

import pyarrow as pa

TEXT = (
    "file_name",
    "caption",
    "caption_ko",
    "keywords",
    "keywords_ko",
    "tags",
    "category",
    "license",
    "license_url",
    "creator",
    "title",
    "source_page",
    "lang",
    "source_id",
    "collection",
    "concept",
    "split",
)
SCHEMA = pa.schema([pa.field(name, pa.string()) for name in TEXT])
SEPARATOR = "|"  # between the members of keywords, keywords_ko and tags


@dataclass(frozen=True)
class Drawing:
    """Where an image comes from: `svg`, a text, or `png`, a path, with `svg_of_png`, the path of the SVG it was once drawn from.

    `side` is the most pixels that the longest side may have. `opaque` puts an SVG on white, in greys.
    """

    svg: str | None = None
    png: str | None = None
    svg_of_png: str | None = None
    side: int = 256
    opaque: bool = False


@dataclass(frozen=True)
class Pair:
    """A row of the corpus as a source gives it. None is what the source does not say; lists are "|"-joined."""

    collection: str
    name: str  # unique in its collection; also the file's name
    source_id: str
    caption: str
    concept: str
    drawing: Drawing
    license: str | None
    license_url: str | None
    creator: str | None
    source_page: str | None
    lang: str | None = "en"
    title: str | None = None
    category: str | None = None
    tags: str | None = None
    keywords: str | None = None
    keywords_ko: str | None = None
    caption_ko: str | None = None

    @property
    def file_name(self) -> str:
        """Path below the corpus's folder, the Hugging Face imagefolder convention."""
        return f"images/{self.collection}/{self.name}.png"


def joined(members: list[str]) -> str | None:
    """The non-empty members, each once, in their order; None when there are none."""
    kept = dict.fromkeys(member.strip() for member in members if member and member.strip())
    return SEPARATOR.join(member.replace(SEPARATOR, "/") for member in kept) or None
