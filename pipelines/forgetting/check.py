"""`forget --check`: a search of the whole dataset, and of its review's database, for what was removed."""

from pipelines.forgetting.reviews import has_database
from pipelines.options import UsageError
from quality.review.server.database import open_database, url_of
from quality.review.server.forget import stored_texts
from quality.traces.removed import Removed
from quality.traces.search import Trace, search
from schemas.pool import Pool
from schemas.removals import removals, union_of

_SHOWN = 50


def check_lines(pool: Pool, id: str | None, *, database: str | None = None, workers: int = 1) -> tuple[int, list[str]]:
    """(how many traces there are, what to tell). id: of one removal; None: all. Raises UsageError where there is no such removal."""
    wanted = [removal for removal in removals(pool.store) if id in (None, removal.id)]
    if not wanted:
        there = ", ".join(removal.id for removal in removals(pool.store)) or "none"
        raise UsageError(f"{pool.store.root} has no removal{'' if id is None else f' {id}'}; there is {there}")
    entries = union_of(removal.entries() for removal in wanted)
    searched = search(pool.store, entries, workers=workers)
    traces = list(searched.traces)
    if has_database(pool.store, database):
        removed, opened = Removed(entries), open_database(url_of(pool.store, database))
        try:
            traces += [
                Trace(f"the review's database, {table}", what) for table, data in stored_texts(opened) for what in removed.matches(data)
            ]
        finally:
            opened.close()
    unfinished = [removal.id for removal in wanted if removal.done() is None]
    lines = [f"  {trace.where}: {trace.what}" for trace in traces[:_SHOWN]]
    lines += [f"  and {len(traces) - _SHOWN:,} more"] if len(traces) > _SHOWN else []
    lines += [f"  removal {id} is not done: python -m pipelines.forget --dataset {pool.store.root} --resume" for id in unfinished]
    told = f"{searched.objects:,} objects, {searched.bytes / 1e6:,.1f} MB, searched for {sum(map(len, entries.values())):,} digests"
    return len(traces), [f"{told}: {f'{len(traces):,} traces' if traces else 'no trace'}", *lines]
