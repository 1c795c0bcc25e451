"""Objects of a dataset that are no part of it by name: reports, exports, what people put there. Those that tell of what was removed are deleted."""

from typing import Final

from quality.review.server.database import PATH
from quality.traces.removed import Removed
from quality.traces.search import in_bytes
from schemas.removals import FOLDER, Entries
from schemas.store import Store

_KNOWN: Final = ("pool/", "releases/", "logs/", f"{FOLDER}/", PATH)
_REMADE: Final = "report.html"  # of the pool: it shows a sample, with captions


def delete_others(store: Store, entries: Entries) -> list[str]:
    """Deletes them, and the report of the pool; returns their paths."""
    removed, deleted = Removed(entries), list[str]()
    for path, _ in list(store.list()):
        if not path.startswith(_KNOWN) and (path == _REMADE or next(in_bytes(removed, store.read(path), path), None) is not None):
            store.delete(path)
            deleted.append(path)
    return deleted
