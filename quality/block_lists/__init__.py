"""Block lists: what may never be fetched, stored, decided about or shown. They come from a folder that PIGMENT_BLOCK_LISTS names,
and from the dataset itself: what was removed from it on request may never come back (schemas.removals).

Lists are read by whoever applies them, in `setup()`, and never travel: they cannot be pickled, printed or written. What of them is told is
how many entries there are, and one digest over all.
"""

from quality.block_lists.blank import LISTED, blanked
from quality.block_lists.match import STORED_COLUMNS, BlockLists
from quality.block_lists.read import ENVIRONMENT, BlockListError, lists_here, read_lists
from quality.block_lists.stored import listed_pairs, listed_rows, listed_uids

__all__ = [
    "ENVIRONMENT", "LISTED", "STORED_COLUMNS", "BlockListError", "BlockLists", "blanked", "listed_pairs", "listed_rows", "listed_uids",
    "lists_here", "read_lists",
]  # fmt: skip
