"""A tar of the user's whose images a unit names where they lie. It stays the user's: it is read, never written to, and never deleted."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from schemas.store import StoreError, is_url, open_at


@dataclass(frozen=True)
class UserTar:
    """path: absolute, or a URL. state: its length and time of change in ns (behind a URL the object's version), as they were when its images
    were measured.

    A commit pins every image by its SHA-256; `state` tells, at no cost, that the file is still the one that was measured, so that an offset
    is never read in another file. It is part of no digest: a copy that keeps the time (cp -p, rsync -a) is as good.
    """

    path: str
    state: str

    @classmethod
    def of(cls, path: Path | str) -> Self:
        """The tar as it is now. Raises FileNotFoundError."""
        whole = str(path) if is_url(path) else os.path.abspath(path)
        store, name = open_at(whole)
        size, version = store.state(name)
        return cls(whole, f"{size}:{version}")

    def check(self) -> None:
        """Raises StoreError when the file is gone or no longer the one that was measured."""
        try:
            now = type(self).of(self.path)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or 'not there'}; units were taken from it in place: put it back") from error
        if now.state != self.state:
            raise StoreError(
                f"{self.path} was changed after its images were measured; put the old file back with its time (cp -p), "
                "or ingest the new one into a new --dataset"
            )
