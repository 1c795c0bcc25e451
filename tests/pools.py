"""Small real pools for tests: rows as dicts, committed through schemas.pool as fetch and score would."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.columns import RAW, field, table_of, uid_of
from schemas.pool import Pool
from schemas.units import Pass, ScorerInfo, SourceFile, split_unit, unit_name

FILE = "0123456789abcdef"
SCORES = pa.schema(
    [
        field("clip.similarity", pa.float32(), meaning="cosine", range=(-1, 1), better="higher"),
        field("nsfw.open_nsfw", pa.float32(), meaning="probability", range=(0, 1), better="lower"),
        field("image.width", pa.int32(), meaning="pixels, upright"),
        field("image.height", pa.int32(), meaning="pixels, upright"),
        field("image.pdq", pa.binary(32), meaning="PDQ"),
        field("image.pdq_quality", pa.int32(), meaning="PDQ quality", range=(0, 100)),
        field("image.thumbnail", pa.binary(192), meaning="8x8 Lab"),
        field("image.error", pa.string(), meaning="why the image could not be decoded"),
    ]
)
PASS = Pass.of(
    [
        ScorerInfo("clip", "pigment-embedded@test", ("clip.similarity",)),
        ScorerInfo("nsfw", "open-nsfw@test", ("nsfw.open_nsfw",)),
        ScorerInfo("image", "image@test", tuple(name for name in SCORES.names if name.startswith("image."))),
    ]
)


def unit(chunk: int, file: str = FILE) -> str:
    return unit_name(file, chunk)


def thumbnail(lab: Sequence[int]) -> bytes:
    """One colour over 8x8."""
    return bytes(lab) * 64


def make_pool(root: Path, units: Sequence[Sequence[Mapping[str, Any]]]) -> Pool:
    """A fetched and scored pool. A row's keys are columns of RAW or SCORES; what it leaves out is made up from its place, all different."""
    pool = Pool(root)
    size = max(1, *(len(rows) for rows in units)) if units else 1
    rows = sum(len(rows) for rows in units)
    starts = tuple(range(0, len(units) * size, size))
    pool.put_file(SourceFile(FILE, str(root), "pairs.csv", "rows", 1, "digest", rows, size, starts, starts))
    pool.put_pass(PASS)
    for chunk, given in enumerate(units):
        add_unit(pool, unit(chunk), given)
    return pool


def add_unit(pool: Pool, name: str, given: Sequence[Mapping[str, Any]]) -> None:
    """Commits one unit and its scores."""
    full = [_row(split_unit(name)[1], number, row) for number, row in enumerate(given)]
    pool.commit(name, table_of(full, RAW), tar=None, input_digest="input")
    commit = pool.raw_commit(name)
    assert commit is not None
    pool.commit_scores(PASS.name, name, table_of(full, SCORES), input_digest=commit.content_digest)


def _row(chunk: int, number: int, given: Mapping[str, Any]) -> dict[str, Any]:
    own = hashlib.sha256(f"{chunk}:{number}".encode()).hexdigest()
    row: dict[str, Any] = {
        "row": number,
        "url": f"http://host.test/{chunk}/{number}.png",
        "caption": f"picture number {number} of {chunk}",
        "status": "success",
        "sha256": own,
        "width": 100,
        "height": 100,
        "license_url": "https://creativecommons.org/licenses/by/4.0/",
        "source_line": number + 1,
        "clip.similarity": 0.5,
        "nsfw.open_nsfw": 0.01,
        "image.width": 100,
        "image.height": 100,
        "image.pdq": bytes.fromhex(own),
        "image.pdq_quality": 100,
        "image.thumbnail": thumbnail((128, 128, 128)),
        **given,
    }
    if row["status"] != "success":
        row.update(dict.fromkeys([*SCORES.names, "sha256", "width", "height"]))
    row.setdefault("uid", uid_of(url=row["url"], sha256=row["sha256"], caption=row["caption"]))
    return row
