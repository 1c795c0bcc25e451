"""Which of the machine's processes this one is: for what they take turns over."""

import fcntl
import itertools
from functools import cache
from pathlib import Path
from typing import IO, Final


@cache
def slot_of(folder: Path) -> int:
    """The least number that no other living process has in `folder`; this one's until it ends, however it does."""
    for number in itertools.count():
        file = (folder / f"slot-{number}").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _held.append(file)
        return number
    raise AssertionError("numbers do not end")


_held: Final = list[IO[str]]()  # a lock is held as long as its file is open
