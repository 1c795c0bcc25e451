"""Is it the hosts that are down, or our network? Hosts that answered before are asked again, as canaries were in mines."""

import asyncio
from collections.abc import Callable
from typing import Final

from yarl import URL

from pipelines.fetch.client import NETWORK_WORDS, Client, Failed

_KEPT: Final = 3  # hosts, the last that answered
_WAIT_S: Final = 5.0  # for an answer
_HOLDS_S: Final = 5.0  # how long what was found out is taken to hold


class Canaries:
    """Belongs to the loop of `client`; now: its clock."""

    def __init__(self, client: Client, now: Callable[[], float]):
        self._client, self._now = client, now
        self._origins: dict[str, None] = {}  # the oldest first
        self._found: tuple[float, bool] | None = None
        self.asking: set[asyncio.Task[bool]] = set()

    def answered(self, origin: str) -> None:
        """The origin answered, whatever it said."""
        if next(reversed(self._origins), None) == origin:
            return
        self._origins.pop(origin, None)
        self._origins[origin] = None
        if len(self._origins) > _KEPT:
            del self._origins[next(iter(self._origins))]

    async def any_answers(self) -> bool | None:
        """Whether one of them answers now; None where there are none."""
        if not self._origins:
            return None
        if self._found is None or self._now() - self._found[0] > _HOLDS_S:
            tasks = [asyncio.create_task(self._answers(origin)) for origin in self._origins]
            self.asking |= {*tasks}
            try:
                self._found = self._now(), any(await asyncio.gather(*tasks))
            finally:
                self.asking -= {*tasks}
        return self._found[1]

    async def _answers(self, origin: str) -> bool:
        answer = await self._client.get(URL(f"{origin}/robots.txt"), deadline=self._now() + _WAIT_S, first=1)
        return not isinstance(answer, Failed) or answer.word not in NETWORK_WORDS
