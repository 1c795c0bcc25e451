"""WebDataset tars and img2dataset's outputs as rows: every sample a row, every fault a reason, every image where it lies."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.formats import SourceError
from pipelines.sources.img2dataset import failure_of
from pipelines.sources.listing import list_source
from pipelines.sources.rows import InPlace, RowReader, index_file
from pipelines.sources.tar_members import MOST_TEXT
from schemas.pool import Pool
from schemas.store import StoreError
from tests.tars import sample, shot, write_tar


def chunks(pool: Pool, spec: str, columns: dict[str, str] | None = None, *, unit_size: int = 100, **more) -> list[InPlace]:
    reader, found = RowReader(pool), []
    for entry in list_source(spec, columns or {}, **more):
        for unit in index_file(pool, entry, unit_size=unit_size).units:
            taken = reader.in_place(unit)
            assert taken is not None and taken.source.num_rows == len(taken.places)
            assert reader.read(unit).equals(taken.source)
            found.append(taken)
    return found


def rows(pool: Pool, spec: str, columns: dict[str, str] | None = None, **more) -> list[dict]:
    """Rows, with the bytes at the row's place as `bytes`."""
    found = []
    for taken in chunks(pool, spec, columns, **more):
        data = Path(taken.tar.path).read_bytes()
        for row, place in zip(taken.source.to_pylist(), taken.places, strict=True):
            found.append({**row, "bytes": None if place is None else data[place.offset : place.offset + place.size], "place": place})
    return found


def test_samples_are_rows(tmp_path):
    members = [
        *sample("0001", 1, "one"),
        ("0002.json", b'{"caption": "two", "url": "http://a.test/2.png", "license": "CC0", "width": 7, "tags": ["a"]}'),
        ("0002.png", shot(2)),
        ("sub/0003.JPG", shot(3)),
        ("sub/0003.caption", "셋".encode()),
        ("sub/0003.seg.png", b"a mask"),
        ("sub/0003.cls", b"7"),
        ("__index__.json", b"{}"),
        ("README", b"no sample"),
    ]
    found = rows(Pool(tmp_path / "d"), str(write_tar(tmp_path / "a.tar", members)))
    assert [(row["caption"], row["status"], row["bytes"]) for row in found] == [
        ("one", None, shot(1)),
        ("two", None, shot(2)),
        ("셋", None, shot(3)),
    ]
    assert [row["file_name"] for row in found] == ["a.tar/0001.jpg", "a.tar/0002.png", "a.tar/sub/0003.JPG"]
    assert [row["place"].key for row in found] == ["0001", "0002", "sub/0003"]
    two = found[1]
    assert (two["url"], two["license"], two["source.width"], two["tags"]) == ("http://a.test/2.png", "CC0", 7, ["a"])
    assert [row["source_line"] for row in found] == [1, 2, 3]


def test_keys_of_json_are_mapped_and_txt_comes_first(tmp_path):
    members = [*sample("a", 1, None, TEXT="of the json", who="me"), *sample("b", 2, "of the txt", caption="of the json")]
    found = rows(Pool(tmp_path / "d"), str(write_tar(tmp_path / "a.tar", members)), {"creator": "who"})
    assert [(row["caption"], row["creator"]) for row in found] == [(None, "me"), ("of the txt", None)]
    found = rows(Pool(tmp_path / "e"), str(tmp_path / "a.tar"), {"caption": "TEXT"})
    assert found[0]["caption"] == "of the json"


def test_members_of_a_sample_may_lie_apart(tmp_path):
    members = [("a.jpg", shot(1)), ("b.jpg", shot(2)), ("a.txt", b"A"), ("b.txt", b"B")]
    found = rows(Pool(tmp_path / "d"), str(write_tar(tmp_path / "a.tar", members)))
    assert [(row["caption"], row["bytes"]) for row in found] == [("A", shot(1)), ("B", shot(2))]


