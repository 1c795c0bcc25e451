"""Compiled loops of the near-duplicate search.

A hash is four uint64 columns; `columns` is uint64 (4, n), sorted so that a bucket's hashes lie together, and a *position* is a place in it.
Candidates are copied to a tile of TILE hashes that stays in the L1 cache, from as many buckets as it takes: at a million hashes a bucket
holds fifteen, too few for a vector loop. All of it is one file because numba's cache on disk does not see changes in other files.
All functions release the GIL. A distance is a count of differing bits; `bound` is inclusive; `slack` is 1 or 0.
"""

from typing import Any, Final

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

TILE: Final = 1024  # hashes: 32 KiB
BANDS: Final = 16
BUCKETS: Final = 1 << 16


@intrinsic
def _popcount(typing, value):
    """Set bits of a uint64, as int64: LLVM's ctpop, which becomes a vector instruction where the processor has one."""

    def emit(_context, builder, _signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), emit


popcount: Any = _popcount  # for the type checker: called in compiled code, an intrinsic takes one argument, not two


@njit(nogil=True, cache=True)
def distance(a, at, b, to):
    """Between a[:, at] and b[:, to]."""
    low = popcount(a[0, at] ^ b[0, to]) + popcount(a[1, at] ^ b[1, to])
    return low + popcount(a[2, at] ^ b[2, to]) + popcount(a[3, at] ^ b[3, to])


@njit(nogil=True, cache=True)
def hits(columns, position, tile, start, stop, bound):
    """How many of tile[:, start:stop] lie within the bound."""
    # Slices from 0: an index that might be negative is checked by numba, and the loop would not become vector instructions.
    c0, c1, c2, c3 = tile[0, start:stop], tile[1, start:stop], tile[2, start:stop], tile[3, start:stop]
    w, x, y, z = columns[0, position], columns[1, position], columns[2, position], columns[3, position]
    found = 0
    for t in range(len(c0)):
        found += popcount(w ^ c0[t]) + popcount(x ^ c1[t]) + popcount(y ^ c2[t]) + popcount(z ^ c3[t]) <= bound
    return found


@njit(nogil=True, cache=True)
def count_keys(keys, starts):
    """starts, int64 (BUCKETS + 1): where each key's bucket begins."""
    starts[:] = 0
    for row in range(len(keys)):
        starts[keys[row] + 1] += 1
    for key in range(BUCKETS):
        starts[key + 1] += starts[key]


@njit(nogil=True, cache=True)
def place(keys, first, last, starts, rows, order, columns):
    """Sorts rows with first <= key < last into `order` and `columns`, stably. rows: uint64 (n, 4), the hashes."""
    ends = starts[first:last].copy()
    for row in range(len(keys)):
        key = keys[row]
        if first <= key < last:
            to = ends[key - first]
            ends[key - first] += 1
            order[to] = row
            columns[0, to] = rows[row, 0]
            columns[1, to] = rows[row, 1]
            columns[2, to] = rows[row, 2]
            columns[3, to] = rows[row, 3]


@njit(nogil=True, cache=True)
def fill(tile, at, columns, segments, cursor):
    """Copies the next candidates of `segments` (int64 (k, 2): positions from, to) to the tile, their positions to `at`; returns how many.

    cursor: int64 (2), segment and offset in it; starts as zeros.
    """
    filled = 0
    while cursor[0] < len(segments) and filled < TILE:
        begin = segments[cursor[0], 0] + cursor[1]
        take = min(TILE - filled, segments[cursor[0], 1] - begin)
        for column in range(4):
            source, target = columns[column, begin : begin + take], tile[column, filled : filled + take]
            for k in range(take):
                target[k] = source[k]
        for k in range(take):
            at[filled + k] = begin + k
        filled += take
        cursor[1] += take
        if begin + take == segments[cursor[0], 1]:
            cursor[0] += 1
            cursor[1] = 0
    return filled


@njit(nogil=True, cache=True)
def segments_of(bucket, starts, slack, both, segments):
    """The bucket itself, then (with slack) its neighbours at one bit, larger ones only unless `both`; returns how many are not empty."""
    segments[0, 0], segments[0, 1] = starts[bucket], starts[bucket + 1]
    found = 1
    for bit in range(16 * slack):
        other = bucket ^ (1 << bit)
        if (both or other > bucket) and starts[other] < starts[other + 1]:
            segments[found, 0], segments[found, 1] = starts[other], starts[other + 1]
            found += 1
    return found


@njit(nogil=True, cache=True)
def mark(segments, columns, met, bound):
    """Marks in `met` (uint8, by position) what lies within the bound of another: segment 0 with itself and with all others.

    Two that are both marked need not be compared: a heap of hashes that are all alike costs its first hash's comparisons.
    """
    tile, at = np.empty((4, TILE), np.uint64), np.empty(TILE, np.int64)
    cursor = np.zeros(2, np.int64)
    first, last = segments[0]
    open_here = 0
    for position in range(first, last):
        open_here += met[position] == 0
    while True:
        filled = fill(tile, at, columns, segments, cursor)
        if filled == 0:
            return
        open_there = 0
        for t in range(filled):
            open_there += met[at[t]] == 0
        if open_here == 0 and open_there == 0:
            continue
        own = min(last - at[0], filled) if first <= at[0] < last else 0
        for position in range(first, last):
            if met[position] and open_there == 0:
                continue
            start = min(max(position + 1 - at[0], 0), own)  # of its own bucket, only what comes after it
            if hits(columns, position, tile, start, filled, bound) == 0:
                continue
            if not met[position]:
                met[position] = 1
                open_here -= 1
                open_there -= at[0] <= position < at[0] + own
            for t in range(start, filled):
                if not met[at[t]] and distance(columns, position, tile, t) <= bound:
                    met[at[t]] = 1
                    open_there -= 1
                    open_here -= t < own


