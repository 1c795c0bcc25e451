"""The same search by a shuffle, for more hashes than one worker's memory holds.

:func:`band_rows` says under which keys a hash is sent: 16 home rows, and a guest row for each set bit of the hash (half of PDQ's 256 are set, for
its coefficients are compared with their median): of two buckets one bit apart, the larger one's hashes visit the smaller one. A group by key is
then complete by itself: home rows meet each other and the guests; guests do not meet guests. Two hashes may meet under several keys; that changes
nothing, since `met` is a logical or, and of several winners the best-ranked one is taken (:func:`best_of`).
"""

import numpy as np

from quality.near import kernels
from quality.near_duplicates import DISTANCE, Groups, slack_of, words_of


def band_rows(hashes: np.ndarray, *, distance: int = DISTANCE, fast: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(key, row, home): uint32 band * 65,536 + value, int32 row of `hashes` (uint8 (n, 32)), and whether the row is at home there.

    About 144 rows a hash; 16 when `fast` or to distance 15.
    """
    values = words_of(hashes).view(np.uint16)
    bands = np.arange(kernels.BANDS, dtype=np.uint32) << 16
    rows = np.arange(len(values), dtype=np.int32)
    keys, owners = [(values | bands).ravel()], [np.repeat(rows, kernels.BANDS)]
    if slack_of(distance, fast):
        for bit in range(16):
            row, band = np.nonzero(values & np.uint16(1 << bit))
            keys.append((values[row, band] ^ np.uint16(1 << bit)) | bands[band])
            owners.append(rows[row])
    home = np.zeros(sum(map(len, keys)), bool)
    home[: len(keys[0])] = True
    return np.concatenate(keys), np.concatenate(owners), home


def met_in_group(hashes: np.ndarray, home: np.ndarray, *, distance: int = DISTANCE) -> np.ndarray:
    """Which rows of one key's group have another one within `distance`: bool (n,). hashes: uint8 (n, 32); home: bool (n,)."""
    order = np.argsort(~home, kind="stable")
    marks = np.zeros(len(home), np.uint8)
    kernels.mark(_segments(home), np.ascontiguousarray(words_of(hashes)[order].T), marks, distance)
    found = np.empty(len(home), bool)
    found[order] = marks
    return found


def winners_in_group(
    hashes: np.ndarray,
    home: np.ndarray,
    rank: np.ndarray,
    thumbnails: np.ndarray,
    *,
    colour_distance: float,
    distance: int = DISTANCE,
) -> np.ndarray:
    """For each row of one key's group the best-ranked row of it that is near and better-ranked, or -1: int64 (n,).

    As :func:`quality.near_duplicates.winners`; equal hashes are all at home or all guests, as `band_rows` makes them.
    """
    ranked = np.argsort(rank, kind="stable")
    groups = Groups(words_of(hashes)[ranked], np.ascontiguousarray(thumbnails[ranked]), colour_distance)
    groups.settle_equals(0, len(groups.words))
    offsets, members = groups.state[:2]
    at_home = home[ranked][members[offsets[:-1]]]
    order = np.argsort(~at_home, kind="stable").astype(np.int32)
    columns = np.ascontiguousarray(groups.words[order].T)
    both = _segments(at_home)
    split = both[0, 1]
    # fmt: off
    kernels.settle(0, split, both, columns, order, *groups.state, distance, colour_distance, 0, 0)
    kernels.settle(split, len(order), both[:1], columns, order, *groups.state, distance, colour_distance, 0, 0)
    # fmt: on
    return groups.winners(ranked)


def best_of(row: np.ndarray, winner: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of all groups' answers (row, its winner, the winner's rank) each row once, with its best-ranked winner; rows ascend."""
    order = np.lexsort((rank, row))
    first = np.r_[np.ones(min(len(row), 1), bool), np.diff(row[order]) != 0]
    return row[order][first], winner[order][first]


def _segments(home: np.ndarray) -> np.ndarray:
    """Positions of those at home, which come first, and of the guests if there are any."""
    split = int(home.sum())
    return np.array([[0, split], [split, len(home)]][: 2 if split < len(home) else 1], np.int64)
