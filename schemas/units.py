"""Units, source files and passes: what they are called, and what the pool keeps of each. See schemas.pool for where."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.digest import digest_of_json
from schemas.user_tar import UserTar

BLIND: Final = frozenset({"nsfw", "image", "faces", "evidence"})  # packaged scorers that read no captions
_UNIT: Final = re.compile(r"([0-9a-f]{16})-(\d{5,})(?:\.r([1-9]\d*))?")


class PoolError(Exception):
    """The pool does not fit what was asked; the message says what, where and what to do."""


@dataclass(frozen=True)
class SourceFile:
    """How one source file is cut into units.

    file: 16 hex digits of SHA-256 over path, size and digest. source: the root folder; path: below it. kind: "rows" for a row file,
    "folder" for the listing of a directory, "tar" for a WebDataset tar, "img2dataset" for one with its Parquet file beside it. rows:
    in the whole file. offsets: where each chunk starts: bytes for plain text formats, rows otherwise; lines: the line there, from 1.
    columns: ours -> the file's, as the user mapped them. sample: share of the rows taken, by hash of their number; None for all.
    header: the columns of a file without a header line; None for all others.
    """

    file: str
    source: str
    path: str
    kind: str
    size: int
    digest: str
    rows: int
    unit_size: int
    offsets: tuple[int, ...]
    lines: tuple[int, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    sample: float | None = None
    header: tuple[str, ...] | None = None

    @property
    def units(self) -> list[str]:
        return [unit_name(self.file, chunk) for chunk in range(len(self.offsets))]

    def rows_of(self, chunk: int) -> int:
        """Rows of the unit that a chunk makes."""
        return len(self.sampled(chunk)) if self.sample is not None else min(self.unit_size, self.rows - chunk * self.unit_size)

    def sampled(self, chunk: int) -> list[int]:
        """Which rows of a chunk a sample takes, from 0."""
        start = chunk * self.unit_size
        bound = int((1.0 if self.sample is None else self.sample) * 2**64)
        rows = range(min(self.unit_size, self.rows - start))
        return [row for row in rows if int.from_bytes(hashlib.sha256(f"{self.file}:{start + row}".encode()).digest()[:8]) < bound]


@dataclass(frozen=True)
class ScorerInfo:
    """A scorer as a pass records it. calibration: "<name>:<model>", what a policy's `scorer` names; identity: "<name>:<whole version>"."""

    name: str
    version: str
    columns: tuple[str, ...]

    @property
    def calibration(self) -> str:
        return f"{self.name}:{self.version.partition('@')[0]}"

    @property
    def identity(self) -> str:
        return f"{self.name}:{self.version}"


@dataclass(frozen=True)
class Pass:
    """A set of scorers that ran together; `name` is also its folder's.

    captions: the version of the captions (schemas.captions) that they read; None for the sources'. blind: names of scorers of a user's that
    say that they read no captions; of the packaged ones it is known.
    """

    name: str
    scorers: tuple[ScorerInfo, ...]
    captions: str | None = None
    blind: tuple[str, ...] = ()

    @classmethod
    def of(cls, scorers: Sequence[ScorerInfo], captions: str | None = None, blind: Sequence[str] = ()) -> "Pass":
        told = [[scorer.name, scorer.version] for scorer in scorers]
        digest = digest_of_json(told if captions is None else [captions, told])
        return cls("+".join(scorer.name for scorer in scorers) + "-" + digest[:8], tuple(scorers), captions, tuple(blind))

    def reading(self, captions: str | None) -> tuple[ScorerInfo, ...]:
        """Its scorers whose columns hold where the captions are those of a version (None: the sources'): they read these, or none at all."""
        if self.captions == captions:
            return self.scorers
        return () if self.captions else tuple(scorer for scorer in self.scorers if scorer.name in {*BLIND, *self.blind})


@dataclass(frozen=True)
class Commit:
    """What the footer of a unit's Parquet says. `statuses` counts rows by fetch status.

    tar: of the unit's images: a path below the dataset, or an absolute one, of a tar of the user's, which then has a tar_state (UserTar) and
    no tar_sha256: nobody has read it whole. For reading, ask Pool.images_of.
    """

    unit: str
    input_digest: str
    content_digest: str
    rows: int
    tar: str | None = None
    tar_sha256: str | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    tar_state: str | None = None

    @property
    def user_tar(self) -> UserTar | None:
        """The user's tar that the images lie in; None where they are the pool's own."""
        return None if self.tar is None or self.tar_state is None else UserTar(self.tar, self.tar_state)


def unit_name(file: str, chunk: int) -> str:
    return f"{file}-{chunk:05d}"


def split_unit(unit: str) -> tuple[str, int]:
    """(file, chunk) of a unit's name, a follow-up's too. Raises PoolError for anything else."""
    match = _UNIT.fullmatch(unit)
    if match is None:
        raise PoolError(f"{unit!r} is no unit's name (16 hex digits, '-', number)")
    return match[1], int(match[2])


def base_of(unit: str) -> str:
    """The unit whose rows a follow-up (schemas.follow_ups) holds; any other unit itself."""
    return unit.partition(".r")[0]


def number_of(unit: str) -> int:
    """Which follow-up of its base a unit is, from 1; 0 for any other unit."""
    return int(unit.partition(".r")[2] or 0)
