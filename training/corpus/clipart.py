"""Rows of the Open Clip Art Library: what the RDF in each SVG says about it, beside the PNG that was drawn from it."""

import hashlib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from training.corpus.rows import Drawing, Pair, joined
from training.corpus.sources import CLIPART_PNG, CLIPART_SVG, SourceError, fetch, unpack_deb
from training.splits import concept_of_title

SIDE = 512
# A title that more files than this share is that of a collection ("Lemon SVG theme"), and says nothing of the picture.
COLLECTION_SIZE = 20

_DC = "{http://purl.org/dc/elements/1.1/}"
_CC = "{http://web.resource.org/cc/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
# What the licence's address stands for, in words; an address that is not here keeps its own.
_LICENSES = {
    "http://web.resource.org/cc/PublicDomain": "Public Domain",
    "http://creativecommons.org/licenses/publicdomain/": "Public Domain",
    "http://creativecommons.org/licenses/GPL/2.0/": "GPL 2.0",
}


def clipart_pairs(folder: Path) -> Iterator[Pair]:
    """One row a picture, exact duplicates included, captions as noisy as the library's titles. Raises SourceError."""
    pictures = unpack_deb(fetch(CLIPART_PNG, folder), folder / "openclipart-png") / "usr/share/openclipart/png"
    drawings = unpack_deb(fetch(CLIPART_SVG, folder), folder / "openclipart-svg") / "usr/share/openclipart/svg"
    pairs = [_pair(path.relative_to(drawings), path, pictures) for path in sorted(drawings.rglob("*.svg"))]
    yield from _with_concepts(pairs)


def _with_concepts(pairs: list[Pair]) -> Iterator[Pair]:
    """Gives each pair its concept; pairs whose pictures have the same bytes get one concept, whatever their titles."""
    sharing = Counter(pair.title for pair in pairs)
    digests = [hashlib.sha256(Path(pair.drawing.png or "").read_bytes()).hexdigest() for pair in pairs]
    of_bytes: dict[str, str] = {}
    for pair, digest in zip(pairs, digests, strict=True):
        words = pair.caption if sharing[pair.title] <= COLLECTION_SIZE else f"{pair.caption} {Path(pair.source_id).name}"
        concept = concept_of_title(words)
        of_bytes[digest] = min(of_bytes.get(digest, concept), concept)
    for pair, digest in zip(pairs, digests, strict=True):
        yield replace(pair, concept=of_bytes[digest])


def _pair(relative: Path, svg: Path, pictures: Path) -> Pair:
    work = ET.parse(svg).getroot().find(f".//{_CC}Work")
    if work is None:
        raise SourceError(
            f"{svg} says nothing of its title and licence: the unpacked package has been changed. "
            "Delete its folder and run the same command again."
        )
    name = relative.with_suffix("")
    title, description = _text(work, f"{_DC}title"), _text(work, f"{_DC}description")
    license = _attribute(work, f"{_CC}license", f"{_RDF}resource")
    return Pair(
        collection="openclipart",
        name="-".join(name.parts),
        source_id=f"openclipart:{name.as_posix()}",
        # A file without title or description is captioned as the web does it: by its name.
        caption=title or description or name.name.replace("_", " "),
        concept="",
        drawing=Drawing(png=str(pictures / f"{name}.png"), svg_of_png=str(svg), side=SIDE),
        license=license and _LICENSES.get(license, license),
        license_url=license if license and "://" in license else None,
        creator=_text(work, f"{_DC}creator/{_CC}Agent/{_DC}title"),
        source_page=_attribute(work, f"{_DC}publisher/{_CC}Agent", f"{_RDF}about"),
        lang=_text(work, f"{_DC}language"),
        title=title,
        category=name.parent.as_posix(),
        tags=joined([item.text or "" for item in work.iterfind(f"{_DC}subject/{_RDF}Bag/{_RDF}li")]),
    )


def _text(work: ET.Element, path: str) -> str | None:
    """The text there, blanks joined; None when there is none."""
    return " ".join((work.findtext(path) or "").split()) or None


def _attribute(work: ET.Element, path: str, name: str) -> str | None:
    """The attribute of the element there; None when it is absent or empty."""
    element = work.find(path)
    return None if element is None else element.get(name) or None
