"""Files of captions: every format, found by whichever key there is, every row told of once."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.captioning.file import MOST_CHARACTERS, CaptionFile
from pipelines.sources.formats import SourceError

ROWS = [{"uid": f"{number:032x}", "caption": f"카페 cafe\u0301 {number}"} for number in range(5)]


def separated(path: Path, rows: list[dict], separator: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write(folder: Path, kind: str, rows: list[dict]) -> Path:
    path = folder / f"captions.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        separated(path, rows, {"csv": ",", "tsv": "\t"}[kind])
    return path


def looked_up(file: CaptionFile, keys: list[str | None]) -> list[str | None]:
    return file.captions_for(pa.chunked_array([pa.array(keys, pa.string())])).to_pylist()


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same(tmp_path, kind):
    with CaptionFile(str(write(tmp_path, kind, ROWS)), {}) as file:
        keys = [ROWS[3]["uid"], None, "e" * 32, ROWS[0]["uid"]]
        assert looked_up(file, keys) == ["카페 café 3", None, None, "카페 café 0"]
        assert (file.key, file.rows, file.taken, file.unmatched, file.refused) == ("uid", 5, 5, 5, {})
        file.look_for(pa.chunked_array([pa.array(keys)]))
        assert file.unmatched == 3


def test_a_pattern_names_several_files_and_each_has_its_digest(tmp_path):
    for number in range(2):
        separated(tmp_path / f"part-{number}.csv", ROWS[number * 2 : number * 2 + 2])
    with CaptionFile(str(tmp_path / "part-*.csv"), {}) as file:
        assert looked_up(file, [row["uid"] for row in ROWS]) == [*(f"카페 café {number}" for number in range(4)), None]
        files = file.origin()["files"]
        assert [each["name"] for each in files] == ["part-0.csv", "part-1.csv"] and files[0]["sha256"] != files[1]["sha256"]
        assert str(tmp_path) not in json.dumps(file.origin())


@pytest.mark.parametrize(("columns", "key"), [({}, "url"), ({"source_id": "n"}, "source_id"), ({"sha256": "hash"}, "sha256")])
def test_the_key_is_the_first_there_is_or_the_one_that_is_mapped(tmp_path, columns, key):
    row = {"url": "http://a.test/x", "n": 7, "hash": "A" * 64, "caption": "one"}
    path = write(tmp_path, "jsonl", [row])
    with CaptionFile(str(path), columns) as file:
        assert file.key == key
        assert looked_up(file, [{"url": "http://a.test/x", "source_id": "7", "sha256": "a" * 64}[key]]) == ["one"]


def test_every_row_is_taken_or_refused_with_a_reason(tmp_path):
    path = tmp_path / "c.jsonl"
    rows = [
        {"uid": "1", "caption": "one"}, {"uid": "1", "caption": "another"}, {"uid": "2", "caption": " "}, {"uid": "3"}, {"caption": "x"},
        {"uid": "4", "caption": 4}, {"uid": "5", "caption": "l" * (MOST_CHARACTERS + 1)}, {"uid": "6", "caption": "l" * MOST_CHARACTERS},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    with CaptionFile(str(path), {}) as file:
        found = {reason: (refused.rows, refused.first) for reason, refused in file.refused.items()}
        assert found == {
            "bad_row": (1, "c.jsonl, line 9"), "wrong_type": (1, "c.jsonl, line 6"), "no_key": (1, "c.jsonl, line 5"),
            "no_caption": (2, "c.jsonl, line 3"), "too_long": (1, "c.jsonl, line 7"), "repeated": (1, ""),
        }  # fmt: skip
        assert file.taken == 2 and file.taken + sum(refused.rows for refused in file.refused.values()) == file.rows == 9
        assert looked_up(file, ["1", "2"]) == ["one", None], "of several rows of a key the first counts"


def test_halves_of_digests_that_are_equal_are_told_apart(tmp_path):
    with CaptionFile(str(write(tmp_path, "csv", ROWS)), {}) as file:
        file._high[1:4] = file._high[1]
        file._low[1:4] = (5, 6, 7)
        wanted = np.stack([file._high, file._low], 1)[[3, 1, 2, 0, 4]]
        absent = [[file._high[1], 8]]
        assert file._find(np.concatenate([wanted, np.array(absent, np.uint64)])).tolist() == [3, 1, 2, 0, 4, -1]


@pytest.mark.parametrize(
    ("columns", "says"),
    [({"uid": "ID"}, "say which names the pair"), ({"title": "t"}, "a file of captions has"), ({"caption": "TEXT"}, "--columns uid=ID")],
)
def test_what_cannot_be_read_is_told(tmp_path, columns, says):
    with pytest.raises(SourceError, match=says):
        CaptionFile(str(write(tmp_path, "csv", ROWS)), columns)
    with pytest.raises(SourceError, match="there is no such file"):
        CaptionFile(str(tmp_path / "no*.csv"), {})
