"""Shards from a real pool: what webdataset reads is what the pool holds, and every run writes the same bytes."""

import copyreg
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import webdataset as wds
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from PIL import Image

from pipelines import shards as shards_module
from pipelines.shards import MEMBERS, ShardError, ShardWriter
from pipelines.steps.write_shards import WriteShards, shard_count, shards_of
from pipelines.tar import TarWriter
from quality.images import Target, read_header
from schemas.columns import RAW, table_of, uid_of
from schemas.pool import Pool
from schemas.release import DECISIONS, Release
from schemas.units import Pass, ScorerInfo
from tests.pools import FILE, PASS, SCORES, unit

SHARDS = 3
SCORE_COLUMNS = [(PASS.name, ["clip.similarity", "nsfw.open_nsfw"])]
AS_IT_IS = Target("no", format="original")


def picture(number: int, format_: str, **options: Any) -> bytes:
    rng = np.random.default_rng(number)
    pixels = np.kron(rng.integers(0, 255, (4, 5, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format_, **options)
    return out.getvalue()


def add_unit(
    pool: Pool,
    release: Release,
    chunk: int,
    images: list[bytes],
    *,
    kept: list[bool] | None = None,
    carried: bool = False,
    sha256: str | None = None,
) -> list[dict]:
    """Commits a unit with a real tar, its scores, and decisions."""
    name, rows = unit(chunk), list[dict[str, Any]]()
    tar_path = Path(pool.store.root).parent / "unit.tar"
    with TarWriter(tar_path) as tar:
        for row, data in enumerate(images):
            url, caption = f"http://host.test/{chunk}/{row}", f"그림 number {row} of {chunk}"
            header = read_header(data)
            of_source = {"url": url, "caption": caption, "license": "CC BY 4.0" if row % 2 else None, "points": row}
            of_fetch = {"key": f"{row:09d}", "status": "success", "offset": tar.add(f"{row:09d}", data), "size": len(data)}
            of_image = {
                "sha256": sha256 or hashlib.sha256(data).hexdigest(),
                "width": header and header.width,
                "height": header and header.height,
            }
            scores = {"clip.similarity": 0.1 * row, "nsfw.open_nsfw": None if row % 3 else 0.0625}
            uid = uid_of(url=url, sha256=None, caption=caption)
            rows.append({"row": row, "uid": uid, "reasons": [], **of_source, **of_fetch, **of_image, **scores})
    for row, keep in zip(rows, kept or [True] * len(rows), strict=True):
        row["verdict"] = "keep" if keep else "drop"
    raw = pa.schema([*RAW, pa.field("points", pa.int64())]) if carried else RAW
    commit = pool.commit(name, table_of(rows, raw), tar=tar_path, input_digest="input")
    tar_path.unlink()
    pool.put_pass(PASS)
    pool.commit_scores(PASS.name, name, table_of(rows, SCORES), input_digest=commit.content_digest)
    release.put_decisions(name, table_of(rows, DECISIONS))
    return rows


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "data")


@pytest.fixture
def release(pool: Pool) -> Release:
    return Release(pool.store, "one")


@pytest.fixture
def rows(pool: Pool, release: Release) -> list[dict]:
    """40 pairs in four units, 32 of them kept; the last unit comes from a source with a column of its own."""
    formats = [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("JPEG", {"comment": b"secret", "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"})]
    found = []
    for chunk in range(4):
        images = [picture(10 * chunk + row, formats[row % 4][0], **formats[row % 4][1]) for row in range(10)]
        for row in add_unit(pool, release, chunk, images, kept=[row % 5 != 1 for row in range(10)], carried=chunk == 3):
            found.append({**row, "unit": unit(chunk), "data": images[row["row"]]})
    return found


def write(pool: Pool, release: Release, *, target: Target = AS_IT_IS, shards: int = SHARDS, order: int = 1, threads: int = 2) -> None:
    units = sorted(pool.committed())[::order]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        numbers = (
            pipeline | beam.Create(units) | WriteShards(pool, release, target, shards=shards, score_columns=SCORE_COLUMNS, threads=threads)
        )
        assert_that(numbers, equal_to(list(range(shards))))


def tars(release: Release) -> list[Path]:
    return [Path(release.store.path_of(release.shard_path(shard.shard, "tar"))) for shard in release.shards()]


def samples(release: Release) -> list[dict[str, Any]]:
    return list(wds.WebDataset([str(path) for path in tars(release)], shardshuffle=False, empty_check=False))


def test_webdataset_reads_what_the_pool_holds(pool, release, rows):
    write(pool, release)
    kept = {row["uid"]: row for row in rows if row["verdict"] == "keep"}
    found = samples(release)
    assert len(found) == len(kept) == 32
    assert {sample["__key__"] for sample in found} == set(kept)
    for sample in found:
        row = kept[sample["__key__"]]
        assert sample["txt"].decode() == row["caption"]
        (image,) = (sample[suffix] for suffix in ("jpg", "png", "webp") if suffix in sample)
        assert np.array_equal(
            np.asarray(Image.open(io.BytesIO(image)).convert("RGB")), np.asarray(Image.open(io.BytesIO(row["data"])).convert("RGB"))
        )
        assert b"secret" not in image and not Image.open(io.BytesIO(image)).getexif()
        told = json.loads(sample["json"])
        assert list(told) == sorted(told)
        stored = pool.read_scores(PASS.name, row["unit"]).slice(row["row"], 1).to_pylist()[0]
        expected = {name: row[name] for name in ("uid", "url", "caption", "license", "sha256", "width", "height", "unit", "row")}
        expected |= {name: stored[name] for name in SCORE_COLUMNS[0][1]}
        assert {name: told[name] for name in expected} == expected
        assert told.get("points") == (row["row"] if row["unit"] == unit(3) else None)
        assert not set(told) & {"key", "offset", "size", "status", "#tar"}


def test_redacted_captions_in_text_json_and_index(pool, release, tmp_path):
    caption, mail = "그림, 문의 jane.doe@example.com", "jane.doe@example.com"
    name, data = unit(0), picture(0, "JPEG")
    with TarWriter(tmp_path / "unit.tar") as tar:
        row = {"row": 0, "uid": "0" * 32, "status": "success", "key": "0", "offset": tar.add("0", data), "size": len(data)}
    row |= {"caption": caption, "title": f"by {mail}", "creator": f"Jane Doe <{mail}>", "reasons": [], "verdict": "keep"}
    row |= {"url": f"http://host.test/{mail}.jpg", "source_id": mail, "license": f"ask {mail}", "evidence": f'{{"ai_fields":"{mail}"}}'}
    row |= {"exif": f'{{"Artist": "{mail}"}}', "sha256": hashlib.sha256(data).hexdigest()}
    carried = pa.table(
        {"tags": [["cat", mail]], "note": [mail], "people": [[{"name": "Jane", "phone": "010-1234-5678"}]], "number": [4111111111111111]}
    )
    raw = table_of([row], RAW)
    for place, column in enumerate(carried.column_names):
        raw = raw.append_column(carried.schema.field(place), carried[column])
    commit = pool.commit(name, raw, tar=tmp_path / "unit.tar", input_digest="input")
    pass_ = Pass.of([ScorerInfo("evidence", "metadata@test", ("evidence.ai_fields", "evidence.editor"))])
    pool.put_pass(pass_)
    said = {"evidence.ai_fields": [f'{{"AIPromptWriterName": "{mail}"}}'], "evidence.editor": ["GIMP 2.10"]}
    pool.commit_scores(pass_.name, name, pa.table(said), input_digest=commit.content_digest)
    release.put_decisions(name, table_of([row], DECISIONS))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        step = WriteShards(pool, release, AS_IT_IS, shards=1, redact=True, score_columns=[(pass_.name, list(said))])
        _ = pipeline | beam.Create([name]) | step
    (sample,) = samples(release)
    told, index = json.loads(sample["json"]), release.read_index(0).to_pylist()[0]
    assert sample["txt"].decode() == told["caption"] == index["caption"] == "그림, 문의 [e-mail]"
    assert told["title"] == index["title"] == "by [e-mail]"
    assert told["creator"] == index["creator"] == "Jane Doe <[e-mail]>", "licences ask for the creator's name"
    assert told["license"] == index["license"] == "ask [e-mail]" and json.loads(told["exif"]) == {"Artist": "[e-mail]"}
    assert (told["tags"], told["note"], told["number"]) == (["cat", "[e-mail]"], "[e-mail]", 4111111111111111)
    assert told["people"] == [{"name": "Jane", "phone": "[phone]"}]
    assert told["evidence.ai_fields"] == index["evidence.ai_fields"] == '{"AIPromptWriterName": "[e-mail]"}'
    assert told["evidence.editor"] == "GIMP 2.10" and "evidence" not in told
    assert (told["url"], told["source_id"], told["sha256"]) == (row["url"], mail, row["sha256"]), "what leads back to the pair stays"
    assert {name for name, value in told.items() if mail in json.dumps(value)} == {"url", "source_id"}
    assert pool.read_raw(name, ["caption"])["caption"].to_pylist() == [caption]


@pytest.mark.parametrize("target", [AS_IT_IS, Target("keep_ratio_largest", 32)])
def test_the_index_cuts_the_very_bytes_out_of_the_tar(pool, release, rows, target):
    pool.adopt_settings("source", {"fetch": {"store": "original"}})
    write(pool, release, target=target)
    seen, size = {}, (50, 40) if target == AS_IT_IS else (32, 26)
    for shard, path in zip(release.shards(), tars(release), strict=True):
        data = path.read_bytes()
        assert hashlib.sha256(data).hexdigest() == shard.sha256 and len(data) == shard.bytes
        index = release.read_index(shard.shard)
        assert index["uid"].to_pylist() == sorted(index["uid"].to_pylist())
        assert shards_of(index["uid"], SHARDS).tolist() == [shard.shard] * len(index)
        assert str(index.schema.field("clip.similarity").type) == "float"
        with tarfile.open(path) as tar:
            for row in index.to_pylist():
                image = data[row["offset"] : row["offset"] + row["size"]]
                assert tar.extractfile(row["member"]).read() == image and hashlib.sha256(image).hexdigest() == row["sha256"]
                assert Image.open(io.BytesIO(image)).size == (row["width"], row["height"]) == size
                seen[row["uid"]] = (row["unit"], row["row"], row["caption"], row["license"])
    assert seen == {row["uid"]: (row["unit"], row["row"], row["caption"], row["license"]) for row in rows if row["verdict"] == "keep"}


@pytest.mark.parametrize("store", ["original", "resized"])
def test_digests_of_the_source_are_taken_over_only_where_the_bytes_are_the_sources(pool, release, store):
    pool.adopt_settings("source", {"fetch": {"store": store}})
    rows = add_unit(pool, release, 0, [picture(0, "JPEG")], sha256="0" * 64)
    write(pool, release, shards=1)
    digest = hashlib.sha256(picture(0, "JPEG")).hexdigest()
    assert release.read_index(0)["sha256"].to_pylist() == ["0" * 64 if store == "original" else digest]
    assert json.loads(samples(release)[0]["json"])["sha256"] == rows[0]["sha256"]


def test_every_run_writes_the_same_bytes(pool, release, rows, monkeypatch):
    write(pool, release, target=Target("center_crop", 24))
    again = Release(pool.store, "two")
    for name in sorted(pool.committed()):
        again.put_decisions(name, release.read_decisions(name))
    monkeypatch.setattr("pipelines.steps.write_shards._GATHERED_ROWS", 5)
    monkeypatch.setattr("pipelines.steps.write_shards._MEMBERS_AHEAD", 1)
    monkeypatch.setattr(shards_module, "_WINDOW_BYTES", 1000)
    monkeypatch.setattr(shards_module, "_TASK_PAIRS", 2)
    write(pool, again, target=Target("center_crop", 24), order=-1, threads=4)
    assert [shard.__dict__ for shard in again.shards()] == [shard.__dict__ for shard in release.shards()]
    assert len({shard.sha256 for shard in release.shards()}) == SHARDS


def test_a_killed_run_is_continued(pool, release, rows):
    """Killed between a shard's tar and its index: what is committed is adopted, the rest is written, and the bytes are the same."""
    write(pool, release)
    before = [shard.__dict__ for shard in release.shards()]
    os.unlink(release.store.path_of(release.shard_path(1, "parquet")))
    for suffix in ("parquet", "tar"):
        os.unlink(release.store.path_of(release.shard_path(2, suffix)))
    untouched = tars(Release(pool.store, "one"))[0].stat().st_mtime_ns
    write(pool, release)
    assert [shard.__dict__ for shard in release.shards()] == before
    assert tars(release)[0].stat().st_mtime_ns == untouched


def test_a_cut_tar_without_index_is_replaced(pool, release, rows):
    write(pool, release)
    path, before = tars(release)[1], release.shards()[1].sha256
    path.write_bytes(path.read_bytes()[:700])
    os.unlink(release.store.path_of(release.shard_path(1, "parquet")))
    write(pool, release)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before == release.shards()[1].sha256


def test_shards_without_pairs_are_empty_tars(pool, release):
    add_unit(pool, release, 0, [picture(0, "JPEG")])
    write(pool, release, shards=5)
    assert [shard.count for shard in release.shards()].count(0) == 4
    assert len(samples(release)) == 1
    schemas = {release.read_index(shard.shard).schema.remove_metadata().to_string(show_field_metadata=False) for shard in release.shards()}
    assert len(schemas) == 1
    for path in tars(release):
        with tarfile.open(path) as tar:
            assert len(tar.getmembers()) in (0, 3)


def test_nothing_at_all_kept(pool, release):
    add_unit(pool, release, 0, [picture(0, "JPEG")], kept=[False])
    write(pool, release, shards=2)
    assert [shard.count for shard in release.shards()] == [0, 0]


def test_a_kept_image_that_cannot_be_converted_stops_the_job(pool, release):
    add_unit(pool, release, 0, [picture(0, "JPEG"), picture(1, "JPEG")[:-300]])
    with pytest.raises(Exception, match=rf"unit {FILE}-00000, row 1 .*undecodable"):
        write(pool, release)
    assert all(shard.count < 2 for shard in release.shards())


def test_a_uid_kept_twice_is_refused(pool, release, rows):
    one = {"uid": rows[0]["uid"], "unit": rows[0]["unit"], "row": rows[0]["row"]}
    writer = ShardWriter(pool, release, AS_IT_IS)
    with pytest.raises(ShardError, match="is kept twice"):
        list(writer.write([(0, pa.Table.from_pylist([one, one], MEMBERS))]))
    with pytest.raises(ShardError, match="do not fit"):
        list(writer.write([(0, pa.Table.from_pylist([{**one, "row": 2}], MEMBERS))]))
    assert not release.shards() and not release.store.exists(release.shard_path(0, "tar"))


def test_only_keys_are_shuffled(pool, release, rows, monkeypatch):
    """No batch is pickled, and what the coder sees is uid, unit and row."""
    import pipelines.coders as coders

    shuffled = []

    def refuse(batch: pa.RecordBatch):
        raise AssertionError("a RecordBatch was pickled")

    monkeypatch.setitem(copyreg.dispatch_table, pa.RecordBatch, refuse)
    monkeypatch.setattr(coders, "batch_to_bytes", lambda batch, encode=coders.batch_to_bytes: shuffled.append(batch) or encode(batch))
    write(pool, release)
    assert {tuple(batch.schema.names) for batch in shuffled} == {("uid", "unit", "row")}
    assert sum(batch.num_rows for batch in shuffled) >= 32


def test_shard_count():
    assert shard_count(0, 0) == 1
    assert shard_count(10_000, 256_000_000) == 1
    assert shard_count(10_001, 0) == shard_count(1, 256_000_001) == 2
    assert shard_count(100, 10, max_count=25) == 4


def test_shards_of_is_the_number_of_the_first_digits():
    uids = ["00" * 16, "000000000000000a" + "f" * 16, "f" * 32]
    assert shards_of(pa.array(uids), 7).tolist() == [0, 10 % 7, (2**64 - 1) % 7]