@njit(nogil=True, cache=True)
def mark_buckets(first, last, starts, columns, met, bound, slack):
    """:func:`mark` for buckets first (inclusive) to last (exclusive)."""
    segments = np.empty((17, 2), np.int64)
    for bucket in range(first, last):
        if starts[bucket] < starts[bucket + 1]:
            found = segments_of(bucket, starts, slack, False, segments)
            mark(segments[:found], columns, met, bound)


@njit(nogil=True, cache=True)
def met_before(columns, position, tile, t, band, slack):
    """Whether an earlier band brought the two together: then they need not be looked at again."""
    for earlier in range(band):
        word, shift = earlier >> 2, np.uint64(16 * (earlier & 3))
        if popcount(((columns[word, position] ^ tile[word, t]) >> shift) & np.uint64(0xFFFF)) <= slack:
            return True
    return False


@njit(nogil=True, cache=True)
def colour_sums(thumbnails, sums):
    """sums, int32 (n, 3): of L, a, b over the 64 cells of each thumbnail, uint8 (n, 192)."""
    for row in range(len(thumbnails)):
        sums[row] = 0
        for value in range(192):
            sums[row, value % 3] += thumbnails[row, value]


@njit(nogil=True, cache=True)
def same_colours(thumbnails, sums, a, b, bound):
    """Whether the mean Euclidean distance of the 64 Lab cells of rows a and b is at most `bound`.

    The distance of the means is never larger than the mean of the distances: most pairs of other colours end there.
    """
    most = 64.0 * bound
    apart = np.int64(0)
    for channel in range(3):
        apart += (np.int64(sums[a, channel]) - sums[b, channel]) ** 2
    if apart > most * most * (1 + 1e-12) + 1e-6:
        return False
    total = 0.0
    for cell in range(0, 192, 3):
        squared = np.int64(0)
        for channel in range(3):
            squared += (np.int64(thumbnails[a, cell + channel]) - thumbnails[b, cell + channel]) ** 2
        total += np.sqrt(np.float64(squared))
    return total <= most


@njit(nogil=True, cache=True)
def beat(loser, winner_group, offsets, members, thumbnails, sums, best, colour_bound):
    """Lets the members of one group of equal hashes beat those of another (or of the same).

    offsets, members: the groups; members ascend. best, int32 (n): each row's best row so far, itself if none; rows are in rank order.
    Returns the largest `best` of the losing group: rows from there on cannot beat any of its members.
    """
    reach = -1
    for place_ in range(offsets[loser], offsets[loser + 1]):
        row = members[place_]
        for other in range(offsets[winner_group], offsets[winner_group + 1]):
            candidate = members[other]
            if candidate >= best[row]:
                break
            if same_colours(thumbnails, sums, row, candidate, colour_bound):
                best[row] = candidate
                break
        reach = max(reach, best[row])
    return reach


@njit(nogil=True, cache=True)
def settle_equals(first, last, offsets, members, thumbnails, sums, best, reach, colour_bound):
    """:func:`beat` of each group with itself, groups first (inclusive) to last (exclusive); sets `reach`."""
    for group in range(first, last):
        reach[group] = beat(group, group, offsets, members, thumbnails, sums, best, colour_bound)


@njit(nogil=True, cache=True)
def settle(first, last, segments, columns, order, offsets, members, thumbnails, sums, best, reach, bound, colour_bound, band, slack):
    """Finds what beats the groups at positions first (inclusive) to last (exclusive) among the groups of `segments`.

    order: the group at each position; groups are numbered by their best member, and ascend within a segment. Of the segments only the first
    may hold losers. Writes `best` and `reach` of the groups at first to last only, so that threads with other positions need no lock.
    """
    tile, at = np.empty((4, TILE), np.uint64), np.empty(TILE, np.int64)
    cursor = np.zeros(2, np.int64)
    while True:
        filled = fill(tile, at, columns, segments, cursor)
        if filled == 0:
            return
        lowest = len(best)
        for t in range(filled):
            if t == 0 or at[t] != at[t - 1] + 1 or order[at[t]] < order[at[t - 1]]:
                lowest = min(lowest, members[offsets[order[at[t]]]])
        own = min(last - at[0], filled) if first <= at[0] < last else 0
        for position in range(first, last):
            group = order[position]
            itself = at[0] <= position < at[0] + own
            if lowest >= reach[group] or hits(columns, position, tile, 0, filled, bound) == itself:
                continue
            for t in range(filled):
                other = order[at[t]]
                if (
                    members[offsets[other]] < reach[group]
                    and other != group
                    and distance(columns, position, tile, t) <= bound
                    and not met_before(columns, position, tile, t, band, slack)
                ):
                    reach[group] = beat(group, other, offsets, members, thumbnails, sums, best, colour_bound)


@njit(nogil=True, cache=True)
def settle_buckets(first, last, starts, columns, order, offsets, members, thumbnails, sums, best, reach, bound, colour_bound, band, slack):
    """:func:`settle` for buckets first (inclusive) to last (exclusive), each with itself and its neighbours."""
    segments = np.empty((17, 2), np.int64)
    for bucket in range(first, last):
        begin, end = starts[bucket], starts[bucket + 1]
        if begin < end:
            found = segments_of(bucket, starts, slack, True, segments)
            # fmt: off
            settle(begin, end, segments[:found], columns, order, offsets, members, thumbnails, sums, best, reach, bound, colour_bound,
                   band, slack)
            # fmt: on