def test_faulty_samples_are_rows_with_reasons(tmp_path):
    members = [
        *sample("good", 1),
        ("none.txt", b"no image"),
        *[("two.jpg", shot(2)), ("two.png", shot(3)), ("two.txt", b"two images")],
        *[("twice.jpg", shot(4)), ("twice.txt", b"first"), ("twice.jpg", shot(5))],
        *sample("silent", 6, None),
        *[("list.jpg", shot(7)), ("list.json", b"[]")],
        *[("broken.jpg", shot(8)), ("broken.json", b"{oops")],
        *[("latin.jpg", shot(9)), ("latin.txt", b"caf\xe9")],
        *sample("number", 10, None, caption=7),
        *sample("hash", 11, "c", sha256="not hex"),
        *sample("long", 12, "c" * (MOST_TEXT + 1)),
    ]
    found = rows(Pool(tmp_path / "d"), str(write_tar(tmp_path / "a.tar", members)), unit_size=3)
    assert [(row["status"], (row["error_message"] or "").partition(":")[0]) for row in found] == [
        (None, ""),
        ("failed_to_download", "missing_file"),
        ("invalid", "bad_row"),
        ("invalid", "bad_row"),
        ("invalid", "no_caption"),
        ("invalid", "bad_row"),
        ("invalid", "bad_row"),
        ("invalid", "bad_row"),
        ("invalid", "wrong_type"),
        ("invalid", "sha256"),
        ("invalid", "bad_row"),
    ]
    assert "two.jpg and two.png" in found[2]["error_message"] and "twice.jpg more than once" in found[3]["error_message"]


def test_a_cut_tar_gives_its_whole_samples_and_says_so(tmp_path):
    path = write_tar(tmp_path / "a.tar", [*sample("a", 1, "A"), *sample("b", 2, "B")])
    whole = rows(Pool(tmp_path / "d"), str(path))
    end = whole[1]["place"].offset + 10
    path.write_bytes(path.read_bytes()[:end])
    found = rows(Pool(tmp_path / "d"), str(path))
    assert [(row["status"], row["bytes"]) for row in found] == [(None, shot(1)), ("failed_to_download", None), ("invalid", None)]
    assert found[1]["error_message"] == "truncated: the tar ends within the sample"
    assert found[2]["error_message"] == f"bad_row: the tar is damaged: it ends at byte {end:,}, within b.jpg"


def test_names_that_are_no_utf8_are_told(tmp_path):
    members = [(f"{key}.jpg", shot(1)) for key in ("ok", "caf\udce9")] + [("ok.txt", b"c"), ("caf\udce9.txt", b"c")]
    found = rows(Pool(tmp_path / "d"), str(write_tar(tmp_path / "a.tar", members)))
    assert [(row["status"], (row["error_message"] or "")[:24]) for row in found] == [(None, ""), ("invalid", "bad_row: the texts of ca")]


def test_chunks_limit_and_sample(tmp_path):
    path = write_tar(tmp_path / "a.tar", [member for number in range(20) for member in sample(f"{number:04}", number, f"n {number}")])
    pool = Pool(tmp_path / "d")
    assert [taken.source.num_rows for taken in chunks(pool, str(path), unit_size=8)] == [8, 8, 4]
    assert [row["caption"] for row in rows(pool, str(path), unit_size=8)] == [f"n {number}" for number in range(20)]
    assert [row["caption"] for row in rows(pool, str(path), limit=3)] == ["n 0", "n 1", "n 2"]
    some = rows(pool, str(path), unit_size=8, sample=0.5)
    assert 0 < len(some) < 20 and all(row["bytes"] == shot(int(row["caption"][2:])) for row in some)


def test_a_tar_is_known_by_its_content_and_not_by_its_clock(tmp_path):
    path = write_tar(tmp_path / "a.tar", sample("a", 1, "cat"))
    (entry,) = list_source(str(path), {})
    pool = Pool(tmp_path / "d")
    first = index_file(pool, entry, unit_size=10)
    os.utime(path, (1, 1))
    assert index_file(pool, entry, unit_size=10) == first
    write_tar(path, sample("a", 1, "dog"))
    assert index_file(pool, entry, unit_size=10).file != first.file
    with pytest.raises(SourceError, match="is not the file that unit"):
        RowReader(pool).in_place(first.units[0])


def img2dataset_output(folder, rows, name="00000"):
    """As img2dataset writes it: images of `rows` that are a success, and the Parquet file of all."""
    members = [part for row in rows if row["status"] == "success" for part in sample(row["key"], int(row["key"]), row["caption"])]
    write_tar(folder / f"{name}.tar", members)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")


