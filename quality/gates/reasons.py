"""The funnel as a table: which reasons pairs were given, and how many."""

from collections import Counter
from typing import Final

import pandas as pd

from quality.gates.shares import share
from schemas.release import Release

REASON_COLUMNS: Final = ("reason", "pairs", "share", "missing_share")
# Families whose values scorers write: that one is missing is a scorer's fault. Elsewhere sources are silent as they please.
_SCORED: Final = ("image", "clip", "nsfw", "deepfake")
_UNFETCHED: Final = ("source", "fetch", "list")


def reason_metrics(release: Release, sums: pd.DataFrame) -> pd.DataFrame:
    """REASON_COLUMNS, one row per reason that a fetched pair was given, sorted.

    share: of the pairs that were fetched. missing_share: the same where the reason says that a scorer's measure is missing, else null.
    """
    counts = Counter[str]()
    for unit in release.decided():
        counts.update(unit.reasons)
    unfetched = sum(count for reason, count in counts.items() if reason.partition(":")[0] in _UNFETCHED)
    fetched = sum(int(sums.iloc[0][verdict]) for verdict in ("keep", "review", "drop")) - unfetched
    rows = []
    for reason in sorted(counts):
        family, _, word = reason.partition(":")
        if family not in _UNFETCHED:
            part = share(counts[reason], fetched)
            rows.append({"reason": reason, "pairs": counts[reason], "share": part})
            if word == "missing" and family in _SCORED:
                rows[-1]["missing_share"] = part
    return pd.DataFrame(rows, columns=REASON_COLUMNS)
