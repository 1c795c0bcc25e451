"""What becomes of bytes that came: in the thread that asks, or, for a unit that ended its process before, in a child that may die of them."""

from collections.abc import Callable, Mapping
from typing import Final

from pipelines.apart import Apart, Died
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.store import Outcome, Readers, stored
from quality.block_lists import BlockLists, lists_here

SECONDS: Final = 120.0  # that an image may take in the child before it counts as crashed: it hangs

Taken = tuple[Outcome, bytes | None]
Sent = tuple[bytes, str | None, Mapping[str, bool]]  # bytes, final url, signals


class Taker:
    """For one thread. The child starts with the first image that is taken apart."""

    def __init__(self, settings: FetchSettings, lists: BlockLists):
        self._settings, self._lists = settings, lists
        self._readers = Readers(settings)
        self._child = Apart(_taking, settings, lists.digest, seconds=SECONDS)

    def take(self, data: bytes, final_url: str | None, signals: Mapping[str, bool], *, apart: bool) -> Taken:
        """pipelines.fetch.store.stored; of an image that ends the child, status and word `crashed`."""
        if not apart:
            return stored(data, self._settings, self._lists, final_url=final_url, readers=self._readers, signals=signals)
        try:
            return self._child((data, final_url, signals))
        except Died:
            return Outcome("crashed", "crashed", final_url=final_url).say(signals), None

    def close(self) -> None:
        self._child.close()


def _taking(settings: FetchSettings, digest: str | None) -> Callable[[Sent], Taken]:
    """In the child, which reads the block lists for itself as every worker does."""
    lists, readers = lists_here(digest), Readers(settings)

    def take(sent: Sent) -> Taken:
        data, final_url, signals = sent
        return stored(data, settings, lists, final_url=final_url, readers=readers, signals=signals)

    return take
