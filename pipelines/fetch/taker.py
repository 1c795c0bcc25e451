"""What becomes of bytes that came: in the thread that asks, or, for a unit that ended its process before, in a child that may die of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pipelines.apart import Apart, Died
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.store import Outcome, Readers, stored_as_claimed
from quality.block_lists import BlockLists, lists_here

SECONDS: Final = 120.0  # that an image may take in the child before it counts as crashed: it hangs

Taken = list[tuple[Outcome, bytes | None]]  # one for each claim
Claims = Sequence[str | None]
Sent = tuple[bytes, Claims, str | None, Mapping[str, bool]]  # bytes, claims, final url, signals


class Taker:
    """For one thread. The child starts with the first image that is taken apart."""

    def __init__(self, settings: FetchSettings, lists: BlockLists):
        self._settings, self._lists = settings, lists
        self._readers = Readers(settings)
        self._child = Apart(_taking, settings, lists.digest, seconds=SECONDS)

    def take(self, data: bytes, claims: Claims, final_url: str | None, signals: Mapping[str, bool], *, apart: bool) -> Taken:
        """pipelines.fetch.store.stored_as_claimed; of an image that ends the child, status and word `crashed`."""
        if not apart:
            return stored_as_claimed(data, claims, self._settings, self._lists, final_url=final_url, readers=self._readers, signals=signals)
        try:
            return self._child((data, claims, final_url, signals))
        except Died:
            return [(Outcome("crashed", "crashed", final_url=final_url).say(signals), None) for _ in claims]

    def close(self) -> None:
        self._child.close()


def _taking(settings: FetchSettings, digest: str | None) -> Callable[[Sent], Taken]:
    """In the child, which reads the block lists for itself as every worker does."""
    lists, readers = lists_here(digest), Readers(settings)

    def take(sent: Sent) -> Taken:
        data, claims, final_url, signals = sent
        return stored_as_claimed(data, claims, settings, lists, final_url=final_url, readers=readers, signals=signals)

    return take
