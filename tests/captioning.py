"""A small dataset with a version of its captions: a folder of drawn pictures, two scorers of which one reads captions, files of captions."""

import csv
import hashlib
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from pipelines.caption import main as caption
from pipelines.ingest import main as ingest
from quality.scorers.batch import PairBatch
from schemas.columns import field
from schemas.pool import Pool
from schemas.release import Release, latest
from tests import appending

PAIRS, LEFT_OUT = 30, 3  # the last ones have no caption in the file
HEAD = 'name = "letters"\nsimilarity = "image.sharpness"\n'
POLICY = """
[[rule]]
column = "letters.count"
min = 1
missing = "drop"
reason = "caption:too_short"
"""
REDACTS = '[captions]\npersonal_data = "redact"\n'
VERSION = 'caption = "caption@told"\n'
FLAGS = (
    "--running_mode", "in_memory", "--workers", "1", "--scorers", "image,tests.captioning:Letters", "--unit_size", "20", "--shard_count", "10",
)  # fmt: skip


class Letters:
    """How many letters the caption has: a scorer of a user's that reads captions."""

    name, version = "letters", "count@1;1"
    needs: tuple[str, ...] = ()
    fields = pa.schema([field("count", pa.int32(), meaning="letters of the caption", range=(0, None))])

    def load(self) -> None:
        pass

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        counts = [None if text is None or data is None else len(text) for text, data in zip(batch.captions, batch.data, strict=True)]
        return pa.record_batch([pa.array(counts, pa.int32())], schema=self.fields)


def rows_of(pool: Pool) -> list[dict]:
    return [row for unit in sorted(pool.committed()) for row in pool.read_raw(unit).to_pylist()]


def told(uid: str) -> str:
    """The caption that the file gives a pair, with an accent that is not composed, and an address."""
    return f"a cafe\u0301 of {hashlib.sha256(uid.encode()).hexdigest()[:6]}, ask ann@example.org"


def pooled(uid: str) -> str:
    """The same, as the pool has it."""
    return unicodedata.normalize("NFC", told(uid))


def released(uid: str) -> str:
    """The same, as told.toml releases it."""
    return pooled(uid).replace("ann@example.org", "[e-mail]")


def write_captions(path: Path, captions: Mapping[str, str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("ID", "TEXT"))
        rows.writerows(captions.items())
    return path


def run(root: Path, *flags: str | Path) -> Release:
    """The main job; the newest release."""
    assert ingest(["--dataset", str(root), *map(str, flags), *FLAGS]) == 0
    store = Pool(root).store
    return Release(store, str(latest(store)))


def give(root: Path, file: Path, name: str = "told") -> int:
    return caption(["--dataset", str(root), "--name", name, "--captions", str(file), "--columns", "uid=ID,caption=TEXT"])


def make(place: Path) -> tuple[Path, Release]:
    """(dataset, its release of the sources' captions). Beside it: source/, sources.toml, told.toml, told.csv."""
    source = appending.folder(place / "source", appending.captions(0, PAIRS))
    (place / "sources.toml").write_text(HEAD + POLICY)
    (place / "told.toml").write_text(HEAD + VERSION + REDACTS + POLICY)
    root = place / "data"
    release = run(root, "--source", source, "--policy", place / "sources.toml")
    uids = sorted(row["uid"] for row in rows_of(Pool(root)))
    write_captions(place / "told.csv", {uid: told(uid) for uid in uids[:-LEFT_OUT]})
    return root, release
