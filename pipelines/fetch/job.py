"""One unit while it is being fetched: which rows need a request, what is still open, and when it has to end."""

import math
from asyncio import TimerHandle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from yarl import URL

from pipelines.fetch.client import Failed, Moved
from pipelines.fetch.hosts import Image
from pipelines.fetch.sink import Sink
from pipelines.fetch.store import Outcome, Took, blocked
from quality.block_lists import BlockLists
from quality.block_lists.match import Kind
from quality.urls import BadUrl, url_of

NetworkUp = Callable[[], bool | None]  # whether hosts that answered before answer now; None where there are none. Asks them, and waits.
Verdict = tuple[Failed | None, Mapping[str, bool]]
_ASK: Final[Verdict] = (None, {})
WINDOW: Final = 0.1  # of unit_timeout_s
MOVES: Final = 0.01  # share of a unit's rows that has to come in a window for the unit to go on beyond its deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a unit asks of the engine, row by row: a url, or a file name, or a status that stands already.

    listed: the kind of block list that a row is on by what its source says; it is not asked for. None: no row is on any.
    parsed: urls as they are sent, by url, where the caller has them; others are parsed here.
    verdicts: by url, why it may not be asked for, or None, and what its host says of mining; urls that are not in it may be asked for.
    delays: seconds that hosts ask for between two requests of this process, by Image.host.
    apart: what came is taken in a process of its own, which an image may end: it is then `crashed`.
    claims: the SHA-256 that a row's source says its bytes have (store.claims_of); others are not stored. None: no row claims any.

    read_image: the bytes of a file name; raises OSError. finish(outcomes, tar, network_up): called once in the commit thread when all rows have an
    outcome (just the status where it stood); tar is (path, SHA-256), removed afterwards, or None. The unit's future has what it returns.
    """

    urls: Sequence[str | None]
    files: Sequence[str | None]
    statuses: Sequence[str | None]
    read_image: Callable[[str], bytes]
    finish: Callable[[Sequence[Outcome], tuple[Path, str] | None, NetworkUp], Any]
    listed: Sequence[Kind | None] | None = None
    parsed: Mapping[str, URL] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    delays: Mapping[str, float] = field(default_factory=dict)
    apart: bool = False
    claims: Sequence[str | None] | None = None


def outcome_of(failed: Failed, signals: Mapping[str, bool]) -> Outcome:
    """The outcome of a row whose bytes did not come. signals: what was said of mining until then."""
    return Outcome(failed.status, failed.message).say({**signals, **failed.signals})


def redirected(image: Image, moved: Moved, lists: BlockLists, *, most: int) -> Failed | Outcome | None:
    """Sets the url of a redirect, of which `most` are followed; or says why not. A listed address is not asked for, whoever points there."""
    kind = lists.kind_of_url(moved.target)
    if kind is not None:
        return blocked(kind)
    image.hops += 1
    if image.hops > most:
        return Failed("redirects", f"more than {most}")
    try:
        image.url = url_of(moved.target)
    except BadUrl:
        return Failed("bad_redirect", status="refused")
    return None


class Job:
    """number: order among the units of the process. Belongs to the loop; `sink` and `future` may be used by all threads."""

    def __init__(self, number: int, work: Work, sink: Sink):
        self.number = number
        self.work = work
        self.sink = sink
        self.future: Future[Any] = Future()
        self.complete = not work.urls
        self.closed = False
        self.deadline: float | None = None
        self.timers: list[TimerHandle] = []  # that heed the deadline
        self._came = 0
        self._came_before = 0
        self.open = self._images()

    def _images(self) -> dict[int, Image]:
        """The images to ask for by first row, a url once however many rows have it; all other rows get their outcome here."""
        found: dict[tuple[str, bool], Image] = {}
        listed = self.work.listed or [None] * len(self.work.urls)
        for row, (url, file, status, kind) in enumerate(zip(self.work.urls, self.work.files, self.work.statuses, listed, strict=True)):
            text = url if url is not None else file
            if kind is not None:
                self._settle(row, blocked(kind))
            elif status is not None or text is None:
                self._settle(row, Outcome(status) if status is not None else Outcome("invalid", "no_url"))
            elif (known := found.get((text, url is None))) is not None:
                known.rows.append(row)
            elif url is None:
                found[text, True] = Image(self, [row], None, file_name=file)
            else:
                refused, signals = self.work.verdicts.get(url, _ASK)
                if refused is not None:
                    self._settle(row, outcome_of(refused, signals))
                    continue
                try:
                    found[text, False] = Image(self, [row], self.work.parsed.get(url) or url_of(url), signals=dict(signals))
                except BadUrl:
                    self._settle(row, Outcome("invalid", "bad_url"))
        return {image.rows[0]: image for image in found.values()}

    def claims_of(self, image: Image) -> list[str | None]:
        """The SHA-256 that each row of an image claims."""
        claims = self.work.claims
        return [None if claims is None else claims[row] for row in image.rows]

    def put(self, image: Image, found: Sequence[tuple[Outcome, bytes | None]]) -> bool:
        """Puts an image's outcomes, one for each of its rows; True when the unit is complete.

        What the requests took stands with the first row: those of the same url took nothing. Of a listed pair nothing is told.
        """
        if image.asked is not None and found[0][0].blocked_by is None:
            asked = image.asked
            found[0][0].took = Took(asked.host, round(asked.began * 1000), image.ended - asked.clock, image.requests, image.received)
        complete = False
        for row, (outcome, data) in zip(image.rows, found, strict=True):
            complete = self.sink.put(row, outcome, data)
        return complete

    def put_all(self, image: Image, answer: Failed | Outcome) -> bool:
        """Puts one outcome into all rows of an image."""
        outcome = answer if isinstance(answer, Outcome) else outcome_of(answer, image.signals)
        return self.put(image, [(replace(outcome), None) for _ in image.rows])

    def _settle(self, row: int, outcome: Outcome) -> None:
        self.complete = self.sink.put(row, outcome, None)

    def begin(self, now: float, seconds: float) -> None:
        self.deadline = now + seconds

    def ends_before(self, until: float) -> bool:
        return self.deadline is not None and self.deadline < until

    def came(self, image: Image) -> None:
        self._came += len(image.rows)

    def moves(self) -> bool:
        """Whether enough rows came since the last call."""
        since, self._came_before = self._came - self._came_before, self._came
        return since >= max(1, math.ceil(MOVES * len(self.work.urls)))