ROWS = [
    {
        "url": "http://a.test/2",
        "caption": "two",
        "key": "0002",
        "status": "failed_to_download",
        "error_message": "HTTP Error 404: Not Found",
    },
    {"url": "http://a.test/0", "caption": "zero", "key": "0000", "status": "success", "error_message": None},
    {"url": "http://a.test/1", "caption": None, "key": "0001", "status": "success", "error_message": None},
    {"url": "http://a.test/3", "caption": "three", "key": "0003", "status": "failed_to_resize", "error_message": "image too small"},
]
MORE = {
    "width": 16,
    "height": 16,
    "original_width": 400,
    "original_height": 300,
    "exif": '{"Make": "x"}',
    "sha256": "ab" * 32,
    "punsafe": 0.5,
}


def test_rows_of_img2dataset_come_from_its_parquet_file(tmp_path):
    img2dataset_output(tmp_path, [{**row, **MORE} for row in ROWS])
    (taken,) = chunks(Pool(tmp_path / "d"), str(tmp_path))
    found = taken.source.to_pylist()
    assert [(row["url"], row["status"], row["error_message"]) for row in found] == [
        ("http://a.test/2", "failed_to_download", "http_404: HTTP Error 404: Not Found"),
        ("http://a.test/0", None, None),
        ("http://a.test/1", "invalid", "no_caption"),
        ("http://a.test/3", "failed_to_resize", "img2dataset: image too small"),
    ]
    place = taken.places[1]
    assert place is not None and (place.key, place.original_width, place.original_height, place.exif) == ("0000", 400, 300, '{"Make": "x"}')
    assert found[1]["expected_sha256"] == "ab" * 32 and found[1]["punsafe"] == 0.5 and found[1]["source.status"] == "success"
    assert [place is not None for place in taken.places] == [False, True, True, False]


def test_what_the_tar_lacks_is_told_row_by_row(tmp_path):
    img2dataset_output(tmp_path, [*ROWS[:2], {**ROWS[1], "key": "0007"}])
    path = tmp_path / "00000.tar"
    whole = path.read_bytes()
    cut = rows(Pool(tmp_path / "d"), str(path))[2]["place"].offset
    path.write_bytes(whole[: cut + 9])
    assert [row["error_message"] for row in rows(Pool(tmp_path / "d"), str(path))][1:] == [
        None,
        f"truncated: the tar ends within the sample; the tar is damaged: it ends at byte {cut + 9:,}, within 0007.jpg",
    ]
    path.write_bytes(whole[: cut - 512])
    assert [row["error_message"] for row in rows(Pool(tmp_path / "d"), str(path))][1:] == [
        None,
        f"missing_file: the tar has no image of the key 0007; the tar is damaged: it ends at byte {cut - 512:,} without an end mark",
    ]
    write_tar(path, [("0000.jpg", shot(0)), ("0007.jpg", shot(7)), ("0007.png", shot(7))])
    path.write_bytes(path.read_bytes().rstrip(b"\0"))
    assert [row["error_message"] for row in rows(Pool(tmp_path / "d"), str(path))][1:] == [
        None,
        "bad_row: several images in a sample, 0007.jpg and 0007.png",
    ], "that the tar is damaged has nothing to do with it"


def test_a_tar_of_img2dataset_that_was_packed_again_with_a_folder_before_its_names(tmp_path):
    img2dataset_output(tmp_path, ROWS[:3])
    path = tmp_path / "00000.tar"
    first = rows(Pool(tmp_path / "d"), str(path))
    write_tar(path, [("./0000.jpg", shot(0)), ("./0000.txt", b"zero"), ("./0001.jpg", shot(1))])
    again = rows(Pool(tmp_path / "e"), str(path))
    for name in ("url", "status", "error_message", "bytes"):
        assert [row[name] for row in again] == [row[name] for row in first]
    assert [row["file_name"] for row in again] == [None, "00000.tar/./0000.jpg", "00000.tar/./0001.jpg"]
    write_tar(path, [*sample("0000", 0), ("./0000.jpg", shot(4)), ("./0001.jpg", shot(1))])
    assert rows(Pool(tmp_path / "f"), str(path))[1]["error_message"] == "bad_row: the tar has 0000.jpg more than once"


