"""Which url a thread of img2dataset asks for next: limits, pauses and hosts that are down, by the queue of our own engine.

img2dataset's threads take urls as they come, and a few that wait for one host would hold up all others. So a thread that comes takes a turn,
and gets whichever url of the round may be asked for now.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yarl import URL

from pipelines.fetch.client import LATE, Answer, Failed, Moved
from pipelines.fetch.hosts import Image, Queue, host_of
from pipelines.fetch.politeness import Share


@dataclass(eq=False)
class _Round:
    """What the queue asks of an image's unit."""

    number: int
    deadline: float
    closed: bool = False

    def ends_before(self, until: float) -> bool:
        return self.deadline < until


@dataclass(frozen=True)
class Turn:
    """The place of a url in its round. instead: its answer where it need not be asked for. back: it is not asked for in this round."""

    place: int
    url: URL
    instead: Failed | None = None
    back: bool = False


class Turns:
    """For many threads. share: as of Queue. backoff_s: after which what failed may be asked for again, in another round."""

    def __init__(self, share: Callable[[str], Share], backoff_s: float):
        self._changed = threading.Condition()
        self._timers: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._queue = Queue(share=share, call_at=self._call_at, wake=lambda: None)
        self._backoff_s = backoff_s
        self._numbers = 0
        self._round = _Round(0, 0.0)
        self._waiting: dict[int, URL] = {}
        self._unasked: deque[Turn] = deque()
        self._active = 0
        self._back_at = float("inf")  # when another round has something to do

    def begin(self, urls: Sequence[URL], delays: Mapping[str, float], seconds: float, others_s: float | None) -> None:
        """A round, of which `take` gives each url once. delays, seconds, others_s: see img2dataset_messages.Round."""
        with self._changed:
            now = time.monotonic()
            self._numbers += 1
            self._round = _Round(self._numbers, now + seconds)
            self._waiting, self._unasked, self._active = dict(enumerate(urls)), deque(), 0
            self._back_at = float("inf") if others_s is None else now + others_s
            for host, gap_s in delays.items():
                self._queue.slow_down(host, gap_s)
            for place, url in enumerate(urls):
                if self._round.ends_before(self._queue.paused_until(host_of(url))):
                    self._late(place)
                else:
                    self._queue.add(Image(self._round, [place], url), now)  # type: ignore[arg-type]  # all that the queue asks of a job

    def take(self) -> Turn:
        """Waits for the next url of the round; `done` has to follow where it is asked for."""
        with self._changed:
            while True:
                now = time.monotonic()
                while self._timers and self._timers[0][0] <= now:
                    _, _, function, given = heapq.heappop(self._timers)
                    function(*given)
                if self._unasked:
                    return self._unasked.popleft()
                if (popped := self._queue.pop(now)) is not None:
                    image, down = popped
                    place = image.rows[0]
                    if down is None:
                        self._active += 1
                    return Turn(place, self._waiting.pop(place), down)
                if not self._active and now >= self._back_at:
                    self._round.closed = True  # so that the queue forgets them
                    self._unasked.extend(Turn(place, url, back=True) for place, url in self._waiting.items())
                    self._waiting = {}
                    self._changed.notify_all()
                    continue
                until = min(self._timers[0][0] if self._timers else float("inf"), float("inf") if self._active else self._back_at)
                self._changed.wait(None if until == float("inf") else until - now)

    def done(self, url: URL, answer: Answer) -> None:
        """The url was asked for."""
        with self._changed:
            now = time.monotonic()
            host, failed = host_of(url), answer if isinstance(answer, Failed) else None
            self._active -= 1
            self._queue.done(url, now, failed)
            if failed is not None and failed.wait_s:
                for image in self._queue.pause(host, now + failed.wait_s):
                    self._late(image.rows[0])
            if isinstance(answer, Moved):
                self._back_at = min(self._back_at, now)
            elif failed is not None and failed.again:
                self._back_at = min(self._back_at, now + max(failed.wait_s or 0.0, self._backoff_s))
            self._changed.notify_all()

    def _late(self, place: int) -> None:
        self._unasked.append(Turn(place, self._waiting.pop(place), LATE))

    def _call_at(self, when: float, function: Callable[..., object], *given: Any) -> None:
        self._numbers += 1  # so that no two timers are compared by their functions
        heapq.heappush(self._timers, (when, self._numbers, function, given))
