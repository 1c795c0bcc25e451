"""Exports with images: what `datasets.load_dataset` reads as imagefolder, WebDataset and Parquet; each with its card, NOTICE and ATTRIBUTION."""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.exports import Export, Tell, told
from pipelines.tar import TarWriter, copy_members
from quality.documents.attribution import attribution
from quality.documents.card import features_of_tars, head
from quality.documents.facts import Facts
from quality.documents.notice import notice, obligations
from schemas.columns import field

_WINDOW_BYTES: Final = 32_000_000  # of images in memory
_ROW_GROUP: Final = 100  # pairs: Hugging Face's default for datasets with images, so that a reader holds few at a time
_SPARSE: Final = 0.01  # a JSON column with values in fewer pairs is left out: its reader takes types from the first ten megabytes
_DESCRIPTIVE: Final = ("uid", "width", "height", "license", "license_url", "creator", "title", "source_page", "url")


def imagefolder(export: Export, folder: Path, tell: Tell) -> None:
    """train/<shard>/<uid>.<suffix> and train/metadata.jsonl, or .csv: file_name, text, then what is known of the pair where enough pairs have it."""
    columns = _common(export)
    (folder / "train").mkdir()
    path = folder / "train" / ("metadata.csv" if export.csv else "metadata.jsonl")
    with path.open("w", encoding="utf-8", newline="") as metadata:
        lines = csv.writer(metadata, lineterminator="\n") if export.csv else None
        if lines is not None:
            lines.writerow(["file_name", "text", *columns])
        for shard, table in export.kept.tables(["member", "offset", "size", "caption", *columns]):
            place = f"{shard['shard']:06d}"
            (folder / "train" / place).mkdir()
            for rows, images in _windows(export, shard, table):
                for row, image in zip(rows, images, strict=True):
                    name = f"{place}/{row['member']}"
                    (folder / "train" / name).write_bytes(image)
                    line = {"file_name": name, "text": row["caption"], **{column: told(row[column]) for column in columns}}
                    if lines is not None:
                        lines.writerow(line.values())
                    else:
                        metadata.write(json.dumps(line, ensure_ascii=False) + "\n")
            tell(table.num_rows)
    _papers(export.facts, folder, data_files="train/**")


def webdataset(export: Export, folder: Path, tell: Tell) -> None:
    """data/train-<shard>.tar: the shards as they are; one with a pair that is on a block list now is written anew without it."""
    (folder / "data").mkdir()
    for shard in export.kept.shards:
        table, free = export.kept.read(shard, ["uid", "member"])
        out = folder / "data" / f"train-{shard['shard']:06d}.tar"
        with export.kept.pool.store.open(export.kept.path_of(shard)) as source:
            if free.all():
                with out.open("wb") as whole:
                    shutil.copyfileobj(source, whole, 1 << 20)
            else:
                with TarWriter(out) as target:
                    copy_members(source, target, keys=set(table["uid"].filter(pa.array(free)).to_pylist()), keep=True)
        tell(int(free.sum()))
    _papers(export.facts, folder, data_files="data/*.tar", features=features_of_tars(export.facts))


def parquet(export: Export, folder: Path, tell: Tell) -> None:
    """data/train-<shard>-of-<shards>.parquet: `image` as Hugging Face's struct of bytes and path, `text`, then every column of the indexes."""
    (folder / "data").mkdir()
    shards, columns = export.kept.shards, export.columns
    schema = _parquet_schema(columns)
    compression = {leaf: "none" if leaf == "image.bytes" else "zstd" for leaf in _leaves(schema)}
    for number, (shard, table) in enumerate(export.kept.tables()):
        path = folder / "data" / f"train-{number:05d}-of-{len(shards):05d}.parquet"
        with pq.ParquetWriter(path, schema, compression=compression, use_dictionary=["license", "license_url", "creator"]) as writer:
            start = 0
            for rows, images in _windows(export, shard, table.select(["member", "offset", "size"])):
                part = table.slice(start, len(rows))
                start += len(rows)
                pictures = [{"bytes": image, "path": row["member"]} for row, image in zip(rows, images, strict=True)]
                arrays = [pa.array(pictures, schema.field("image").type), part["caption"], *(part[column.name] for column in columns)]
                writer.write_table(pa.table(arrays, schema=schema), row_group_size=_ROW_GROUP)
        tell(table.num_rows)
    _papers(export.facts, folder, data_files="data/*.parquet")


def _common(export: Export) -> list[str]:
    """The descriptive columns that at least one pair in a hundred has a value of."""
    valued = dict.fromkeys(_DESCRIPTIVE, 0)
    for _, table in export.kept.tables(_DESCRIPTIVE):
        for name in _DESCRIPTIVE:
            valued[name] += table.num_rows - table[name].null_count
    return [name for name, count in valued.items() if count > _SPARSE * export.facts.pairs]


def _windows(export: Export, shard: Mapping[str, Any], table: pa.Table) -> Iterator[tuple[Sequence[dict[str, Any]], Sequence[bytes]]]:
    """(rows, their images) in order, _WINDOW_BYTES of images at a time."""
    tar = export.kept.path_of(shard)
    ends = np.cumsum(table["size"].to_numpy()) if table.num_rows else np.zeros(0, np.int64)
    start = 0
    while start < table.num_rows:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _WINDOW_BYTES, "right")))
        rows = table.slice(start, stop - start).to_pylist()
        yield rows, export.kept.pool.store.read_ranges(tar, [(row["offset"], row["size"]) for row in rows])
        start = stop


def _parquet_schema(columns: Sequence[pa.Field]) -> pa.Schema:
    """With Hugging Face's own note on what each column is, without which an image would be read as a struct."""
    image = field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]), meaning="the file as it is in the shard")
    fields = [image, field("text", pa.string(), meaning="the caption"), *columns]
    features = {one.name: {"dtype": _dtype(one.type), "_type": "Value"} for one in fields} | {"image": {"_type": "Image"}}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _dtype(kind: pa.DataType) -> str:
    return {"double": "float64", "float": "float32", "halffloat": "float16"}.get(str(kind), str(kind))


def _leaves(schema: pa.Schema) -> list[str]:
    return ["image.bytes", "image.path", *(name for name in schema.names if name != "image")]


def _papers(facts: Facts, folder: Path, *, data_files: str, features: Sequence[Mapping[str, Any]] | None = None) -> None:
    """README.md, NOTICE, OBLIGATIONS.md, ATTRIBUTION.csv and ATTRIBUTION.html: what has to be handed on with images."""
    for path, data in attribution(facts):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "NOTICE").write_text(notice(facts), "utf-8")
    (folder / "OBLIGATIONS.md").write_text(obligations(facts), "utf-8")
    body = (
        f"# {facts.name}\n\n{facts.pairs:,} pictures with captions, exported from release `{facts.manifest['release']}`, digest "
        f"`{facts.manifest['digest']}`. What each licence asks for is in `OBLIGATIONS.md`; `ATTRIBUTION.csv` and `NOTICE` have to be "
        "handed on with it.\n"
    )
    (folder / "README.md").write_text(f"{head(facts, data_files=data_files, features=features)}\n\n{body}", "utf-8")
