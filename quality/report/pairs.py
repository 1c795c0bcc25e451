"""Which pairs the page shows, and what of them. What is on a block list, now or when it was decided about, is not among them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from quality.block_lists import BlockLists, listed_pairs
from quality.columns.personal_data import without_personal_data
from quality.report.images import thumbnails
from quality.report.ledger import Ledger
from quality.report.model import Pair
from schemas.captions import with_version
from schemas.pool import Pool
from schemas.reasons import REJECTED, VERDICTS

SHARP: Final = ("safe", "all", "none")
_DETAILS: Final = ("uid", "caption", "license", "license_url", "creator", "url", "file_name", "width", "height", "offset", "size", "status")
_UNSAFE: Final = 0.5  # of nsfw.open_nsfw: the general bound of LAION, COYO and the SD cards
_MOST_SHARP: Final = 8_000_000  # bytes of sharp thumbnails: as base64 a third more, of a file that stays below 15 MB
_NOT_PICTURES: Final = ("nsfw:high", "nsfw:possible", "nsfw:disagreement")


class Chooser:
    """Candidates for sheets, by uid: the lowest uids of any set are a fixed sample of it, for a uid is a hash."""

    def __init__(self, ledger: Ledger, spare: int):
        """spare: how many times more candidates than shown; some may turn out to be on a block list."""
        self.ledger, self.spare = ledger, spare
        self.order = np.argsort(ledger.key, kind="stable")
        self.rank = np.empty(len(ledger), np.int64)
        self.rank[self.order] = np.arange(len(ledger))

    def first(self, rows: np.ndarray, n: int) -> list[int]:
        """The candidates for `n` of the rows (bool) by uid."""
        places = np.flatnonzero(rows & self.ledger.known)
        n *= self.spare
        if len(places) > n:
            places = places[np.argpartition(self.rank[places], n)[:n]]
        return places[np.argsort(self.rank[places])].tolist()

    def nearest(self, values: np.ndarray, at: float, rows: np.ndarray, n: int) -> list[int]:
        """The candidates for `n` of the rows with values nearest to `at`, on either side; of equals, by uid."""
        places = np.flatnonzero(rows & self.ledger.known & ~np.isnan(values))
        found: list[int] = []
        for side in (places[values[places] < at], places[values[places] >= at]):
            away = np.abs(values[side].astype(np.float64) - at)
            if len(side) > n * self.spare:
                nearest = np.flatnonzero(away <= np.partition(away, n * self.spare - 1)[n * self.spare - 1])
                side, away = side[nearest], away[nearest]
            found += side[np.lexsort((self.rank[side], away))][: n * self.spare].tolist()
        return found

    def spread(self, values: np.ndarray, rows: np.ndarray, n: int, *, among: int = 4096) -> list[int]:
        """`n` of the fixed sample of `among` rows, evenly by value."""
        places = np.flatnonzero(rows & self.ledger.known & ~np.isnan(values))
        if len(places) > among:
            places = places[np.argpartition(self.rank[places], among)[:among]]
        places = places[np.lexsort((self.rank[places], values[places]))]
        return places[np.unique(np.linspace(0, len(places) - 1, n).round().astype(int))].tolist() if len(places) else []

    def row_of(self, uid: str, *, but: int) -> int | None:
        """The row of a uid, another than `but`; of several, the best decided, then the first."""
        key = np.uint64(int(uid[:16], 16))
        keys = self.ledger.key[self.order]
        low, high = np.searchsorted(keys, key, "left"), np.searchsorted(keys, key, "right")
        rows = [int(row) for row in self.order[low:high] if row != but]
        return min(rows, key=lambda row: (int(self.ledger.verdict[row]), row), default=None)


def read_pairs(
    pool: Pool, ledger: Ledger, rows: Sequence[int], lists: BlockLists, *, redact: bool, captions: str | None = None, sharp: str = "safe"
) -> Mapping[int, Pair]:
    """The pairs of rows of the ledger; a row that is not in the answer may not be shown.

    rows: in the order of the page: past the limit of the file's size, what comes later has no sharp thumbnail. sharp: which have one.
    captions: the version of the captions to show; None: the sources'.
    """
    wanted: dict[int, list[int]] = {}
    for row in dict.fromkeys(rows):
        wanted.setdefault(int(ledger.unit[row]), []).append(row)
    found: dict[int, Pair] = {}
    for place, some in sorted(wanted.items()):
        found |= _of_unit(pool, ledger, ledger.units[place], sorted(some), lists, redact, captions)
    spent, made = 0, {}
    for row in dict.fromkeys(rows):
        if row in found:
            made[row] = _withheld(ledger, row, found[row], sharp, spent)
            spent += len(made[row].sharp or b"")
    return made


def _of_unit(
    pool: Pool, ledger: Ledger, unit: str, rows: list[int], lists: BlockLists, redact: bool, captions: str | None
) -> dict[int, Pair]:
    places = [int(ledger.row[row]) for row in rows]
    table = with_version(pool.read_raw(unit, list(_DETAILS)), pool, unit, captions).take(pa.array(places, pa.int64()))
    listed = listed_pairs(pool, unit, lists, places)
    details = (without_personal_data(table) if redact else table).to_pylist()
    shown = [at for at, row in enumerate(rows) if not listed[at] and ledger.known[row] and details[at]["uid"] is not None]
    stored = [at for at in shown if details[at]["status"] == "success" and details[at]["size"] is not None]
    commit = pool.raw_commit(unit)
    images: dict[int, tuple[bytes, bytes] | None] = {}
    if stored and commit is not None and commit.tar is not None:
        stored.sort(key=lambda at: details[at]["offset"])
        offsets, sizes = [details[at]["offset"] for at in stored], [details[at]["size"] for at in stored]
        data = pool.read_bytes(unit, offsets, sizes, tar=pool.images_of(commit))
        images = {at: thumbnails(each) for at, each in zip(stored, data, strict=True)}
    return {rows[at]: _pair(ledger, rows[at], details[at], images.get(at)) for at in shown}


def _pair(ledger: Ledger, row: int, raw: Mapping[str, Any], images: tuple[bytes, bytes] | None) -> Pair:
    verdict = int(ledger.verdict[row])
    mask = int(ledger.mask[row])
    return Pair(
        uid=raw["uid"],
        caption=raw["caption"],
        verdict=VERDICTS[verdict] if verdict < len(VERDICTS) else None,
        reasons=[reason for bit, reason in enumerate(ledger.reasons) if mask >> bit & 1],
        license=raw["license"] or raw["license_url"],
        creator=raw["creator"],
        host=_host(raw["url"]) or raw["file_name"],
        width=raw["width"],
        height=raw["height"],
        blurred=None if images is None else images[0],
        sharp=None if images is None else images[1],
    )


def _host(url: str | None) -> str | None:
    try:
        return None if url is None else urlsplit(url).hostname
    except ValueError:
        return None


def _withheld(ledger: Ledger, row: int, pair: Pair, sharp: str, spent: int) -> Pair:
    """The pair without its sharp thumbnail where that may not be in the file."""
    if pair.sharp is None:
        return pair
    why = None
    if sharp == "none":
        why = "asked"
    elif sharp == "safe":
        scores = [float(ledger.numbers[name][row]) for name in ("nsfw.open_nsfw", "nsfw.clip") if name in ledger.numbers]
        measured = [score for score in scores if score == score]
        if REJECTED in pair.reasons:  # whatever the scores say, and for what people may have seen in it
            why = "rejected"
        elif not measured:
            why = "unmeasured"
        elif max(measured) >= _UNSAFE or set(pair.reasons) & set(_NOT_PICTURES):
            why = "nsfw"
    if why is None and spent + len(pair.sharp) > _MOST_SHARP:
        why = "size"
    return pair if why is None else replace(pair, sharp=None, withheld=why)
