"""Near-duplicates: pairs whose pictures differ by little. Of two, the better-ranked stays.

Two pictures are near when their PDQ hashes differ in at most `distance` of 256 bits, both have the quality, and the mean Euclidean distance
of their 8x8 Lab thumbnails is at most `colour_distance` (PDQ sees no colour: drawn hearts of six colours are at distance 0).
**A pair is dropped if a better-ranked pair is near**, itself dropped or not; the reason names the best-ranked one that is near. Ranks are
total, so the answer does not depend on any order. No components: they percolate.

The search is complete to distance 31. A hash has 16 bands of 16 consecutive bits; two hashes that differ in 31 bits have a band in which
they differ in one bit at most (two in each would be 32). In each band the hashes are sorted by the band's value, and a bucket is compared
with itself and with the buckets one bit away: N^2 / 482 comparisons in all. To distance 15 equal values suffice. `fast` compares equal
values only at every distance: it finds all to 15, 99.9 % at 20, 91 % at 31.

Two phases, so that 192 bytes of thumbnail are read for few: :func:`met` needs hashes alone (116 bytes a row with the input's 32) and says which
rows have any other within the distance; :func:`winners` takes hashes, ranks and thumbnails of those.

Work is bounded so. Memory never depends on how many pairs are near: they are never listed. Rows that are all alike cost one row's comparisons in
`met`; in `winners` equal hashes are one, and a row looks only at rows that are better than the best found so far. What stays quadratic is a
heap of pictures within the distance of one another whose colours all differ: at most one look a pair at the mean colours.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import numpy as np

from quality.near import kernels

DISTANCE: Final = 31  # threatexchange, PdqSignal.PDQ_CONFIDENT_MATCH_THRESHOLD; and the largest that the bands find
QUALITY: Final = 50  # threatexchange, PdqSignal.QUALITY_THRESHOLD
_SHARES = 64  # of the buckets, for each thread: buckets are of very different sizes

RunAll = Callable[[Callable[[int, int], None], np.ndarray], None]


def near_losers(
    hashes: np.ndarray,
    quality: np.ndarray,
    rank: np.ndarray,
    thumbnails_of: Callable[[np.ndarray], np.ndarray],
    *,
    colour_distance: float,
    distance: int = DISTANCE,
    minimum_quality: int = QUALITY,
    fast: bool = False,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that lose, ascending, and the row that each loses to; int64 both.

    hashes: uint8 (n, 32). quality: (n,), negative where there is no hash. rank: (n,), distinct integers, smaller is better.
    thumbnails_of(rows): uint8 (len(rows), 192) of rows, ascending; asked once, for the few that met. All bounds are inclusive.
    """
    usable = np.flatnonzero(np.asarray(quality) >= minimum_quality)
    chosen = hashes if len(usable) == len(hashes) else hashes[usable]
    rows = usable[met(chosen, distance=distance, fast=fast, threads=threads)]
    won = winners(
        hashes[rows], rank[rows], thumbnails_of(rows), colour_distance=colour_distance, distance=distance, fast=fast, threads=threads
    )
    lost = np.flatnonzero(won >= 0)
    return rows[lost], rows[won[lost]]


def met(hashes: np.ndarray, *, distance: int = DISTANCE, fast: bool = False, threads: int = 1) -> np.ndarray:
    """Which of `hashes`, uint8 (n, 32), have another one within `distance` (inclusive, 0..31): bool (n,)."""
    slack = slack_of(distance, fast)
    words = words_of(hashes)
    found = np.zeros(len(words), np.uint8)
    buckets = _Buckets(words)
    with _threads(threads) as run:
        for band in range(kernels.BANDS):
            buckets.sort(band, run, threads)
            marks = found[buckets.order]

            def search(first: int, last: int, marks: np.ndarray = marks) -> None:
                kernels.mark_buckets(first, last, buckets.starts, buckets.columns, marks, distance, slack)

            run(search, buckets.shares(threads))
            found[buckets.order] = marks
    return found.astype(bool)


