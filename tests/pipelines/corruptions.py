"""Ways to damage a dataset, each with the one finding that names it."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.digest import digest_of_table
from schemas.pool import Pool, write_parquet
from schemas.release import Release
from tests.damage import put

Damage = Callable[["Dataset"], None]


class Dataset:
    """A copy of the appended dataset. unit: of the base; shard, tar, index: of the newest release's own; shared: one of the first's."""

    def __init__(self, root: Path, before: str, after: str):
        self.root, self.pool = root, Pool(root)
        self.before, self.after = Release(self.pool.store, before), Release(self.pool.store, after)
        self.unit, *self.others = sorted(self.pool.committed())
        self.shard, self.shared = min(self.after.own_shards()), min(self.after.references())
        self.raw, self.decisions = f"pool/raw/{self.unit}.parquet", f"releases/{after}/decisions/{self.unit}.parquet"
        commit = self.pool.raw_commit(self.unit)
        assert commit is not None and commit.tar is not None
        self.commit, self.unit_tar = commit, commit.tar
        (self.pass_,) = (pass_.name for pass_ in self.pool.passes())
        self.scores = f"pool/scores/{self.pass_}/{self.unit}.parquet"
        self.tar, self.index = (self.after.shard_path(self.shard, suffix) for suffix in ("tar", "parquet"))
        self.manifest, self.sample = f"releases/{after}/manifest.json", self.after.read_index(self.shard).to_pylist()[0]
        self.image = self.pool.read_raw(self.unit).to_pylist()[0]

    def path(self, name: str) -> Path:
        return self.root / name

    def delete(self, name: str) -> None:
        self.path(name).unlink()

    def cut(self, name: str, by: int) -> None:
        os.truncate(self.path(name), self.path(name).stat().st_size - by)

    def flip(self, name: str, at: int) -> None:
        with self.path(name).open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x41]))

    def text(self, name: str, old: str, new: str) -> None:
        data = self.path(name).read_bytes()
        assert data.count(old.encode()) >= 1 and len(old) == len(new)
        self.path(name).write_bytes(data.replace(old.encode(), new.encode(), 1))

    def json(self, name: str, change: Callable[[Any], None]) -> None:
        value = json.loads(self.path(name).read_text())
        change(value)
        self.path(name).write_text(json.dumps(value))

    def rewrite(self, name: str, change: Callable[[pa.Table], pa.Table] = lambda table: table, footer: dict | None = None) -> None:
        """A Parquet file again, with another table or another footer."""
        with self.pool.store.open(name) as file:
            table = pa.parquet.read_table(file)
        told = json.loads(table.schema.metadata[b"pigment"])
        table = change(table)
        self.path(name).unlink()
        write_parquet(table, {**told, **({} if footer is None else footer)}, self.path(name))

    def consistently(self, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
        """A Parquet file again, with another table and the footer that belongs to it."""
        with self.pool.store.open(name) as file:
            digest = digest_of_table(change(pa.parquet.read_table(file)))
        self.rewrite(name, change, {"content_digest": digest})


@dataclass(frozen=True)
class Corruption:
    """path: of the one finding, with {attributes} of the Dataset; place, what: parts of it."""

    name: str
    damage: Damage
    path: str
    place: str = ""
    what: str = ""


def orphan(name: str) -> Damage:
    def damage(data: Dataset) -> None:
        data.path(name.format(**vars(data))).write_bytes(b"left")

    return damage


def swap(column: str) -> Callable[[pa.Table], pa.Table]:
    """The first row's value of a column in the place of the second's too."""
    return lambda table: put(table, column, 1, table[column][0].as_py())


def gone(data: Dataset) -> None:
    for suffix in ("tar", "parquet"):
        data.path(data.after.shard_path(data.shared, suffix)).unlink()
    data.path(data.before.path + "/manifest.json").write_text(json.dumps({"removed": True}))


def add(**values: int) -> Callable[[Any], None]:
    def change(manifest: Any) -> None:
        for name, value in values.items():
            manifest["counts"][name] += value

    return change


def of_shard(name: str, value: object) -> Damage:
    def damage(data: Dataset) -> None:
        data.json(data.manifest, lambda manifest: manifest["shards"][data.shard].update({name: value}))

    return damage


CORRUPTIONS = [
    Corruption("a commit is gone", lambda d: d.delete(d.raw), "{raw}", "", "is not there"),
    Corruption("a commit is cut", lambda d: d.cut(d.raw, 5), "{raw}", "", "cannot be read"),
    Corruption("a caption of the pool is another", lambda d: d.rewrite(d.raw, swap("caption")), "{raw}", "", "digest of the content"),
    Corruption(
        "a commit was written anew",
        lambda d: d.consistently(d.raw, swap("caption")),
        "{raw}",
        "",
        "digest of the content, as releases have it",
    ),
    Corruption("a commit says another unit", lambda d: d.rewrite(d.raw, footer={"unit": d.others[0]}), "{raw}", "footer, unit", "name"),
    Corruption("statuses are miscounted", lambda d: d.rewrite(d.raw, footer={"statuses": {"success": 1}}), "{raw}", "footer, statuses"),
    Corruption("a unit's tar is gone", lambda d: d.delete(d.unit_tar), "{unit_tar}", "", "is not there"),
    Corruption("a unit's tar is cut", lambda d: d.cut(d.unit_tar, 20_000), "{unit_tar}", "row ", "the tar ends before the image does"),
    Corruption(
        "a byte of a stored image", lambda d: d.flip(d.unit_tar, d.image["offset"] + 40), "{unit_tar}", "row 0 (uid ", "sha256 of the image"
    ),
    Corruption(
        "a header of a unit's tar", lambda d: d.flip(d.unit_tar, d.image["offset"] - 512 + 130), "{unit_tar}", "row 0 (uid ", "header"
    ),
    Corruption(
        "a byte behind the images", lambda d: d.flip(d.unit_tar, d.path(d.unit_tar).stat().st_size - 3), "{unit_tar}", "", "sha256 of its"
    ),
    Corruption("a tar that nobody names", orphan("pool/raw/{unit}-00000000.tar"), "pool/raw/{unit}-00000000.tar", "", "no commit names it"),
    Corruption("a killed writer's file", orphan("pool/raw/{unit}.parquet#1"), "pool/raw/{unit}.parquet#1", "", "a temporary file"),
    Corruption("scores are gone", lambda d: d.delete(d.scores), "{scores}", "", "is not there"),
    Corruption("scores are cut", lambda d: d.cut(d.scores, 5), "{scores}", "", "cannot be read"),
    Corruption("a score is another", lambda d: d.rewrite(d.scores, swap("image.entropy")), "{scores}", "", "digest of the content"),
    Corruption(
        "a score was written anew", lambda d: d.consistently(d.scores, swap("image.entropy")), "{scores}", "", "as releases have it"
    ),
    Corruption(
        "scores of another commit", lambda d: d.rewrite(d.scores, footer={"input_digest": "0" * 64}), "{scores}", "footer, input_digest"
    ),
    Corruption("scores lack a row", lambda d: d.rewrite(d.scores, lambda table: table.slice(1)), "{scores}", "", "rows"),
    Corruption(
        "scores of nothing",
        orphan("pool/scores/{pass_}/0123456789abcdef-00000.parquet"),
        "pool/scores/{pass_}/0123456789abcdef-00000.parquet",
        "",
        "scores of a unit",
    ),
    Corruption(
        "a pass says nothing",
        lambda d: d.path(f"pool/scores/{d.pass_}/pass.json").write_text("{"),
        "pool/scores/{pass_}/pass.json",
        "",
        "cannot be read",
    ),
    Corruption("the source is forgotten", lambda d: d.delete("pool/source.json"), "pool/source.json", "", "is not there"),
    Corruption("a plan is gone", lambda d: d.delete(f"pool/files/{d.unit[:16]}.json"), "pool/files/{unit}.json", "", "is not there"),
    Corruption(
        "requests are cut", lambda d: d.cut(f"pool/requests/{d.unit}.parquet", 9), "pool/requests/{unit}.parquet", "", "cannot be read"
    ),
    Corruption(
        "a host said something else",
        lambda d: d.rewrite(d.hosts, lambda table: put(table, "robots_answer", 0, "http_404")),
        "{hosts}",
        "",
        "digest of the readings",
    ),
    Corruption("a manifest is cut", lambda d: d.cut(d.manifest, 9), "{manifest}", "", "cannot be read"),
    Corruption("a manifest counts one too many", lambda d: d.json(d.manifest, add(keep=1)), "{manifest}", "counts, keep"),
    Corruption("rows are lost", lambda d: d.json(d.manifest, add(rows=-1)), "{manifest}", "counts, rows"),
    Corruption(
        "reasons are miscounted",
        lambda d: d.json(d.manifest, lambda m: m["funnel"]["reasons"].update({"image:too_small": 3})),
        "{manifest}",
        "funnel, reasons",
    ),
    Corruption(
        "licences are miscounted", lambda d: d.json(d.manifest, lambda m: m["licenses"].update(attribution=1)), "{manifest}", "licenses"
    ),
    Corruption(
        "a unit is miscounted",
        lambda d: d.json(d.manifest, lambda m: m["units"][d.unit].update(keep=3)),
        "{manifest}",
        "units, {unit}, keep",
    ),
    Corruption("an entry has another digest", of_shard("sha256", "0" * 64), "{manifest}", "shards, {shard}, sha256"),
    Corruption("an entry has another count", of_shard("count", 1), "{manifest}", "shards, {shard}, count"),
    Corruption("an entry lies elsewhere", of_shard("path", "/tmp/000000.tar"), "{manifest}", "shards", "a path that no release writes"),
    Corruption("an entry is missing", lambda d: d.json(d.manifest, lambda m: m["shards"].pop()), "{manifest}", "shards", "their numbers"),
    Corruption(
        "run and manifest differ", lambda d: d.json(f"{d.after.path}/run.json", lambda run: run.update(digest="0")), "{manifest}", "digest"
    ),
    Corruption("a shared shard is gone", gone, "releases/{before.name}/shards/{shared:06d}.parquet", "", "is not there"),
    Corruption("decisions are gone", lambda d: d.delete(d.decisions), "{decisions}", "", "is not there"),
    Corruption("decisions are cut", lambda d: d.cut(d.decisions, 5), "{decisions}", "", "cannot be read"),
    Corruption(
        "a verdict is another",
        lambda d: d.rewrite(d.decisions, lambda table: put(table, "verdict", 0, "drop")),
        "{decisions}",
        "",
        "digest of the content",
    ),
    Corruption(
        "a verdict was written anew",
        lambda d: d.consistently(d.decisions, lambda table: put(table, "verdict", 0, "drop")),
        "{decisions}",
        "",
        "as the manifest has it",
    ),
    Corruption("verdicts are miscounted", lambda d: d.rewrite(d.decisions, footer={"drop": 7}), "{decisions}", "footer, drop"),
    Corruption(
        "an index has another offset",
        lambda d: d.rewrite(d.index, lambda table: put(table, "offset", 0, 1024)),
        "{index}",
        "",
        "digest of the content",
    ),
    Corruption("an index was written anew", lambda d: d.consistently(d.index, swap("caption")), "{index}", "", "as the manifest has it"),
    Corruption("an index says another digest", lambda d: d.rewrite(d.index, footer={"sha256": "0" * 64}), "{index}", "footer, sha256"),
    Corruption("an index is gone", lambda d: d.delete(d.index), "{index}", "", "is not there"),
    Corruption("a shard is gone", lambda d: d.delete(d.tar), "{tar}", "", "is not there"),
    Corruption(
        "a byte of a sample's image", lambda d: d.flip(d.tar, d.sample["offset"] + 99), "{tar}", "{sample[member]}", "sha256 of the image"
    ),
    Corruption("a letter of a caption", lambda d: d.flip(d.tar, d.text_at + 3), "{tar}", "{sample[uid]}.txt", "caption"),
    Corruption(
        "a value of a sample's JSON",
        lambda d: d.text(d.tar, '"license":"CC BY 4.0"', '"license":"CC BY 3.0"'),
        "{tar}",
        "{sample[uid]}.json, license",
    ),
    Corruption("a header of a shard", lambda d: d.flip(d.tar, 0), "{tar}", "{sample[member]}", "header at byte 0"),
    Corruption("a shard is cut", lambda d: d.cut(d.tar, 20_000), "{tar}", ".", "the tar ends"),
    Corruption("a shard's end", lambda d: d.flip(d.tar, d.path(d.tar).stat().st_size - 1), "{tar}", "byte ", "the end mark"),
    Corruption(
        "a shard that nobody names",
        orphan("releases/{after.name}/shards/000099.tar"),
        "releases/{after.name}/shards/000099.tar",
        "",
        "the manifest does not name it",
    ),
    Corruption(
        "a report is another",
        lambda d: d.path(f"{d.after.path}/report/report.html").write_bytes(b"changed"),
        "releases/{after.name}/report/report.html",
        "",
        "sha256",
    ),
    Corruption(
        "the newest is none", lambda d: d.path("releases/latest").write_text("nobody"), "releases/latest", "", "names no published release"
    ),
]
