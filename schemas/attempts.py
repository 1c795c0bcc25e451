"""Who is at work on what: a unit is noted before it begins and forgotten when it ends, so that one whose process died is known.

    pool/attempts/<step>/<unit>.json    how many attempts at the unit began and did not end

Not on record is an attempt that ended with an error or was interrupted: those say nothing about the unit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from schemas.store import Store

FETCH: Final = "fetch"
TRIES: Final = 2  # attempts after which a unit is taken row by row, in a process that may die


class Attempts:
    """step: FETCH, or the name of a scoring pass. Cheap to make and to pickle."""

    def __init__(self, store: Store):
        self._store = store

    def begin(self, step: str, unit: str) -> int:
        """Notes an attempt; returns how many began before and did not end."""
        path = _path(step, unit)
        if self._store.put_new(path, _content(1)):  # nearly always: one request behind a URL
            return 0
        before = self._count(path)
        self._put(path, before + 1)
        return before

    def end(self, step: str, unit: str) -> None:
        """The unit is done, or its attempt was given up in good order; one that is not noted is no error."""
        self._store.delete(_path(step, unit))

    def noted(self) -> dict[str, int]:
        """How many attempts began and did not end, by `<step>/<unit>`."""
        paths = [path for path, _ in self._store.list("pool/attempts")]
        return {_name(path): self._count(path) for path in paths}

    def put_back(self, noted: Mapping[str, int]) -> None:
        """Forgets the attempts since `noted`: all of them were interrupted."""
        for path in [path for path, _ in self._store.list("pool/attempts")]:
            if (count := noted.get(_name(path))) is None:
                self._store.delete(path)
            else:
                self._put(path, count)

    def _count(self, path: str) -> int:
        try:
            return json.loads(self._store.read(path))["attempts"]
        except FileNotFoundError:
            return 0

    def _put(self, path: str, count: int) -> None:
        self._store.put(path, _content(count))


def _content(count: int) -> bytes:
    return json.dumps({"attempts": count}).encode()


def _path(step: str, unit: str) -> str:
    return f"pool/attempts/{step}/{unit}.json"


def _name(path: str) -> str:
    return f"{Path(path).parent.name}/{Path(path).stem}"
