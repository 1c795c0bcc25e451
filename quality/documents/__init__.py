"""What a published release says of itself, to people and machines: generated from its files, complete, nothing invented.

    about.py        what only people know: about.toml
    facts.py        what the release's files say, counted once
    attribution.py  ATTRIBUTION.csv and .html: title, author, source and licence of each pair whose licence asks for it
    obligations.py  what follows from a licence, for who publishes and for who trains
    notice.py       NOTICE and OBLIGATIONS.md
    croissant.py    croissant.json: Croissant 1.1 with RAI
    card.py         README.md: Hugging Face's dataset card
    datasheet.py    datasheet.md: Datasheets for Datasets
    ai_act.py       ai-act-summary.md: the EU's template of July 2025, and hosts.csv, which it asks for
    text.py         what the Markdown documents have in common
    write.py        all of them, into the release

Every statement is counted from the release and its pool, or stated in about.toml, or says "not stated" or "unknown". No clock is read: the days of
fetching are the pool's own notes. A pair that is on a block list now is in none of them.
"""

from quality.documents.about import About, read_about
from quality.documents.write import has_documents, write_documents

__all__ = ["About", "has_documents", "read_about", "write_documents"]
