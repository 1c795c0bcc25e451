"""Asks hosts for their files, in the engine's loop: many side by side before a unit, one by one where a redirect points to."""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from typing import Any, Final
from weakref import WeakValueDictionary

from yarl import URL

from pipelines.fetch.canaries import Canaries
from pipelines.fetch.client import NETWORK_WORDS, Answer, Client, Failed
from pipelines.fetch.hosts import host_of
from pipelines.fetch.origins import HostRules, Reading, Rules, origin_of, read_origin
from pipelines.fetch.settings import FetchSettings
from quality.block_lists import BlockLists

CHECKS: Final = 512  # hosts that are asked at a time: another host each
_AT_A_TIME: Final = 5_000  # of them, between two puts into the pool


class HostFiles:
    """rules: what is known, and where it is kept. writers: threads that put readings into the pool. `canaries`: the last that answered."""

    def __init__(
        self,
        client: Client,
        rules: HostRules,
        settings: FetchSettings,
        lists: BlockLists,
        loop: asyncio.AbstractEventLoop,
        writers: Executor,
    ):
        self.canaries = Canaries(client, loop.time)
        self._client, self._rules, self._settings, self._lists, self._loop = client, rules, settings, lists, loop
        self._writers = writers
        self._share = settings.politeness.share
        self._gates: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._checks = asyncio.Semaphore(CHECKS)
        self._learning: dict[str, asyncio.Task[Rules]] = {}

    @property
    def tasks(self) -> Iterable[asyncio.Task[Any]]:
        """What is being asked, to be cancelled when the engine closes."""
        return [*self._learning.values(), *self.canaries.asking]

    async def read(self, origins: Sequence[str]) -> None:
        """Reads what origins say, side by side, and keeps it."""
        for first in range(0, len(origins), _AT_A_TIME):
            readings = await asyncio.gather(*map(self._read, origins[first : first + _AT_A_TIME]))
            await self._loop.run_in_executor(self._writers, self._rules.add, readings)

    async def rules_of(self, origin: str) -> Rules:
        """What a host says; it is asked once, by however many images at a time."""
        rules = self._rules.of(origin)
        if rules is None:
            task = self._learning.get(origin)
            if task is None:
                task = self._learning[origin] = asyncio.create_task(self._learn(origin))
                task.add_done_callback(lambda _: self._learning.pop(origin, None))
            rules = await asyncio.shield(task)
        return rules

    def heard(self, url: URL, answer: Answer) -> None:
        """Notes that a host answered."""
        if not isinstance(answer, Failed) or answer.word.startswith("http_"):
            self.canaries.answered(origin_of(url))

    async def _read(self, origin: str) -> Reading:
        async with self._checks:
            reading = await read_origin(self, origin, self._settings, self._lists)
        if reading.robots_answer not in NETWORK_WORDS:
            self.canaries.answered(origin)
        return reading

    async def _learn(self, origin: str) -> Rules:
        reading = await self._read(origin)
        self._rules.add([reading], later=True)  # one object in the pool for all that a unit's redirects met
        return await self._loop.run_in_executor(self._writers, Rules, reading, self._settings.agent)

    async def get(self, url: URL, *, deadline: float, first: int | None = None) -> Answer:
        """Client.get, within what the host allows: many hosts may keep their files at one."""
        host = host_of(url)
        share = self._share(host)
        gate = self._gates.get(host)
        if gate is None:
            gate = self._gates[host] = asyncio.Semaphore(share.connections)
        async with gate:
            answer = await self._client.get(url, deadline=deadline, first=first)
            await asyncio.sleep(share.gap_s)
        return answer
