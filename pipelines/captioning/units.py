"""Gives every unit of a pool its captions of a version, one commit a unit: what is there is not made again."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from schemas.captions import CAPTIONS, CaptionVersion
from schemas.pool import Pool
from schemas.units import Commit, PoolError

Captioner = Callable[[Pool, Commit], pa.Array]  # the captions of a unit, one a row


@dataclass(frozen=True)
class Given:
    """What a version has of a pool. Rows: captioned + without = all that are committed; bare: of those without one, the fetched ones."""

    units: int
    made: int
    captioned: int
    without: int
    bare: int

    @property
    def rows(self) -> int:
        return self.captioned + self.without


def give_captions(
    pool: Pool, version: CaptionVersion, captions_of: Captioner, *, again: bool = False, tell: Callable[[int, int], None] = lambda *_: None
) -> Given:
    """Commits the captions of every unit that has none of this version. Rivals may do the same.

    again: asks for the captions of units that have theirs too, for what asking counts; they stay as they are. tell: (units done, of how many).
    Raises PoolError where rows do not add up.
    """
    units, there = sorted(pool.committed()), version.units()
    captioned = without = bare = made = 0
    for done, unit in enumerate(units):
        raw = pool.raw_commit(unit)
        assert raw is not None
        captions = captions_of(pool, raw) if again or unit not in there else None
        if unit not in there:
            assert captions is not None
            version.commit(raw, pa.table([pool.read_raw(unit, ["uid"])["uid"], captions], schema=CAPTIONS))
            made += 1
        counts = _counted(pool, version, raw)
        captioned, without, bare = captioned + counts[0], without + counts[1], bare + counts[2]
        tell(done + 1, len(units))
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
