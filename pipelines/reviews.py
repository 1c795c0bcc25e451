"""What people decided, as a job takes it: settled, of pairs that the pool has and no list names, and frozen in the release before its graph runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from quality.block_lists import BlockLists, listed_uids
from quality.review.files import find_answers, read_answers
from quality.review.settle import settle
from schemas.digest import digest_of_table
from schemas.pool import Pool
from schemas.release import Release
from schemas.reviews import SETTLED
from schemas.store import open_store


@dataclass(frozen=True)
class Reviews:
    """settled: SETTLED about pairs of the pool. unsettled: pairs and questions without an outcome. elsewhere: settled ones about pairs that
    the pool does not have. listed: settled ones about pairs on a block list now. read: the answers' file; None where there is none."""

    settled: pa.Table
    unsettled: int = 0
    elsewhere: int = 0
    listed: int = 0
    read: str | None = None

    @property
    def digest(self) -> str | None:
        """None where nothing is settled: a release is then the one that the rules alone give."""
        return digest_of_table(self.settled) if self.settled.num_rows else None

    def freeze(self, release: Release) -> None:
        """Puts the release's own copy, which the workers read."""
        if self.settled.num_rows:
            release.put_settled(self.settled)

    def told(self) -> dict[str, Any] | None:
        """What a run and a manifest say of it."""
        if self.digest is None:
            return None
        return {"digest": self.digest, "settled": self.settled.num_rows, "pairs": len(pc.unique(self.settled["uid"]))}

    def line(self, counts: dict[str, int]) -> str | None:
        """For the screen. counts: accepted and rejected rows of the release; a pair that stands in the pool twice has two."""
        if self.read is None:
            return None
        pairs = len(pc.unique(self.settled["uid"]))
        told = [f"people decided about {pairs:,} pairs: {counts['accepted']:,} rows accepted, {counts['rejected']:,} rejected"]
        told += [f"questions left open: {self.unsettled:,}"] * bool(self.unsettled)
        told += [f"decisions about pairs that this pool does not have: {self.elsewhere:,}"] * bool(self.elsewhere)
        told += [f"decisions about pairs on a block list now, which do not count: {self.listed:,}"] * bool(self.listed)
        return "; ".join(told) + f"  ({self.read})"


def open_reviews(pool: Pool, units: Sequence[str], given: str | None, lists: BlockLists) -> Reviews:
    """The decisions that a select of these units takes. given: a file, "none", or None for the dataset's own. Raises UsageError.

    What is on one of the lists is not among them: nothing of it is frozen.
    """
    found = find_answers(pool.store, given)
    if found is None:
        return Reviews(SETTLED.empty_table())
    store, path = found
    settlement = settle(read_answers(store, path))
    ours = settlement.settled.filter(pc.is_in(settlement.settled["uid"], _there(pool, units, settlement.settled["uid"]))).combine_chunks()
    free = ours.filter(pc.invert(pc.is_in(ours["uid"], value_set=listed_uids(pool, lists, ours["uid"])))).combine_chunks()
    elsewhere, listed = settlement.settled.num_rows - ours.num_rows, ours.num_rows - free.num_rows
    return Reviews(free, settlement.unsettled, elsewhere, listed, store.path_of(path))


def check_reviews(dataset: str, given: str | None) -> None:
    """Reads the answers before hours of fetching. Raises UsageError where they cannot be taken."""
    found = find_answers(open_store(dataset), given)
    if found is not None:
        read_answers(*found)


def _there(pool: Pool, units: Sequence[str], uids: pa.ChunkedArray) -> pa.Array:
    """Which of the uids the pool has. Reads a column of each unit until all are found."""
    wanted = pc.unique(uids)
    found = list[pa.Array]()
    for unit in units:
        if not len(wanted):
            break
        here = pc.is_in(wanted, value_set=pool.read_raw(unit, ["uid"])["uid"])
        found.append(wanted.filter(here))
        wanted = wanted.filter(pc.invert(here))
    return pa.concat_arrays(found) if found else pa.array([], pa.string())
