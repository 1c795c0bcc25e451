"""Gives every unit of a pool its captions of a version, one commit a unit: what is there is not made again."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from schemas.captions import CAPTIONS, CaptionVersion
from schemas.pool import Pool
from schemas.units import Commit, PoolError

Captioner = Callable[[Pool, Commit], pa.Array]  # the captions of a unit, one a row


@dataclass(frozen=True)
class Given:
    """What a version has of some units of a pool, of which `made` are new. captioned + without = all their rows; bare: of those without a
    caption, the fetched ones."""

    units: int
    made: int
    captioned: int
    without: int
    bare: int

    @property
    def rows(self) -> int:
        return self.captioned + self.without


def part_of(units: Iterable[str], part: tuple[int, int] = (1, 1)) -> list[str]:
    """The k-th of n parts of the units, as (k, n), that share them out."""
    return sorted(units)[part[0] - 1 :: part[1]]


def rows_to_do(pool: Pool, version: CaptionVersion, units: Sequence[str]) -> int:
    """Rows of those units that have no captions of this version yet."""
    missing = set(units) - version.units()
    return sum(commit.rows for unit in missing if (commit := pool.raw_commit(unit)) is not None)


def give_captions(pool: Pool, version: CaptionVersion, units: Sequence[str], captions_of: Captioner) -> Given:
    """Commits the captions of every unit that has none of this version. Rivals may do the same. Raises PoolError where rows do not add up."""
    there = version.units()
    captioned = without = bare = made = 0
    for unit in units:
        raw = pool.raw_commit(unit)
        assert raw is not None
        if unit not in there:
            captions = captions_of(pool, raw)
            version.commit(raw, pa.table([pool.read_raw(unit, ["uid"])["uid"], captions], schema=CAPTIONS))
            made += 1
        counts = _counted(pool, version, raw)
        captioned, without, bare = captioned + counts[0], without + counts[1], bare + counts[2]
    return Given(len(units), made, captioned, without, bare)


def _counted(pool: Pool, version: CaptionVersion, raw: Commit) -> tuple[int, int, int]:
    """(captioned, without, of these the fetched ones) of a unit, from what is committed. Raises PoolError."""
    commit = version.commit_of(raw.unit)
    assert commit is not None
    captioned, without = commit.statuses["captioned"], commit.statuses["without"]
    if commit.input_digest != raw.content_digest or captioned + without != raw.rows:
        raise PoolError(
            f"version {version.name} of the captions has {captioned + without} rows of unit {raw.unit}, which has {raw.rows}, or of another commit "
            f"of it; delete {pool.store.path_of(version.path)}/{raw.unit}.parquet and run the command again"
        )
    null = pc.is_null(version.read(raw.unit)["caption"])
    fetched = pc.equal(pool.read_raw(raw.unit, ["status"])["status"], "success")
    return captioned, without, pc.sum(pc.and_(null, fetched)).as_py() or 0
