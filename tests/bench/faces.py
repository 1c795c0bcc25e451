"""The faces scorer on the photographs that packages carry: what it finds in each, precision and recall by picture.

    python -m tests.bench.faces

A picture counts as found when at least one face is. Intervals are Wilson's, 95 %. A share of fewer than CLAIM pictures is a count, no claim.
"""

from quality.intervals import wilson
from quality.scorers.batch import PairBatch
from quality.scorers.faces import Faces
from tests.trust.photographs import PHOTOGRAPHS, Photograph, installed

CLAIM = 30  # pictures


def main() -> None:
    scorer = Faces()
    scorer.load()
    rows = []
    for photograph, path in installed():
        (row,) = scorer.score(PairBatch([None], [path.read_bytes()])).to_pylist()
        rows.append((photograph, row["count"], row["score"]))
    print(f"{'photograph':36s} {'package':26s} {'licence':33s} shows found  best score")
    for photograph, found, score in rows:
        print(f"{photograph.name:36s} {photograph.package:26s} {photograph.license:33s} {photograph.faces:5d} {found:5d}  {score:.2f}")
    print("\n".join(summary([(photograph, found) for photograph, found, _ in rows])))


def summary(rows: list[tuple[Photograph, int]]) -> list[str]:
    """Lines of precision, recall and wrong alarms, by picture. rows: a photograph and the number of faces found in it."""
    shown = [found > 0 for photograph, found in rows if photograph.faces]
    empty = [found > 0 for photograph, found in rows if not photograph.faces]
    return [
        f"{len(rows)} of {len(PHOTOGRAPHS)} photographs are installed",
        _share("precision", sum(shown), sum(shown) + sum(empty)),
        _share("recall", sum(shown), len(shown)),
        _share("wrong alarms", sum(empty), len(empty)),
    ]


def _share(name: str, hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{name:13s} {hits:3d} of {n:3d}, interval {low:.2f} to {high:.2f}" + ("" if n >= CLAIM else f"; below {CLAIM}: no claim")


if __name__ == "__main__":
    main()
