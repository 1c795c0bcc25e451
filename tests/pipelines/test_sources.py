"""Sources: every format and compression gives the same rows; every bad row has its reason, file and line."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from PIL import Image

from pipelines.sources.formats import SourceError
from pipelines.sources.listing import list_source
from pipelines.sources.rows import RowReader, index_file
from schemas.columns import SOURCE
from schemas.pool import Pool

ROWS = [
    {"url": "http://a.test/1.png", "caption": "one", "license": "CC0", "extra": "x"},
    {"url": "https://a.test/2.png", "caption": 'two "quoted",\nand a line', "license": None, "extra": "y"},
    {"url": "http://a.test/3.png", "caption": "고양이", "license": "MIT", "extra": None},
    {"url": "http://a.test/4.png", "caption": "four", "license": None, "extra": "z"},
    {"url": "http://a.test/5.png", "caption": "five", "license": None, "extra": None},
]


def quoted(value: str | None) -> str:
    return '"' + (value or "").replace('"', '""') + '"'


def write(path: Path, kind: str) -> Path:
    if kind.startswith("parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=2)
        return path
    if kind.startswith("jsonl"):
        text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n"
    else:
        mark = "\t" if kind.startswith("tsv") else ","
        text = "\n".join(mark.join(quoted(row[name]) for name in ROWS[0]) for row in [{name: name for name in ROWS[0]}, *ROWS]) + "\n"
    data = text.encode("utf-8-sig" if kind == "csv" else "utf-8")
    if kind.endswith(".gz"):
        data = gzip.compress(data)
    if kind.endswith(".zst"):
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


def read_all(pool: Pool, spec: str, columns: dict[str, str] | None = None, *, unit_size: int = 2, **more) -> list[dict]:
    rows = []
    for entry in list_source(spec, columns or {}, **more):
        file = index_file(pool, entry, unit_size=unit_size)
        reader = RowReader(pool)
        for chunk, unit in enumerate(file.units):
            table = reader.read(unit)
            assert table.column_names[: len(SOURCE)] == SOURCE.names
            assert table.num_rows == file.rows_of(chunk)
            rows += table.to_pylist()
    return rows


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "csv.gz", "jsonl.zst", "tsv.zst", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path, kind):
    path = write(tmp_path / f"pairs.{kind}", kind)
    found = read_all(Pool(tmp_path / "d"), str(path))
    assert [{name: row[name] for name in ROWS[0]} for row in found] == ROWS
    assert all(row["status"] is None and row["error_message"] is None for row in found)


def test_chunks_can_be_read_in_any_order(tmp_path):
    for kind in ("csv", "csv.gz", "parquet"):
        pool = Pool(tmp_path / kind)
        (entry,) = list_source(str(write(tmp_path / f"pairs.{kind}", kind)), {})
        units = index_file(pool, entry, unit_size=2).units
        reader = RowReader(pool)
        first = {unit: reader.read(unit) for unit in units}
        assert {unit: reader.read(unit) for unit in reversed(units)} == first


def test_bad_rows_have_reason_and_line(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(
        b'url,caption\nhttp://a.test/1,ok\n,no url\nftp://a.test/x,c\nnot a url,c\nhttp://a.test/2,\nhttp://a.test/3,"  "\n'
        b"http://a.test/4,c,extra\n\nhttp://a.test/\xff,c\nhttp://user:pw@a.test/,c\nhttp:///x,c\n"
    )
    found = read_all(Pool(tmp_path / "d"), str(path), unit_size=3)
    assert [(row["source_line"], row["status"], (row["error_message"] or "").split(":")[0]) for row in found] == [
        (2, None, ""),
        (3, "invalid", "no_url"),
        (4, "invalid", "bad_url"),
        (5, "invalid", "bad_url"),
        (6, "invalid", "no_caption"),
        (7, "invalid", "no_caption"),
        (8, "invalid", "bad_row"),
        (10, "invalid", "bad_row"),
        (11, "invalid", "bad_url"),
        (12, "invalid", "bad_url"),
    ]


def test_bad_json_rows(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"url":"http://a.test/1","caption":"ok","n":1}\n{"url":"http://a.test/2","caption":7}\n[]\n{oops\n', "utf-8")
    found = read_all(Pool(tmp_path / "d"), str(path))
    assert [(row["source_line"], (row["error_message"] or "").split(":")[0]) for row in found] == [
        (1, ""),
        (2, "wrong_type"),
        (3, "bad_row"),
        (4, "bad_row"),
    ]
    assert found[0]["n"] == 1, "other columns keep their type"


def test_wrong_types_in_parquet(tmp_path):
    pq.write_table(pa.table({"url": ["http://a.test/1"], "caption": [3], "width": [4]}), tmp_path / "p.parquet")
    (row,) = read_all(Pool(tmp_path / "d"), str(tmp_path / "p.parquet"))
    assert row["error_message"].startswith("wrong_type")
    assert row["source.width"] == 4, "a name that the pool uses itself is set apart"


def test_columns_are_mapped(tmp_path):
    pq.write_table(pa.table({"URL": ["http://a.test/1"], "TEXT": ["c"], "sha256": ["ab"]}), tmp_path / "p.parquet")
    (row,) = read_all(Pool(tmp_path / "d"), str(tmp_path / "p.parquet"), {"url": "URL", "caption": "TEXT"})
    assert (row["url"], row["caption"], row["expected_sha256"]) == ("http://a.test/1", "c", "ab")


@pytest.mark.parametrize(
    ("columns", "message"),
    [({}, "no column caption; the file has URL, TEXT"), ({"caption": "TXT"}, "no column 'TXT'"), ({"caption": "TEXT"}, "no column url")],
)
def test_missing_columns_are_told(tmp_path, columns, message):
    pq.write_table(pa.table({"URL": ["http://a.test/1"], "TEXT": ["c"]}), tmp_path / "p.parquet")
    with pytest.raises(SourceError, match=message):
        list_source(str(tmp_path / "p.parquet"), columns)


@pytest.mark.parametrize(("name", "message"), [("none.csv", "no such file"), ("*.csv", "no file matches"), ("a.xls", "unknown kind")])
def test_bad_sources_are_told(tmp_path, name, message):
    (tmp_path / "a.xls").write_text("x")
    with pytest.raises(SourceError, match=message):
        list_source(str(tmp_path / name), {})


def test_unreadable_parquet_is_told(tmp_path):
    (tmp_path / "p.parquet").write_bytes(b"not parquet")
    with pytest.raises(SourceError, match="cannot be read as parquet"):
        list_source(str(tmp_path / "p.parquet"), {})


def test_glob_and_changed_files(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.csv", "csv")
    pool = Pool(tmp_path / "d")
    entries = list_source(str(tmp_path / "*.csv"), {})
    first = [index_file(pool, entry, unit_size=10).file for entry in entries]
    assert len(set(first)) == 2, "equal content under two names is two files"
    with (tmp_path / "a.csv").open("a") as file:
        file.write("http://a.test/6.png,six,,\n")
    second = [index_file(pool, entry, unit_size=10).file for entry in entries]
    assert second[0] != first[0] and second[1] == first[1]


def test_limit_and_sample(tmp_path):
    path = tmp_path / "many.csv"
    path.write_text("url,caption\n" + "".join(f"http://a.test/{n},caption {n}\n" for n in range(1000)), "utf-8")
    assert len(read_all(Pool(tmp_path / "limit"), str(path), unit_size=100, limit=250)) == 250
    sampled = read_all(Pool(tmp_path / "sample"), str(path), unit_size=100, sample=0.1)
    assert 60 < len(sampled) < 140
    assert [row["source_line"] for row in sampled] == sorted(row["source_line"] for row in sampled)


def folder_of(root: Path) -> Path:
    (root / "cats").mkdir(parents=True)
    for name in ("cats/b.png", "cats/a.jpg", "c.png"):
        Image.new("RGB", (8, 8)).save(root / name)
    (root / "cats/a.txt").write_text("a cat\n", "utf-8")
    (root / "cats/b.json").write_text(json.dumps({"caption": "b cat", "license": "CC0", "stars": 5}), "utf-8")
    return root


def test_folder_with_sidecars(tmp_path):
    pool, root = Pool(tmp_path / "d"), folder_of(tmp_path / "photos")
    found = read_all(pool, str(root))
    assert {(row["file_name"], row["caption"], row["license"], row["error_message"]) for row in found} == {
        ("c.png", None, None, "no_caption"),
        ("cats/a.jpg", "a cat", None, None),
        ("cats/b.png", "b cat", "CC0", None),
    }
    entry = list_source(str(root), {})[1]
    unit = index_file(pool, entry, unit_size=2).units[0]
    assert RowReader(pool).read_image(unit, "cats/a.jpg") == (root / "cats/a.jpg").read_bytes()


def test_folder_with_metadata_and_names_that_leave_it(tmp_path):
    (tmp_path / "metadata.csv").write_text("file_name,caption\na.png,ok\n../b.png,up\n/etc/passwd,root\nc/../../d.png,up\n", "utf-8")
    found = read_all(Pool(tmp_path / "d"), str(tmp_path))
    assert [(row["error_message"] or "").split(":")[0] for row in found] == ["", "bad_url", "bad_url", "bad_url"]


def test_two_metadata_files_are_refused(tmp_path):
    for name in ("metadata.csv", "metadata.jsonl"):
        (tmp_path / name).write_text("x", "utf-8")
    with pytest.raises(SourceError, match="several metadata files"):
        list_source(str(tmp_path), {})


def test_a_chunk_of_which_a_sample_takes_no_row_is_a_unit_of_none(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("url,caption\n" + "".join(f"http://a.test/{row},picture {row}\n" for row in range(105)))
    pool = Pool(tmp_path / "data")
    [entry] = list_source(str(path), {}, sample=0.01)
    file = index_file(pool, entry, unit_size=5)
    reader = RowReader(pool)
    tables = [reader.read(unit) for unit in file.units]
    assert 0 in {table.num_rows for table in tables} and all(table.schema.names[: len(SOURCE)] == SOURCE.names for table in tables)
    assert [table.num_rows for table in tables] == [file.rows_of(chunk) for chunk in range(len(tables))]


def test_a_file_is_read_in_one_way(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("url,caption,alt\nhttp://a.test/1,main,other\n")
    pool = Pool(tmp_path / "data")
    for columns in ({}, {}):
        index_file(pool, list_source(str(path), columns)[0], unit_size=5)
    with pytest.raises(SourceError, match=r"is in this dataset already, read with --columns \(not given\), not \{'caption': 'alt'\}"):
        index_file(pool, list_source(str(path), {"caption": "alt"})[0], unit_size=5)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"url": "http://a.test/", "caption": "c", "n": 123456789012345678901234567890}', None),
        ('{"url": "http://a.test/", "caption": "\\ud800"}', "bad_row: not UTF-8"),
        ("[" * 100_000, "bad_row: "),
    ],
)
def test_odd_json_is_a_row(tmp_path, line, error):
    path = tmp_path / "list.jsonl"
    path.write_text(f'{{"url": "http://a.test/0", "caption": "c", "n": 1}}\n{line}\n')
    pool = Pool(tmp_path / "data")
    file = index_file(pool, list_source(str(path), {})[0], unit_size=5)
    _, odd = RowReader(pool).read(file.units[0]).to_pylist()
    assert (odd["error_message"] or "").startswith(error or "") and (odd["status"] is None) == (error is None)
