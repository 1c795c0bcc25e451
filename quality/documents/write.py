"""All documents of a release, written into it."""

import csv
import io
from collections.abc import Iterator
from typing import Final

from quality.block_lists import BlockLists, read_lists
from quality.documents.about import About
from quality.documents.ai_act import by_size, summary
from quality.documents.attribution import attribution
from quality.documents.card import card
from quality.documents.croissant import INDEXES, croissant, indexes_here
from quality.documents.datasheet import datasheet
from quality.documents.facts import Facts, gather
from quality.documents.notice import notice, obligations
from quality.kept import Kept
from schemas.pool import Pool
from schemas.release import Release

_FILES: Final = ("README.md", "NOTICE", "OBLIGATIONS.md", "croissant.json", "datasheet.md", "ai-act-summary.md", "hosts.csv")
_PARTS: Final = "attribution/"  # what follows ATTRIBUTION.csv and ATTRIBUTION.html


def write_documents(pool: Pool, release: Release, about: About, *, lists: BlockLists | None = None) -> Facts:
    """Writes all documents of a published release, in place of those that stand; returns what they say.

    lists: None reads them. The same release, lists and statements give the same bytes. Raises BlockListError.
    """
    kept = Kept(pool, release, lists=read_lists(pool.store) if lists is None else lists)
    facts = gather(kept, about)
    release.put_all_derived(_documents(facts), instead_of=(_PARTS, INDEXES, "ATTRIBUTION", *_FILES))
    return facts


def has_documents(release: Release) -> bool:
    """Whether all were written: a run that is killed between its manifest and them leaves none in derived.json."""
    return set(_FILES) <= set(release.derived())


def _documents(facts: Facts) -> Iterator[tuple[str, bytes]]:
    yield from attribution(facts)
    yield from indexes_here(facts)
    texts = (card, notice, obligations, croissant, datasheet, summary, _hosts)
    yield from ((name, write(facts).encode("utf-8", "replace")) for name, write in zip(_FILES, texts, strict=True))


def _hosts(facts: Facts) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["host", "images", "bytes"])
    writer.writerows(by_size(facts))
    return text.getvalue()