def test_sources_of_tars_are_found(tmp_path):
    img2dataset_output(tmp_path, ROWS)
    (tmp_path / "00000_stats.json").write_text("{}")
    (tmp_path / "sub").mkdir()
    write_tar(tmp_path / "sub" / "plain.tar", sample("a", 1))
    pq.write_table(pa.table({"x": [1]}), tmp_path / "sub" / "plain.parquet")  # another's
    expected = [("00000.tar", "img2dataset"), ("sub/plain.tar", "tar")]
    for spec in (str(tmp_path), str(tmp_path / "**" / "*.tar")):
        entries = list_source(spec, {})
        assert [(entry.path, entry.kind) for entry in entries] == expected
        assert all(entry.images and entry.default_unit_size == 10_000 for entry in entries)
    assert [entry.path for entry in list_source(str(tmp_path / "*"), {})] == ["00000.tar"], "what img2dataset wrote for a tar comes with it"
    with pytest.raises(SourceError, match=r"plain\.parquet: no column caption"):
        list_source(str(tmp_path / "sub" / "*"), {})


def test_folders_that_are_no_clear_source_are_told(tmp_path):
    img2dataset_output(tmp_path, ROWS)
    (tmp_path / "00000.parquet").rename(tmp_path / "00001.parquet")
    with pytest.raises(SourceError, match=r"00001\.parquet: img2dataset's tar of it is missing"):
        list_source(str(tmp_path), {})
    (tmp_path / "00001.parquet").unlink()
    (tmp_path / "loose.jpg").write_bytes(shot(1))
    with pytest.raises(SourceError, match=r"tars \(00000\.tar\) and images"):
        list_source(str(tmp_path), {})
    pq.write_table(
        pa.table({"url": ["u"], "TEXT": ["t"], "key": ["0"], "status": ["success"], "error_message": [""]}), tmp_path / "00000.parquet"
    )
    with pytest.raises(SourceError, match="no column caption"):
        list_source(str(tmp_path / "00000.tar"), {})
    (entry,) = list_source(str(tmp_path / "00000.tar"), {"caption": "TEXT"})
    assert entry.kind == "img2dataset"


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.zst"])
def test_a_compressed_tar_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match="unpack it to a plain"):
        list_source(str(tmp_path / name), {})


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        ("success", None, None),
        ("failed_to_download", "HTTP Error 503: Service Unavailable", ("failed_to_download", "http_503")),
        ("failed_to_download", "<urlopen error timed out>", ("failed_to_download", "timeout")),
        ("failed_to_download", "<urlopen error [Errno -2] Name or service not known>", ("failed_to_download", "dns")),
        ("failed_to_download", "<urlopen error [Errno 111] Connection refused>", ("failed_to_download", "connect")),
        ("failed_to_download", "IncompleteRead(5 bytes read, 9 more expected)", ("failed_to_download", "truncated")),
        ("failed_to_download", "hash mismatch", ("failed_to_download", "sha256")),
        ("failed_to_download", "Use of image disallowed by X-Robots-Tag directive", ("refused", "optout")),
        ("failed_to_download", "unknown url type: 'x'", ("failed_to_download", "img2dataset")),
        ("failed_to_resize", "Image decoding error", ("failed_to_resize", "undecodable")),
        ("failed_to_resize", "aspect ratio too large", ("failed_to_resize", "img2dataset")),
        (None, None, ("failed_to_download", "img2dataset")),
    ],
)
def test_failures_in_our_words(status, message, expected):
    found = failure_of(status, message)
    assert (None if found is None else (found[0], found[1].partition(":")[0])) == expected


def test_a_tar_that_changes_after_it_was_measured_is_not_read(tmp_path):
    path = write_tar(tmp_path / "a.tar", sample("a", 1))
    (taken,) = chunks(Pool(tmp_path / "d"), str(path))
    taken.tar.check()
    path.write_bytes(path.read_bytes())
    with pytest.raises(StoreError, match="was changed after its images were measured"):
        taken.tar.check()
    path.unlink()
    with pytest.raises(StoreError, match="put it back"):
        taken.tar.check()
