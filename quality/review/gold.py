"""Pairs whose answer is known: a file of uid, question and answer, with which people's answers are compared."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quality.command import UsageError
from quality.review.files import QUESTIONS
from quality.review.sampling import Asked
from schemas.pool import Pool
from schemas.release import Release


def read_gold(path: str, pool: Pool, release: Release) -> list[Asked]:
    """One question per row of a CSV or Parquet file. Raises UsageError, naming the row, for a word that is none or a pair that the release
    does not have an image of."""
    given: dict[tuple[str, str], tuple[int, str]] = {}
    for number, row in _rows(Path(path)):
        uid, question, answer = (str(row.get(name) or "").strip() for name in ("uid", "question", "answer"))
        if question not in QUESTIONS:
            raise UsageError(f"{path}: row {number}: {question!r} is no question: a reason of pigment, or keep")
        if answer not in ("yes", "no"):
            raise UsageError(f"{path}: row {number}: {answer!r} is no known answer: yes or no")
        if given.setdefault((uid, question), (number, answer))[0] != number:
            raise UsageError(f"{path}: row {number}: the pair and question of row {given[uid, question][0]} again")
    places = _places(pool, release, {uid for uid, _ in given})
    found = []
    for (uid, question), (number, answer) in given.items():
        if uid not in places:
            raise UsageError(f"{path}: row {number}: release {release.name} has no fetched pair {uid!r}")
        found.append(Asked(uid, question, "gold", *places[uid], 1.0, answer))
    return found


def _places(pool: Pool, release: Release, uids: set[str]) -> Mapping[str, tuple[str, int]]:
    """(unit, row) of the first fetched row of each uid."""
    wanted, found = pa.array(sorted(uids), pa.string()), dict[str, tuple[str, int]]()
    for decided in release.decided():
        raw = pool.read_raw(decided.unit, ["row", "uid", "status"])
        here = raw.filter(pc.and_(pc.is_in(raw["uid"], wanted), pc.equal(raw["status"], "success")))
        for row, uid in zip(here["row"].to_pylist(), here["uid"].to_pylist(), strict=True):
            found.setdefault(uid, (decided.unit, row))
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row from 1, its values by column)."""
    try:
        if path.suffix == ".parquet":
            yield from enumerate(pq.read_table(path).to_pylist(), 1)
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from enumerate(csv.DictReader(file), 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}; give a CSV or Parquet file of uid, question and answer") from error
    except (UnicodeDecodeError, csv.Error, pa.ArrowInvalid) as error:
        raise UsageError(f"{path}: cannot be read ({error}); give a CSV (UTF-8) or Parquet file of uid, question and answer") from error
