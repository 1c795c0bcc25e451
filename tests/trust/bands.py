"""The labelled set and other pairs through the scorers that make a band; and the confusion table."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quality.deepfake import BANDS
from quality.scorers.batch import PairBatch
from quality.scorers.deepfake import Deepfake
from quality.scorers.evidence import Evidence
from quality.scorers.faces import Faces
from quality.scorers.image import Image
from tests.trust.labelled import Labelled, labelled, trust_list

Found = list[tuple[Labelled, dict[str, Any]]]


def judged_pairs(pairs: Sequence[tuple[str | None, bytes | None]], *, trust: Path | None = None) -> list[dict[str, Any]]:
    """The columns of `deepfake` of each pair."""
    scorers = [Evidence(trust), Faces(), Image(), Deepfake()]
    for scorer in scorers:
        scorer.load()
    found = []
    for at in range(0, len(pairs), 64):
        batch = PairBatch(*zip(*pairs[at : at + 64], strict=True))
        for scorer in scorers:
            scores = scorer.score(batch)
            batch.add_columns({f"{scorer.name}.{name}": scores.column(name) for name in scorer.fields.names})
        found += scores.to_pylist()
    return found


def judged_set(folder: Path) -> Found:
    """Each file of the labelled set with what the scorer says of it. folder: for the list of trust anchors."""
    rows = labelled()
    return list(zip(rows, judged_pairs([(row.caption, row.make()) for row in rows], trust=trust_list(folder)), strict=True))


def confusion(found: Found) -> dict[str, Counter[str]]:
    """By the band that is due, files by the band that they got."""
    return {due: Counter(one["band"] for row, one in found if row.band == due) for due in BANDS}


def lines_of(found: Found) -> list[str]:
    """The table, and the files that lie off its diagonal."""
    table = confusion(found)
    lines = [
        f"{len(found)} files; rows: the band that is due, columns: the band that was given",
        "",
        " " * 8 + "".join(f"{band:>8}" for band in BANDS),
    ]
    lines += [f"{due:8}" + "".join(f"{table[due][band]:>8}" for band in BANDS) for due in BANDS]
    return lines + [f"off: {row.name}: due {row.band}, given {one['band']} ({row.holds})" for row, one in found if one["band"] != row.band]
