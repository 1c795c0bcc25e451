"""A Parquet file read forwards: the rows of every chunk, whatever the row groups and the order, each batch decoded once."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.forward import ForwardReader
from schemas.store import Store

ROWS = 1_000


@pytest.fixture(params=[7, 100, 1_000, 5_000])
def reader(request, tmp_path):
    pq.write_table(
        pa.table({"n": range(ROWS), "text": [str(n) for n in range(ROWS)]}), tmp_path / "rows.parquet", row_group_size=request.param
    )
    return ForwardReader(Store(tmp_path), "rows.parquet", batch=64)


@pytest.mark.parametrize(
    "starts", [range(0, 1_000, 100), range(0, 1_000, 200), [900, 0, 500, 500, 400, 999], [0, 950]], ids=["all", "every other", "any", "far"]
)
def test_every_chunk_has_its_rows(reader, starts):
    for start in starts:
        table = reader.read(start, 100)
        expected = list(range(start, min(start + 100, ROWS)))
        assert table["n"].to_pylist() == expected and table["text"].to_pylist() == [str(n) for n in expected]


def test_an_empty_file_has_columns(tmp_path):
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), tmp_path / "rows.parquet")
    assert ForwardReader(Store(tmp_path), "rows.parquet", batch=64).read(0, 10).column_names == ["n"]


def test_a_large_row_group_is_not_read_again_for_each_chunk(tmp_path, monkeypatch):
    pq.write_table(pa.table({"n": range(ROWS)}), tmp_path / "rows.parquet")
    opened = []
    own = pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda self, *args, **named: opened.append(1) or own(self, *args, **named))
    reader = ForwardReader(Store(tmp_path), "rows.parquet", batch=64)
    for start in range(0, ROWS, 20):
        reader.read(start, 10)
    assert len(opened) == 1
