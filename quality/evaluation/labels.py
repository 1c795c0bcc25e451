"""People's answers about pairs: a CSV or Parquet file of uid and answer, or the review's own records."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from quality.command import UsageError
from quality.review.settle import settle
from schemas.columns import table_of
from schemas.reviews import ANSWERS

_ANSWERS: Final = {"yes": "yes", "1": "yes", "true": "yes", "no": "no", "0": "no", "false": "no", "unsure": "unsure", "": "unsure"}


@dataclass(frozen=True)
class Labels:
    """answers: by uid, of the pairs that people agree about. weights: by uid, one over the probability of having been sampled; 1 where none is
    given. weighted: whether any is given. records: rows read. unsure: pairs without a yes or no. split: pairs with yes and no and no majority."""

    answers: Mapping[str, bool]
    weights: Mapping[str, float]
    weighted: bool
    records: int
    unsure: int
    split: int


def read_labels(path: str | Path, *, question: str | None = None) -> Labels:
    """Columns: uid; answer (or label): yes, no, unsure, also 1, 0, true, false; if there, question, adjudicates, queue and
    sampling_probability. Other columns are left alone. What stands of several answers about a pair is what quality.review.settle says. Gold
    items were not drawn by chance and are left out. question: only answers to it; must be given when the file has several. Raises UsageError,
    naming file and row."""
    given, weights, questions = list[dict[str, Any]](), dict[str, float](), set[str]()
    records, weighted = 0, False
    for number, row in _rows(Path(path)):
        asked = row.get("question")
        if question is not None and asked != question:
            questions.add(str(asked))
            continue
        questions.add(str(asked))
        if question is None and len(questions) > 1:
            raise UsageError(f"{path}: answers to several questions ({', '.join(sorted(questions))}, …); choose one with --question")
        if row.get("queue") == "gold":
            continue
        records += 1
        uid = str(row["uid"] or "").strip()
        said = row["answer"] if "answer" in row else row["label"]
        answer = str("" if said is None else said).strip().casefold()
        if not uid or answer not in _ANSWERS:
            raise UsageError(f"{path}: row {number}: {'no uid' if not uid else f'answer {said!r} is not yes, no or unsure'}")
        adjudicates = _flag(row.get("adjudicates"), f"{path}: row {number}")
        given.append({"uid": uid, "question": asked or "", "answer": _ANSWERS[answer], "adjudicates": adjudicates})
        probability = _probability(row.get("sampling_probability"), f"{path}: row {number}")
        if probability is not None:
            weighted = True
        if weights.setdefault(uid, 1 / (probability or 1.0)) != 1 / (probability or 1.0):
            raise UsageError(f"{path}: row {number}: the pair has another sampling_probability above; they must be equal")
    if question is not None and not records:
        raise UsageError(f"{path}: no answer to {question!r}; there are {', '.join(sorted(questions)) or 'none'}")
    answers = {row["uid"]: row["answer"] == "yes" for row in settle(table_of(given, ANSWERS)).settled.to_pylist()}
    split = len({row["uid"] for row in given if row["answer"] != "unsure"} - set(answers))
    return Labels(answers, {uid: weights[uid] for uid in answers}, weighted, records, len(weights) - len(answers) - split, split)


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


def _flag(value: Any, where: str) -> bool:
    word = str("" if value is None else value).strip().casefold()
    if word not in ("", "0", "false", "1", "true"):
        raise UsageError(f"{where}: adjudicates {value!r} is not true or false")
    return word in ("1", "true")


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
