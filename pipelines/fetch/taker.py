"""What becomes of bytes that came: in the thread that asks, or, for a unit that ended its process before, in a child that may die of them."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from weakref import WeakSet

from pipelines.apart import Apart, Died
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.store import Outcome, Readers, stored_as_claimed
from quality.block_lists import BlockLists, lists_here
from schemas.store import open_store

SECONDS: Final = 120.0  # that an image may take, before it counts as one that hangs, and crashed
LOOK_S: Final = 5.0  # between two looks for images that hang

Taken = list[tuple[Outcome, bytes | None]]  # one for each claim
Claims = Sequence[str | None]
Sent = tuple[bytes, Claims, str | None, Mapping[str, bool]]  # bytes, claims, final url, signals


class Taker:
    """For one thread. The child starts with the first image that is taken apart.

    An image that hangs in this process ends it, by SIGABRT and a line on stderr: the unit's attempt counts as one that an image ended. Native
    code that hangs without letting other threads run is not seen.
    """

    def __init__(self, settings: FetchSettings, lists: BlockLists):
        self._settings, self._lists = settings, lists
        self._readers = Readers(settings)
        self._child = Apart(_taking, settings, lists.digest, lists.dataset, seconds=SECONDS)
        self.began: float | None = None  # of the image that is being taken in this process
        self.unit: int | None = None
        _WATCH.add(self)

    def take(
        self, data: bytes, claims: Claims, final_url: str | None, signals: Mapping[str, bool], *, apart: bool, unit: int | None = None
    ) -> Taken:
        """pipelines.fetch.store.stored_as_claimed; of an image that ends the child, status and word `crashed`.

        unit: its number among those of this process, for who reads why the process ended.
        """
        if not apart:
            self.unit, self.began = unit, time.monotonic()
            try:
                return stored_as_claimed(
                    data, claims, self._settings, self._lists, final_url=final_url, readers=self._readers, signals=signals
                )
            finally:
                self.began = None
        try:
            return self._child((data, claims, final_url, signals))
        except Died:
            return [(Outcome("crashed", "crashed", final_url=final_url).say(signals), None) for _ in claims]

    def close(self) -> None:
        self._child.close()


class _Watch:
    """One thread of the process, started with its first taker."""

    def __init__(self) -> None:
        self._takers: WeakSet[Taker] = WeakSet()
        self._lock = threading.Lock()
        self._pid = 0

    def add(self, taker: Taker) -> None:
        with self._lock:
            self._takers.add(taker)
            if self._pid != os.getpid():  # a fork has no threads
                self._pid = os.getpid()
                threading.Thread(target=self._look, name="fetch-hangs", daemon=True).start()

    def _look(self) -> None:
        looks: dict[tuple[int, float], int] = {}  # at an image; by looks and not by the clock, which goes on while the process is stopped
        while True:
            time.sleep(LOOK_S)
            with self._lock:
                takers = list(self._takers)
            busy = [((id(taker), began), taker) for taker in takers if (began := taker.began) is not None]
            looks = {image: looks.get(image, 0) + 1 for image, _ in busy}
            for image, taker in busy:
                if looks[image] > SECONDS / LOOK_S:
                    where = "" if taker.unit is None else f" of unit {taker.unit} of this process"
                    print(f"an image{where} takes more than {SECONDS:,.0f} s to read; the process ends", file=sys.stderr, flush=True)
                    os.abort()


_WATCH: Final = _Watch()


def _taking(settings: FetchSettings, digest: str | None, dataset: str | None) -> Callable[[Sent], Taken]:
    """In the child, which reads the block lists for itself as every worker does."""
    lists, readers = lists_here(digest, None if dataset is None else open_store(dataset)), Readers(settings)

    def take(sent: Sent) -> Taken:
        data, claims, final_url, signals = sent
        return stored_as_claimed(data, claims, settings, lists, final_url=final_url, readers=readers, signals=signals)

    return take
