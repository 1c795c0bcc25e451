"""Which tasks are about pairs that a block list of the environment names now: they are shown to nobody."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from quality.block_lists import BlockLists, listed_rows
from schemas.pool import Pool


class ListedPairs:
    """Tells the tasks whose pair is on a list: by its addresses, digests and PDQ, and by its bytes for lists of MD5 or SHA-1.

    A pair that is no longer in the pool as the task says counts as listed: nothing is known of it any more. digest: of the lists.
    """

    def __init__(self, pool: Pool, lists: BlockLists):
        self.pool, self.lists, self.digest = pool, lists, lists.digest

    def __call__(self, found: Sequence[Mapping[str, Any]]) -> set[str]:
        """found: task, uid, unit, row, tar, offset and size of each."""
        by_unit = dict[str, list[Mapping[str, Any]]]()
        for each in found:
            by_unit.setdefault(each["unit"], []).append(each)
        return {task for unit, there in sorted(by_unit.items()) for task in _of_unit(self.pool, self.lists, unit, there)}


def _of_unit(pool: Pool, lists: BlockLists, unit: str, found: list[Mapping[str, Any]]) -> Iterable[str]:
    commit = pool.raw_commit(unit)
    rows = 0 if commit is None else commit.rows
    asked = np.zeros(rows, bool)
    asked[[each["row"] for each in found if each["row"] < rows]] = True
    on_list = listed_rows(pool, unit, lists, asked) if rows else asked
    for each in found:
        removed = lists.kind_of_uid(each.get("uid") or "") is not None
        if each["row"] >= rows or on_list[each["row"]] or removed or (lists.fetches_only and _bytes_are_listed(pool, lists, each)):
            yield each["task"]


def _bytes_are_listed(pool: Pool, lists: BlockLists, task: Mapping[str, Any]) -> bool:
    try:
        (data,) = pool.store.read_ranges(task["tar"], [(task["offset"], task["size"])])
    except FileNotFoundError:
        return True
    return lists.kind_of_bytes(data) is not None
