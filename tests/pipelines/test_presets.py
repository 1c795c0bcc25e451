"""Presets: files with the columns that the sets' cards name become rows, and what a preset does not name is carried."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.formats import SourceError
from pipelines.sources.listing import list_source
from pipelines.sources.presets import PRESETS
from pipelines.sources.rows import RowReader, index_file
from schemas.pool import Pool
from tests.pipelines.test_sources import read_all

URL, TEXT = "http://a.test/1.jpg", "a caption"
# A row with the columns of each set, as its card lists them, and what has to come of it.
CARDS = {
    "laion": (
        {
            "SAMPLE_ID": pa.array([3000], pa.int64()), "URL": [URL], "TEXT": [TEXT], "HEIGHT": pa.array([3], pa.int32()),
            "WIDTH": pa.array([4], pa.int32()), "LICENSE": ["?"], "LANGUAGE": ["vi"], "NSFW": ["UNLIKELY"], "similarity": [0.31],
        },
        {"source_id": "3000", "license": "?", "lang": "vi", "NSFW": "UNLIKELY", "similarity": 0.31, "WIDTH": 4, "HEIGHT": 3},
    ),
    "coyo": (
        {
            "id": pa.array([841814333321], pa.int64()), "url": [URL], "text": [TEXT], "width": [1000], "height": [988],
            "image_phash": ["c9b6a7d8469c1959"], "num_faces": [0], "clip_similarity_vitb32": [0.43], "watermark_score": [0.1],
        },
        {"source_id": "841814333321", "source.width": 1000, "num_faces": 0, "clip_similarity_vitb32": 0.43, "image_phash": "c9b6a7d8469c1959"},
    ),
    "datacomp": (
        {
            "uid": ["ab" * 16], "url": [URL], "text": [TEXT], "original_width": [640], "original_height": [480],
            "clip_b32_similarity_score": [0.2], "clip_l14_similarity_score": [0.21], "face_bboxes": [[[0.1, 0.2, 0.3, 0.4]]],
            "sha256": ["cd" * 32],
        },
        {"source_id": "ab" * 16, "expected_sha256": "cd" * 32, "clip_l14_similarity_score": 0.21, "face_bboxes": [[0.1, 0.2, 0.3, 0.4]]},
    ),
    "img2dataset": (
        {
            "url": [URL], "caption": [TEXT], "key": ["000000012"], "status": ["failed_to_download"], "error_message": ["HTTP Error 503"],
            "width": [None], "height": [None], "original_width": [None], "exif": [None], "sha256": ["ef" * 32],
        },
        {"source_id": "000000012", "expected_sha256": "ef" * 32, "source.status": "failed_to_download"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("preset", CARDS)
def test_columns_of_the_cards_are_known(tmp_path, preset):
    columns, expected = CARDS[preset]
    pq.write_table(pa.table(columns), tmp_path / "part-00000.parquet")
    (row,) = read_all(Pool(tmp_path / "d"), str(tmp_path / "*.parquet"), preset=preset)
    assert (row["url"], row["caption"], row["status"]) == (URL, TEXT, None)
    assert {name: row[name] for name in expected} == expected


def test_names_that_a_file_lacks_stay_ours(tmp_path):
    pq.write_table(pa.table({"url": [URL], "caption": [TEXT], "punsafe": [0.1]}), tmp_path / "relaion.parquet")
    (row,) = read_all(Pool(tmp_path / "d"), str(tmp_path / "relaion.parquet"), preset="laion")
    assert (row["url"], row["caption"], row["punsafe"], row["source_id"]) == (URL, TEXT, 0.1, None)


def test_columns_come_before_the_preset(tmp_path):
    pq.write_table(pa.table({"URL": [URL], "TEXT": ["theirs"], "recaption": ["mine"]}), tmp_path / "a.parquet")
    (row,) = read_all(Pool(tmp_path / "d"), str(tmp_path / "a.parquet"), {"caption": "recaption"}, preset="laion")
    assert (row["url"], row["caption"], row["TEXT"]) == (URL, "mine", "theirs")
    with pytest.raises(SourceError, match="no column 'none'"):
        list_source(str(tmp_path / "a.parquet"), {"caption": "none"}, preset="laion")
    with pytest.raises(SourceError, match=r"no column caption.*name a --preset"):
        list_source(str(tmp_path / "a.parquet"), {"url": "URL"})


LINES = [f"http://a.test/{number}.jpg\t{text}" for number, text in enumerate(['"quoted', "plain", 'an "inner" one"', "last"])]


@pytest.mark.parametrize("header", ["", "url\tcaption\n", "\ufeffurl\tcaption\n"])
@pytest.mark.parametrize("ending", ["tsv", "tsv.gz"])
def test_cc12m_has_no_header_and_no_quoting(tmp_path, header, ending):
    path = tmp_path / f"cc12m.{ending}"
    data = (header + "\n".join(LINES) + "\n").encode()
    path.write_bytes(pa.compress(data, "gzip", asbytes=True) if ending.endswith("gz") else data)
    pool = Pool(tmp_path / "d")
    found = read_all(pool, str(path), preset="cc12m", unit_size=3)
    assert [f"{row['url']}\t{row['caption']}" for row in found] == LINES and {row["status"] for row in found} == {None}
    assert [row["source_line"] for row in found] == [number + (header != "") for number in range(1, 5)]
    assert [file.header for file in pool.files()] == [("url", "caption")]


def test_a_line_with_a_tab_too_many_is_a_row_with_a_reason(tmp_path):
    (tmp_path / "cc12m.tsv").write_text("http://a.test/1\tone\nhttp://a.test/2\ttwo\tthree\nhttp://a.test/3\n")
    found = read_all(Pool(tmp_path / "d"), str(tmp_path / "cc12m.tsv"), preset="cc12m")
    assert [(row["error_message"] or "").partition(":")[0] for row in found] == ["", "bad_row", "bad_row"]


def test_the_same_file_with_and_without_a_header_is_two_files(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("url\tcaption\n" + "\n".join(LINES[1:2]) + "\n")
    files = []
    for preset in (None, "cc12m"):
        (entry,) = list_source(str(path), {}, preset=preset)
        pool = Pool(tmp_path / "d")
        file = index_file(pool, entry, unit_size=10)
        assert RowReader(pool).read(file.units[0])["caption"].to_pylist() == ["plain"]
        files.append(file.file)
    assert len(set(files)) == 2


def test_every_preset_is_tested():
    assert {*CARDS, "cc12m"} == set(PRESETS)


@pytest.mark.parametrize("text", ["7", "007"])
def test_ids_are_text_or_whole_numbers(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(
        f'{{"url": "{URL}", "caption": "c", "source_id": {text if text == "7" else repr(text)}}}\n'.replace("'", '"')
    )
    (row,) = read_all(Pool(tmp_path / "d"), str(tmp_path / "a.jsonl"))
    assert (row["source_id"], row["status"]) == (text, None)
