"""What is left of a blocked row: nothing, on the surface and beneath."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quality.block_lists import LISTED, blanked
from schemas.pool import write_parquet

SECRET = "secret"
TABLE = pa.table(
    {
        "row": pa.array([0, 1, 2], pa.int32()),
        "uid": ["a", SECRET, "c"],
        "status": ["success", "success", "invalid"],
        "error_message": [None, None, "no_url"],
        "caption": pa.chunked_array([["x", SECRET], [None]]),
        "size": [1, 2, 3],
        "tags": [["x"], [SECRET, "y"], None],
        "more": [{"k": "x"}, {"k": SECRET}, {"k": None}],
        "when": [datetime.date(2020, 1, 1)] * 3,
        "label": pa.array(["x", SECRET, "x"]).dictionary_encode(),
        "error": pa.array(["x", SECRET, "y"]).dictionary_encode(),
        "labels": pa.array([["x"], [SECRET], []], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    }
)


def test_all_but_the_place_is_null():
    found = blanked(TABLE, np.array([False, True, False]))
    assert found.schema == TABLE.schema
    assert found.slice(1, 1).to_pylist() == [{**dict.fromkeys(TABLE.column_names), "row": 1, "status": "blocked", "error_message": LISTED}]
    for row in (0, 2):
        assert found.slice(row, 1).to_pylist() == TABLE.slice(row, 1).to_pylist()


def buffers(array: pa.Array) -> bytes:
    found = b"".join(buffer.to_pybytes() for buffer in array.buffers() if buffer is not None)
    return found + (buffers(array.dictionary) if pa.types.is_dictionary(array.type) else b"")


def test_nothing_stands_beneath_a_null():
    found = blanked(TABLE, np.array([False, True, False]))
    for name in found.column_names:
        for chunk in found[name].chunks:
            inner = chunk.flatten() if pa.types.is_list(chunk.type) else chunk
            assert SECRET.encode() not in buffers(chunk) + (buffers(inner) if not isinstance(inner, list) else b""), name


@pytest.mark.parametrize("rows", [[False, True, False], [True, True, True]])
def test_no_dictionary_and_no_statistics_in_the_file(tmp_path, rows):
    path = tmp_path / "t.parquet"
    write_parquet(blanked(TABLE, np.array(rows)), {}, path)
    table = pq.read_table(path, read_dictionary=["uid", "caption", "label", "error", "status"])
    assert SECRET not in str([chunk.dictionary for name in ("uid", "caption", "label", "error") for chunk in table[name].chunks])
    metadata = pq.read_metadata(path)
    for place in range(metadata.num_columns):
        statistics = metadata.row_group(0).column(place).statistics
        assert statistics is None or SECRET not in (statistics.min, statistics.max)


def test_a_dictionary_of_other_rows_is_not_written(tmp_path):
    """A unit is a slice of its file, and an Arrow dictionary is the whole file's."""
    path = tmp_path / "t.parquet"
    write_parquet(TABLE.slice(0, 1), {}, path)
    table = pq.read_table(path, read_dictionary=["label", "error"])
    assert [chunk.dictionary.to_pylist() for name in ("label", "error") for chunk in table[name].chunks] == [["x"], ["x"]]


def test_without_hits_it_is_the_same_table():
    assert blanked(TABLE, np.zeros(3, bool)) is TABLE
