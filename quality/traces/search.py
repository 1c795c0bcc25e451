"""The search of a whole dataset, object by object, in several processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

from quality.traces.removed import Removed
from quality.traces.views import views
from schemas.removals import FOLDER, Entries
from schemas.store import Store

_FEW: Final = 64_000_000  # bytes that one process searches before others have started
_SHOWN: Final = 20  # traces of one object


@dataclass(frozen=True)
class Trace:
    """where: an object's path below the dataset, then how it was decoded, step by step. what: of what it is a trace, in words."""

    where: str
    what: str


@dataclass(frozen=True)
class Searched:
    """traces: what was found, at most 20 an object. objects, bytes: how much was looked at."""

    traces: tuple[Trace, ...]
    objects: int
    bytes: int


def search(store: Store, entries: Entries, *, workers: int = 1) -> Searched:
    """All traces of what the entries stand for, but for the entries themselves (removals/); what lies beside a dataset
    behind a URL is looked through too. workers: processes. Raises StoreError."""
    stores = [store] if store.local is not None else [store, Store(store.beside)]
    objects = [
        (each, path, size) for each in stores for path, size in each.list() if each is not store or not path.startswith(f"{FOLDER}/")
    ]
    objects.sort(key=lambda each: -each[2])  # the largest first: the last ones end together
    total, look = sum(size for _, _, size in objects), partial(traces_of, entries)
    where, paths = [each for each, _, _ in objects], [path for _, path, _ in objects]
    if workers == 1 or total < _FEW:
        found = list(map(look, where, paths))
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as processes:
            found = list(processes.map(look, where, paths))
    return Searched(tuple(sorted((trace for some in found for trace in some), key=lambda trace: trace.where)), len(objects), total)


def traces_of(entries: Entries, store: Store, path: str) -> Sequence[Trace]:
    """The traces in one object, its name included."""
    return _first(in_bytes(Removed(entries), store.read(path), path))


def in_bytes(removed: Removed, data: bytes, path: str) -> Iterator[Trace]:
    """The traces in an object's name and in all that can be decoded from its bytes."""
    for where, view in chain([(f"{path}, name", path.encode())], views(data, path)):
        yield from (Trace(where, what) for what in removed.matches(view))


def _first(traces: Iterator[Trace]) -> list[Trace]:
    found = dict[Trace, None]()
    for trace in traces:
        found[trace] = None
        if len(found) == _SHOWN:
            break
    return list(found)