def winners(
    hashes: np.ndarray,
    rank: np.ndarray,
    thumbnails: np.ndarray,
    *,
    colour_distance: float,
    distance: int = DISTANCE,
    fast: bool = False,
    threads: int = 1,
) -> np.ndarray:
    """For each row the best-ranked row that is near and better-ranked, or -1: int64 (n,).

    hashes: uint8 (n, 32). rank: (n,), distinct integers, smaller is better. thumbnails: uint8 (n, 192), L a b of cell after cell.
    Raises ValueError when two rows have one rank: the answer would depend on their order.
    """
    slack = slack_of(distance, fast)
    ranked = np.argsort(rank, kind="stable")
    if (np.diff(np.asarray(rank)[ranked]) == 0).any():
        raise ValueError("two rows have one rank")
    groups = Groups(words_of(hashes)[ranked], np.ascontiguousarray(thumbnails[ranked]), colour_distance)
    buckets = _Buckets(groups.words)
    with _threads(threads) as run:
        run(groups.settle_equals, np.linspace(0, len(groups.words), _SHARES * threads + 1).astype(np.int64))
        for band in range(kernels.BANDS):
            buckets.sort(band, run, threads)

            def search(first: int, last: int, band: int = band) -> None:
                starts, columns, order = buckets.starts, buckets.columns, buckets.order
                kernels.settle_buckets(first, last, starts, columns, order, *groups.state, distance, colour_distance, band, slack)

            run(search, buckets.shares(threads))
    return groups.winners(ranked)


class Groups:
    """Equal hashes as one. Rows come in rank order; groups are numbered by their best row.

    words: uint64 (groups, 4). state: what the kernels call offsets, members, thumbnails, sums, best, reach.
    """

    def __init__(self, words: np.ndarray, thumbnails: np.ndarray, colour_distance: float):
        n = len(words)
        order = np.lexsort(tuple(words.T))  # stable: rows of a group stay in rank order
        begins = np.flatnonzero(np.r_[np.ones(min(n, 1), bool), (words[order[1:]] != words[order[:-1]]).any(axis=1)])
        by_best = np.argsort(order[begins])
        sizes = np.diff(np.r_[begins, n])[by_best]
        offsets = np.zeros(len(begins) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        members = order[np.repeat(begins[by_best] - offsets[:-1], sizes) + np.arange(n)]
        sums = np.empty((n, 3), np.int32)
        kernels.colour_sums(thumbnails, sums)
        self.words = words[members[offsets[:-1]]]
        self.colour_distance = colour_distance
        self.best = np.arange(n)
        self.state = (offsets, members, thumbnails, sums, self.best, np.empty(len(begins), np.int64))

    def settle_equals(self, first: int, last: int) -> None:
        kernels.settle_equals(first, last, *self.state, self.colour_distance)

    def winners(self, ranked: np.ndarray) -> np.ndarray:
        """The winner of each row or -1, by the rows' own numbers. ranked: the row at each rank."""
        won = np.empty(len(ranked), np.int64)
        won[ranked] = np.where(self.best == np.arange(len(ranked)), -1, ranked[self.best])
        return won


def slack_of(distance: int, fast: bool) -> int:
    """Bits by which a band may differ. Raises ValueError for a distance to which the bands are not complete."""
    if not 0 <= distance <= DISTANCE:
        raise ValueError(f"the distance must be from 0 to {DISTANCE}, to which the search is complete; got {distance}")
    return 0 if fast or distance < kernels.BANDS else 1


def words_of(hashes: np.ndarray) -> np.ndarray:
    """uint8 (n, 32) as uint64 (n, 4), a view where it can be. Raises ValueError for another shape or type."""
    if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] != 32:
        raise ValueError(f"hashes must be uint8 (n, 32), got {hashes.dtype} {hashes.shape}")
    return np.ascontiguousarray(hashes).view(np.uint64)


class _Buckets:
    """Hashes sorted by one band's value. starts: of the 65,536 buckets; order: int32, the row at each position; columns: uint64 (4, n)."""

    def __init__(self, words: np.ndarray):
        self.words = words
        self.starts = np.zeros(kernels.BUCKETS + 1, np.int64)
        self.order = np.empty(len(words), np.int32)
        self.columns = np.empty((4, len(words)), np.uint64)

    def sort(self, band: int, run: RunAll, threads: int) -> None:
        keys = np.ascontiguousarray(self.words.view(np.uint16)[:, band])
        kernels.count_keys(keys, self.starts)

        def place(first: int, last: int) -> None:
            kernels.place(keys, first, last, self.starts, self.words, self.order, self.columns)

        run(place, self.shares(threads, each=1))

    def shares(self, threads: int, each: int = _SHARES) -> np.ndarray:
        """Where to cut the buckets into `each` parts a thread of about equally many hashes; ascending, 0 to 65,536."""
        wanted = np.linspace(0, len(self.words), threads * each + 1)[1:-1]
        return np.r_[0, np.searchsorted(self.starts[:-1], wanted), kernels.BUCKETS]


@contextmanager
def _threads(threads: int) -> Iterator[RunAll]:
    """run(function, cuts): function(cuts[i], cuts[i + 1]) for every i on that many threads; an error in one is raised."""
    with ThreadPoolExecutor(threads) as executor:

        def run(function: Callable[[int, int], None], cuts: np.ndarray) -> None:
            for _ in executor.map(function, cuts[:-1].tolist(), cuts[1:].tolist()):
                pass

        yield run
