"""Progress of a job, counted from commits under the dataset by a thread of the launcher: the same on every runner."""

import shutil
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from schemas.follow_ups import Planned, planned_follow_ups
from schemas.pool import Pool
from schemas.release import Release

_EVERY_S = {True: 1.0, False: 10.0}  # terminal: one line rewritten; file or pipe: a line now and then
_FAR_S = 10.0  # behind a URL, where each line takes four lists
_SHARE = 0.05  # of the time that lists of a large pool may take


class Progress:
    """One line of units, rate, time left and failures while a graph runs.

    pass_name: the scoring pass to count, None when nothing is scored. release: its decisions and shards are counted in place of the pool.
    """

    def __init__(self, pool: Pool, *, pass_name: str | None, release: Release | None, out: TextIO):
        self.pool, self.pass_name, self.release, self.out = pool, pass_name, release, out
        self.tty = out.isatty()
        self._stop = threading.Event()
        self._files: tuple[str, ...] | None = None
        self._follow_ups: dict[str, Planned] = {}
        self._units: dict[str, int] = {}
        self._rows: dict[str, int] = {}
        self._statuses: Counter[str] = Counter()
        self._history: deque[tuple[float, int]] = deque(maxlen=60)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Shows progress until the block ends."""
        thread = threading.Thread(target=self._loop, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=5)
            if self.tty:
                self.out.write("\r\x1b[K")
                self.out.flush()

    def _loop(self) -> None:
        shown, every = None, _EVERY_S[self.tty] if self.pool.store.local is not None else _FAR_S
        wait = every
        while not self._stop.wait(wait):
            started = time.monotonic()
            line = self.line()
            wait = max(every, (time.monotonic() - started) / _SHARE)
            if line != shown:
                # A line that wraps cannot be written over.
                self.out.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}" if self.tty else f"{line}\n")
                self.out.flush()
                shown = line

    def _planned(self) -> dict[str, int]:
        """Planned units with their rows, follow-ups too; read again only when some were added."""
        files = tuple(path for folder in ("files", "retries") for path, _ in self.pool.store.list(f"pool/{folder}"))
        if files != self._files:
            self._follow_ups = planned_follow_ups(self.pool, self._follow_ups)
            follow_ups = {unit: plan.rows for unit, plan in self._follow_ups.items()}
            self._files, self._units = files, {**self.pool.planned_units(), **follow_ups}
        return self._units

    def line(self) -> str:
        """What is done now. Reads the footers of new commits only."""
        planned = self._planned()
        if self.release is not None:
            decided = sum(1 for _ in self.pool.store.list(f"{self.release.path}/decisions"))
            shards = sum(path.endswith(".parquet") for path, _ in self.pool.store.list(f"{self.release.path}/shards"))
            return f"select  {decided}/{len(planned)} units decided" if not shards else f"shard   {shards} shards written"
        committed = self.pool.committed() & set(planned)
        for unit in committed - set(self._rows):
            commit = self.pool.raw_commit(unit)
            if commit is not None:
                self._rows[unit] = commit.rows
                self._statuses.update(commit.statuses)
        scored = set() if self.pass_name is None else self.pool.scored(self.pass_name) & committed
        if not planned:
            return "read    counting the source's rows"
        fetching = len(committed) < len(planned) or self.pass_name is None
        done_units = committed if fetching else scored
        done = sum(self._rows.get(unit, 0) for unit in done_units)
        total = sum(planned.values())
        parts = [f"{'fetch' if fetching else 'score':7} {len(done_units)}/{len(planned)} units", f"{done:,}/{total:,} pairs"]
        if fetching and scored:  # both run in one graph, and a folder's images come faster than they are scored
            parts.insert(1, f"{len(scored)} scored")
        # Fetching and scoring run together: the pace is that of the slower end.
        at_end = sum(self._rows.get(unit, 0) for unit in (scored if self.pass_name is not None else committed))
        self._history.append((time.monotonic(), at_end))
        (then, before), (now, after) = self._history[0], self._history[-1]
        if now > then and after > before:
            rate = (after - before) / (now - then)
            parts += [f"{rate:,.0f} pairs/s", f"{duration((total - after) / rate)} left"]
        failed = {status: count for status, count in self._statuses.items() if status != "success"}
        if failed and sum(self._statuses.values()):
            shares = (
                f"{status} {count / sum(self._statuses.values()):.1%}"
                for status, count in sorted(failed.items(), key=lambda item: -item[1])
            )
            parts.append(", ".join(shares))
        return "  ".join(parts)


class Took:
    """How long the graphs of a run took: steps[name] = {"seconds", "pairs"}, for run.json. A step that did no pair is not told."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str, pairs: Callable[[], int]) -> Iterator[None]:
        """Times the block. pairs: how many it did, asked when it has ended."""
        started = time.monotonic()
        yield
        if done := pairs():
            self.steps[name] = {"seconds": round(time.monotonic() - started, 1), "pairs": done}


class PairsTold:
    """A line now and then of work that one process does: pairs done, rate and time left. what: its first word. total: pairs that are to be done."""

    def __init__(self, what: str, total: int = 0):
        self.what, self.done = what, 0
        self.start(total)

    def start(self, total: int) -> None:
        """The clock runs from here."""
        self.total = total
        self.began = self._last = time.monotonic()

    def __call__(self, pairs: int) -> None:
        self.done += pairs
        now = time.monotonic()
        if now - self._last >= _EVERY_S[False] and 0 < self.done < self.total:
            self._last = now
            rate = self.done / (now - self.began)
            say(f"{self.what}  {self.done:,}/{self.total:,} pairs  {rate:,.0f} pairs/s  {duration((self.total - self.done) / rate)} left")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def say(text: str = "", *, out: TextIO | None = None) -> None:
    """A line for the person at the terminal."""
    (out or sys.stdout).write(text + "\n")
    (out or sys.stdout).flush()
