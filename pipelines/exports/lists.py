"""Exports without images: LAION's metadata, img2dataset's url list, DataComp's subset of ids."""

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.exports import Export, Tell
from quality.urls import BadUrl, url_of
from schemas.columns import field
from schemas.pool import Pool
from schemas.value_lists import write_ids

# LAION's names (LAION-5B, arXiv 2210.08402, and the Parquet files themselves) for columns of ours. Only what a pool has measured: no
# `pwatermark`, which nothing here gives. `punsafe` is LAION's own CLIP head, which is what nsfw.clip is when it was scored with.
_LAION: Final = {
    "URL": "url", "TEXT": "caption", "WIDTH": "width", "HEIGHT": "height", "LICENSE": "license", "similarity": "clip.similarity",
    "punsafe": "nsfw.clip", "uid": "uid",
}  # fmt: skip
_URL_LIST: Final = ("url", "caption", "sha256", "uid", "license", "license_url", "creator")


def laion(export: Export, folder: Path, tell: Tell) -> None:
    """part-<shard>.parquet (or .csv) with LAION's column names, of pairs that have a url."""
    there = set(export.facts.schema.names)
    names = {theirs: ours for theirs, ours in _LAION.items() if ours in there}
    for shard, table in export.kept.tables(list(names.values())):
        table = pa.table(
            [table[ours] for ours in names.values()],
            schema=pa.schema([export.facts.schema.field(ours).with_name(theirs) for theirs, ours in names.items()]),
        )
        _put(export, folder / f"part-{shard['shard']:05d}", table.filter(pc.is_valid(table["URL"])))
        tell(table.num_rows)


def url_list(export: Export, folder: Path, tell: Tell) -> None:
    """part-<shard>.parquet (or .csv) for img2dataset, of pairs that have a url.

    url: as a request sends it, ASCII: img2dataset cannot ask for any other. sha256: of the bytes as they came, for its --verify_hash.
    """
    came = _AsTheyCame(export.kept.pool)
    schema = pa.schema(
        [
            field("sha256", pa.string(), meaning="of the bytes as they came") if name == "sha256" else export.facts.schema.field(name)
            for name in _URL_LIST
        ]
        if export.facts.schema.names
        else []
    )
    for shard, table in export.kept.tables([*(name for name in _URL_LIST if name != "sha256"), "unit", "row"]):
        table = table.filter(pc.is_valid(table["url"]))
        digests = came.digests(table["unit"].to_pylist(), table["row"].to_pylist())
        sent = pa.array([_sent(url) for url in table["url"].to_pylist()], pa.string())
        ours = {"sha256": digests, "url": sent}
        columns = [ours[name] if name in ours else table[name] for name in _URL_LIST]
        _put(export, folder / f"part-{shard['shard']:05d}", pa.table(columns, schema=schema))
        tell(table.num_rows)


def datacomp_ids(export: Export, folder: Path, tell: Tell) -> None:
    """<release>.npy: uids as DataComp's sorted array of dtype u8,u8, for its resharder. A million take 100 MB of memory for a moment."""
    uids = [uid for _, table in export.kept.tables(["uid"]) for uid in table["uid"].to_pylist()]
    write_ids(uids, folder / f"{export.kept.release.name}.npy")
    tell(len(uids))


def _sent(url: str) -> str:
    try:
        return str(url_of(url))
    except BadUrl:  # of a source whose images came from elsewhere
        return url


class _AsTheyCame:
    """SHA-256 of the stored bytes, by unit and row; 80 bytes a pair of every unit that was asked about."""

    def __init__(self, pool: Pool):
        self.pool, self.units = pool, dict[str, pa.Array]()

    def digests(self, units: list[str], rows: list[int]) -> pa.Array:
        for unit in set(units) - self.units.keys():
            self.units[unit] = self.pool.read_raw(unit, ["sha256"])["sha256"].combine_chunks()
        return pa.array([self.units[unit][row].as_py() for unit, row in zip(units, rows, strict=True)], pa.string())


def _put(export: Export, path: Path, table: pa.Table) -> None:
    if export.csv:
        pyarrow.csv.write_csv(table, path.with_suffix(".csv"))
    else:
        pq.write_table(table, path.with_suffix(".parquet"), compression="zstd")
