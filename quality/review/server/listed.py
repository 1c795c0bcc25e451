"""Which tasks are about pairs that a block list of the environment names now: they are shown to nobody."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from quality.block_lists import STORED_COLUMNS, BlockLists
from schemas.columns import RAW
from schemas.pool import Pool

_RAW = [name for name in STORED_COLUMNS if name in RAW.names]
_PDQ = [name for name in STORED_COLUMNS if name not in RAW.names]
_PDQ_TYPES = {"image.pdq": pa.binary(32), "image.pdq_quality": pa.int32()}


class ListedPairs:
    """Tells the tasks whose pair is on a list: by its addresses, digests and PDQ, and by its bytes for lists of MD5 or SHA-1.

    A pair that is no longer in the pool as the task says counts as listed: nothing is known of it any more. digest: of the lists.
    """

    def __init__(self, pool: Pool, lists: BlockLists):
        self.pool, self.lists, self.digest = pool, lists, lists.digest

    def __call__(self, found: Sequence[Mapping[str, Any]]) -> set[str]:
        """found: task, unit, row, tar, offset and size of each."""
        by_unit = dict[str, list[Mapping[str, Any]]]()
        for each in found:
            by_unit.setdefault(each["unit"], []).append(each)
        return {task for unit, there in sorted(by_unit.items()) for task in _of_unit(self.pool, self.lists, unit, there)}


def _of_unit(pool: Pool, lists: BlockLists, unit: str, found: list[Mapping[str, Any]]) -> Iterable[str]:
    try:
        raw = pool.read_raw(unit, _RAW)
    except FileNotFoundError:
        yield from (each["task"] for each in found)
        return
    on_list = np.zeros(raw.num_rows, bool)
    for pdq in _hashes(pool, lists, unit, raw.num_rows):
        on_list |= lists.stored(pa.table([*raw.columns, *(pdq[name] for name in _PDQ)], names=[*_RAW, *_PDQ]))
    for each in found:
        if each["row"] >= raw.num_rows or on_list[each["row"]] or (lists.fetches_only and _bytes_are_listed(pool, lists, each)):
            yield each["task"]


def _hashes(pool: Pool, lists: BlockLists, unit: str, rows: int) -> Iterable[pa.Table]:
    """The PDQ hashes of each pass that has them; nulls where none has, or no list asks."""
    passes = [
        pass_.name
        for pass_ in (pool.passes() if lists.decodes else ())
        if any(set(_PDQ) <= set(scorer.columns) for scorer in pass_.scorers) and unit in pool.scored(pass_.name)
    ]
    for name in passes:
        yield pool.read_scores(name, unit, _PDQ)
    if not passes:
        yield pa.table({name: pa.nulls(rows, type_) for name, type_ in _PDQ_TYPES.items()})


def _bytes_are_listed(pool: Pool, lists: BlockLists, task: Mapping[str, Any]) -> bool:
    try:
        (data,) = pool.store.read_ranges(task["tar"], [(task["offset"], task["size"])])
    except FileNotFoundError:
        return True
    return lists.kind_of_bytes(data) is not None
