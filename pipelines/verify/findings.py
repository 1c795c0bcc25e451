"""What is wrong, in the words of whoever has to mend it; and how a file is read that may be damaged."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

import pyarrow as pa

from schemas.release import ReleaseError
from schemas.store import Store, StoreError
from schemas.units import PoolError

RESTORE: Final = "restore it from a copy"
_READ: Final = 8 << 20  # bytes hashed at a time

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Finding:
    """path: below the dataset. place: row, member or field in it; "" for the file itself. todo: what to do."""

    path: str
    place: str
    what: str
    expected: str
    found: str
    todo: str

    def text(self) -> str:
        """Two lines."""
        where = f"{self.path}, {self.place}" if self.place else self.path
        compared = f": expected {self.expected}, found {self.found}" if self.expected else f": {self.found}" if self.found else ""
        return f"{where}: {self.what}{compared}\n  {self.todo}"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


class Damaged(Exception):
    """A file cannot be read; `finding` says which and why."""

    def __init__(self, finding: Finding):
        super().__init__(finding.text())
        self.finding = finding


def reading(path: str, read: Callable[[], T], *, todo: str = RESTORE) -> T:
    """What `read` returns. Raises Damaged where the file is not there, or is no whole file of its kind."""
    try:
        return read()
    except FileNotFoundError:
        raise Damaged(Finding(path, "", "is not there", "", "", todo)) from None
    except (pa.ArrowException, OSError, PoolError, ReleaseError, StoreError, ValueError, KeyError, TypeError, UnicodeError) as error:
        told = (str(error).strip().splitlines() or [""])[0]
        raise Damaged(Finding(path, "", "cannot be read", "", f"{type(error).__name__}: {told}"[:300], todo)) from error


def read_json(store: Store, path: str, *, todo: str = RESTORE) -> Any:
    """A JSON object. Raises Damaged."""

    def read() -> Any:
        value = json.loads(store.read(path))
        if not isinstance(value, dict):
            raise ValueError(f"a JSON {type(value).__name__}, not an object")
        return value

    return reading(path, read, todo=todo)


def differing(path: str, place: str, what: str, expected: object, found: object, todo: str = RESTORE) -> list[Finding]:
    """A finding where the two differ; none where they are equal."""
    return [] if expected == found else [Finding(path, place, what, _shown(expected), _shown(found), todo)]


def _shown(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def size_and_digest(store: Store, path: str, tell: Callable[[int], None]) -> tuple[int, str]:
    """(bytes, SHA-256) of an object. tell: is told how many bytes were hashed, time and again. Raises Damaged."""

    def read() -> tuple[int, str]:
        hasher, size = hashlib.sha256(), 0
        with store.open(path) as file:
            while data := file.read_buffer(_READ):
                hasher.update(data)
                size += len(data)
                tell(len(data))
        return size, hasher.hexdigest()

    return reading(path, read)
