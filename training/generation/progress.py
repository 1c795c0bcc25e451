"""One line of progress: how many are done, how many a second, how long yet."""

import sys
import time
from typing import Final, TextIO

_EVERY_S: Final = {True: 0.5, False: 15.0}  # terminal: one line rewritten; file or pipe: a line now and then


class Progress:
    """Counts to `total` of `what`; shows it on `out` (standard error)."""

    def __init__(self, total: int, what: str, *, out: TextIO | None = None):
        self.total, self.what, self.out = total, what, out or sys.stderr
        self.done = 0
        self._tty = self.out.isatty()
        self._started = self._shown = time.monotonic()
        self._spent: float | None = None

    def __enter__(self) -> "Progress":
        self._started = self._shown = time.monotonic()
        return self

    def __exit__(self, *_) -> None:
        self._spent = time.monotonic() - self._started
        if self._tty:
            self.out.write("\r\x1b[K")
            self.out.flush()

    def advance(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        now = time.monotonic()
        if now - self._shown >= _EVERY_S[self._tty]:
            self._shown = now
            self.out.write(f"\r\x1b[K{self.line()}" if self._tty else f"{self.line()}\n")
            self.out.flush()

    def rate(self) -> float:
        """A second, since the start."""
        return self.done / max(self._spent or time.monotonic() - self._started, 1e-9)

    def line(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.what}, {self.rate():.2f}/s, {duration((self.total - self.done) / max(self.rate(), 1e-9))} left"


def duration(seconds: float) -> str:
    """As people say it: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
