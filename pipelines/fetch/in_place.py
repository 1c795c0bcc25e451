"""Units of tars of the user's: every image is measured and held against the lists where it lies, and stays there.

The commit then names the user's tar, and no image byte is copied. A pair on a block list makes the unit ours: the pool gets a tar without
that pair's bytes. The user's own tar is never touched; the job's summary names those that still hold such a pair.
"""

import mmap
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from pipelines.fetch.commit import raw_table
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.sink import Sink, key_of
from pipelines.fetch.store import Outcome, blocked
from pipelines.fetch.taker import Taken, Taker
from pipelines.sources.listing import TARS
from pipelines.sources.rows import InPlace
from pipelines.sources.tars import Place
from quality.block_lists import BlockLists
from quality.block_lists.match import Kind
from schemas.pool import Pool
from schemas.scratch import Scratch
from schemas.user_tar import UserTar


def commit_in_place(
    pool: Pool,
    unit: str,
    taken: InPlace,
    settings: FetchSettings,
    lists: BlockLists,
    *,
    listed: Sequence[Kind | None] | None,
    input_digest: str,
    apart: bool = False,
) -> None:
    """Commits a unit of a user's tar, adopting a rival's commit. listed, apart: as in pipelines.fetch.job.Work.

    Raises StoreError when the tar changes meanwhile.
    """
    rows = range(taken.source.num_rows)
    statuses = taken.source["status"].to_pylist()
    kinds = listed or [None] * len(rows)
    with (
        open(taken.tar.path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as tar,
        closing(Taker(settings, lists)) as taker,
    ):
        take = partial(taker.take, claims=[None], final_url=None, signals={}, apart=apart)
        outcomes = [_outcome(tar, taken.places[row], statuses[row], kinds[row], settings.max_bytes, take)[0] for row in rows]
        hits = [row for row in rows if outcomes[row].blocked_by is not None]
        keys = [key_of(row) if place is None else place.key for row, place in enumerate(taken.places)]
        with Scratch("fetch") as folder:
            if any(taken.places[row] is not None for row in hits):
                sink = Sink(Path(folder, "unit.tar"), len(rows))
                for row in rows:
                    sink.put(row, *_outcome(tar, taken.places[row], statuses[row], kinds[row], settings.max_bytes, take))
                outcomes, keys, copied = sink.whole(), [key_of(row) for row in rows], sink.close()
                images: Path | UserTar | None = None if copied is None else copied[0]
            else:
                copied, images = None, taken.tar
            taken.tar.check()
            if hits:
                pool.put_incident(unit, Counter[str](kind for outcome in outcomes if (kind := outcome.blocked_by) is not None))
            table = raw_table(unit, taken.source, outcomes, keys=keys)
            pool.commit(unit, table, tar=images, input_digest=input_digest, tar_sha256=None if copied is None else copied[1])


def tars_that_hold_listed(pool: Pool) -> list[str]:
    """Paths of the user's tars, sorted, with an image in them that a block list stopped: their unit is the pool's own for that."""
    found = set()
    for file in pool.files():
        for unit in file.units if file.kind in TARS else ():
            commit = pool.raw_commit(unit)
            if commit is not None and commit.user_tar is None:
                found.add(str(Path(file.source, file.path)))
    return sorted(found)


def _outcome(
    tar: mmap.mmap,
    place: Place | None,
    status: str | None,
    kind: Kind | None,
    max_bytes: int,
    take: Callable[[bytes], Taken],
) -> tuple[Outcome, bytes | None]:
    """What a row says of its image, with the image's place in the user's tar, and its bytes where they can be taken."""
    if kind is not None:
        return blocked(kind), None
    if status is not None or place is None:
        return Outcome(status or "invalid"), None
    if place.size > max_bytes:
        return Outcome("failed_to_download", f"too_large: more than {max_bytes:,} bytes"), None
    [(outcome, data)] = take(tar[place.offset : place.offset + place.size])
    if data is not None:
        outcome.offset, outcome.exif = place.offset, place.exif
        outcome.original_width = place.original_width or outcome.original_width
        outcome.original_height = place.original_height or outcome.original_height
    return outcome, data
