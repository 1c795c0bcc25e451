"""People's answers about pairs: a CSV or Parquet file of uid and answer, or the review's own records."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from quality.command import UsageError

_ANSWERS: Final = {"yes": True, "1": True, "true": True, "no": False, "0": False, "false": False, "unsure": None, "": None}


@dataclass(frozen=True)
class Labels:
    """answers: by uid, of the pairs that people agree about. weights: by uid, one over the probability of having been sampled; 1 where none is
    given. weighted: whether any is given. records: rows read. unsure: pairs without a yes or no. split: pairs with as many yes as no."""

    answers: Mapping[str, bool]
    weights: Mapping[str, float]
    weighted: bool
    records: int
    unsure: int
    split: int


def read_labels(path: str | Path, *, question: str | None = None) -> Labels:
    """Columns: uid; answer (or label): yes, no, unsure, also 1, 0, true, false; if there, question and sampling_probability. Other columns
    are left alone. Of several answers about a pair the majority counts. question: only answers to it; must be given when the file has
    several. Raises UsageError, naming file and row."""
    votes, weights, questions = dict[str, Counter[bool | None]](), dict[str, float](), set[str]()
    records, weighted = 0, False
    for number, row in _rows(Path(path)):
        asked = row.get("question")
        if question is not None and asked != question:
            questions.add(str(asked))
            continue
        questions.add(str(asked))
        if question is None and len(questions) > 1:
            raise UsageError(f"{path}: answers to several questions ({', '.join(sorted(questions))}, …); choose one with --question")
        records += 1
        uid = str(row["uid"] or "").strip()
        given = row["answer"] if "answer" in row else row["label"]
        answer = str("" if given is None else given).strip().casefold()
        if not uid or answer not in _ANSWERS:
            raise UsageError(f"{path}: row {number}: {'no uid' if not uid else f'answer {given!r} is not yes, no or unsure'}")
        votes.setdefault(uid, Counter())[_ANSWERS[answer]] += 1
        probability = _probability(row.get("sampling_probability"), f"{path}: row {number}")
        if probability is not None:
            weighted = True
        if weights.setdefault(uid, 1 / (probability or 1.0)) != 1 / (probability or 1.0):
            raise UsageError(f"{path}: row {number}: the pair has another sampling_probability above; they must be equal")
    if question is not None and not records:
        raise UsageError(f"{path}: no answer to {question!r}; there are {', '.join(sorted(questions)) or 'none'}")
    answers = {uid: cast[True] > cast[False] for uid, cast in votes.items() if cast[True] != cast[False]}
    split = sum(cast[True] == cast[False] > 0 for cast in votes.values())
    return Labels(answers, {uid: weights[uid] for uid in answers}, weighted, records, len(votes) - len(answers) - split, split)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row from 1, its values by column)."""
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            _check_columns(path, table.column_names)
            yield from enumerate(table.to_pylist(), 1)
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_columns(path, reader.fieldnames or ())
            yield from enumerate(reader, 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}; give a CSV or Parquet file of uid and answer") from error
    except (UnicodeDecodeError, csv.Error, pa.ArrowInvalid) as error:
        raise UsageError(f"{path}: cannot be read ({error}); give a CSV (UTF-8) or Parquet file of uid and answer") from error


def _check_columns(path: Path, names: Any) -> None:
    if "uid" not in names or not {"answer", "label"} & set(names):
        raise UsageError(f"{path}: columns are {', '.join(names) or 'none'}; uid and answer are needed")


def _probability(value: Any, where: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number <= 1:
        raise UsageError(f"{where}: sampling_probability {value!r} is not above 0 and at most 1")
    return number
