"""Units of tars of the user's: every image is measured and held against the lists where it lies, and stays there.

The commit then names the user's tar, and no image byte is copied. A pair on a block list makes the unit ours: the pool gets a tar without
that pair's bytes. The user's own tar is never touched; the job's summary names those that still hold such a pair.

`sha256` is measured of the bytes in the tar. What a source says of it is carried as `expected_sha256` and held against lists, but not against
these bytes: img2dataset's is of the bytes before it converted them. No host is asked for anything; what the image itself says of mining counts.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pipelines.fetch.commit import raw_table
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.sink import Sink, key_of
from pipelines.fetch.store import Outcome, blocked
from pipelines.fetch.taker import Taken, Taker
from pipelines.sources.listing import TARS
from pipelines.sources.places import open_bytes, place_of
from pipelines.sources.rows import InPlace
from pipelines.sources.tars import Place
from quality.block_lists import BlockLists
from quality.block_lists.match import Kind
from schemas.pool import Pool
from schemas.reasons import error_word
from schemas.scratch import Scratch
from schemas.units import split_unit
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
    statuses, messages = (taken.source[name].to_pylist() for name in ("status", "error_message"))
    kinds = listed or [None] * len(rows)
    with open_bytes(taken.tar.path) as tar, closing(Taker(settings, lists)) as taker:
        take = partial(taker.take, claims=[None], final_url=None, signals={}, apart=apart)

        def outcome_of(row: int) -> tuple[Outcome, bytes | None]:
            place, status = taken.places[row], statuses[row]
            if kinds[row] is None and status is None and place is not None:
                return _measured(tar, place, settings.max_bytes, take)
            return _told(kinds[row], status or "invalid", messages[row]), None

        outcomes = [outcome_of(row)[0] for row in rows]
        hits = [row for row in rows if outcomes[row].blocked_by is not None]
        keys = [key_of(row) if place is None else place.key for row, place in enumerate(taken.places)]
        with Scratch("fetch") as folder:
            if any(taken.places[row] is not None for row in hits):
                sink = Sink(Path(folder, "unit.tar"), len(rows))
                for row in rows:
                    sink.put(row, *outcome_of(row))
                outcomes, keys, copied = sink.whole(), [key_of(row) for row in rows], sink.close()
                images: Path | UserTar | None = None if copied is None else copied[0]
            else:
                copied, images = None, taken.tar
            taken.tar.check()
            if hits:
                pool.put_incident(unit, Counter[str](kind for outcome in outcomes if (kind := outcome.blocked_by) is not None))
            table = raw_table(unit, taken.source, outcomes, keys=keys)
            pool.commit(unit, table, tar=images, input_digest=input_digest, tar_sha256=None if copied is None else copied[1])


def is_of_tar(pool: Pool, unit: str) -> bool:
    """Whether the rows of a unit, a follow-up too, are those of a tar of the user's."""
    file = pool.file(split_unit(unit)[0])
    return file is not None and file.kind in TARS


def tars_that_hold_listed(pool: Pool, listed: Mapping[str, int]) -> list[str]:
    """Paths of the user's tars, sorted, with an image in them that a block list stopped. listed: how many rows of a unit are on a list now.

    A unit that met the list when it was taken is the pool's own for that; one whose images were listed later still names the user's tar.
    """
    found = set()
    for file in pool.files():
        for unit in file.units if file.kind in TARS else ():
            commit = pool.raw_commit(unit)
            if commit is not None and (commit.user_tar is None or listed.get(unit, 0) > commit.statuses.get("blocked", 0)):
                found.add(str(place_of(file.source) / file.path))
    return sorted(found)


def _told(kind: Kind | None, status: str, message: str | None) -> Outcome:
    """What a row says whose image is not looked at: it is on a list, or the source says what is wrong with it."""
    if kind is not None:
        return blocked(kind)
    # The one opt-out that img2dataset heeds, and notes.
    return Outcome(status).say({"x-robots-tag": False} if error_word(message) == "optout" else {})


def _measured(tar: BinaryIO, place: Place, max_bytes: int, take: Callable[[bytes], Taken]) -> tuple[Outcome, bytes | None]:
    """What a row says of its image, with the image's place in the user's tar, and its bytes where they can be taken."""
    if place.size > max_bytes:
        return Outcome("failed_to_download", f"too_large: more than {max_bytes:,} bytes"), None
    tar.seek(place.offset)
    [(outcome, data)] = take(tar.read(place.size))
    if data is not None:
        outcome.offset, outcome.exif = place.offset, place.exif
        outcome.original_width = place.original_width or outcome.original_width
        outcome.original_height = place.original_height or outcome.original_height
    return outcome, data
