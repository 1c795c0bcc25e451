"""A small real release for tests: a pool with tars of real JPEGs, decisions, and shards, as the main job would write them."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipelines.shards import MEMBERS, ShardWriter
from pipelines.steps.write_shards import shards_of
from pipelines.tar import TarWriter
from quality.images import Target
from schemas.columns import RAW, table_of, uid_of
from schemas.pool import Pool
from schemas.release import DECISIONS, Release, heartbeat
from schemas.units import SourceFile
from tests.pools import FILE, PASS, SCORES, unit

SHARDS = 3
Told = Callable[[int, int], dict[str, Any]]
ROWS = 12  # of a unit
VERDICTS = ("keep", "keep", "keep", "keep", "keep", "keep", "review", "drop")  # then pairs that were not fetched


def jpeg(seed: int) -> bytes:
    pixels = np.kron(np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "jpeg", quality=90)
    return out.getvalue()


def make_release(
    root: Path, *, units: int = 3, planned: int | None = None, name: str = "one", rows: int = ROWS, told: Told | None = None,
    picture: Callable[[int], bytes] = jpeg,
) -> tuple[Pool, Release]:  # fmt: skip
    """A release that is ready to be published: of a unit's 12 pairs 6 kept, 1 for review, 1 dropped, 4 not found.

    planned: units that the source has, when it has more than are committed. rows: of a unit, more than 12 in the same proportions.
    told: what else the source says of a pair, by (unit, row). picture: an image file, by a number.
    """
    pool = Pool(root / "data")
    release = Release(pool.store, name)
    source = rows * (units if planned is None else planned)
    starts = tuple(range(0, source, rows))
    pool.put_file(SourceFile(FILE, str(root), "pairs.csv", "rows", 1, "digest", source, rows, starts, starts))
    pool.put_pass(PASS)
    pool.adopt_settings("engines", {"clip": "onnx"})
    for chunk in range(units):
        add_unit(pool, release, chunk, root, rows, told, picture)
    policy = {"name": "test", "rules": [{"column": "clip.similarity", "min": 0.1}]}
    release.put_run(
        {
            "digest": "d" * 64, "policy": policy, "policy_digest": "p" * 64, "shards": SHARDS, "passes": [PASS.name], "parent": None,
            "target": {"resize": "no", "format": "original"}, "started": 1.0, "heartbeat": heartbeat(),
        }
    )  # fmt: skip
    write_shards(pool, release)
    return pool, release


def add_unit(
    pool: Pool, release: Release, chunk: int, folder: Path, size: int = ROWS, told: Told | None = None,
    picture: Callable[[int], bytes] = jpeg,
) -> None:  # fmt: skip
    name, rows = unit(chunk), list[dict[str, Any]]()
    with TarWriter(folder / f"{chunk}.tar") as tar:
        for row in range(size):
            url, caption = f"http://host.test/{chunk}/{row}.jpg", f"그림 number {row} of {chunk}"
            pair: dict[str, Any] = {"row": row, "url": url, "caption": caption, "uid": uid_of(url=url, sha256=None, caption=caption)}
            if row % ROWS < len(VERDICTS):
                data = picture(1000 * chunk + row)
                pair |= {"status": "success", "sha256": hashlib.sha256(data).hexdigest(), "offset": tar.add(f"{row:09d}.jpg", data)}
                pair |= {
                    "size": len(data),
                    "width": 64,
                    "height": 48,
                    "verdict": VERDICTS[row % ROWS],
                    "reasons": [],
                    "clip.similarity": 0.5 + (row % 50) / 200,
                }
                if pair["verdict"] != "keep":
                    pair["reasons"] = ["clip:low_similarity"]
            else:
                pair |= {
                    "status": "failed_to_download",
                    "error_message": "http_404",
                    "verdict": "drop",
                    "reasons": ["fetch:failed_to_download"],
                }
            rows.append(pair | (told(chunk, row) if told is not None else {}))
    commit = pool.commit(name, table_of(rows, RAW), tar=folder / f"{chunk}.tar", input_digest="input")
    pool.commit_scores(PASS.name, name, table_of(rows, SCORES), input_digest=commit.content_digest)
    release.put_decisions(name, table_of(rows, DECISIONS))


def write_shards(pool: Pool, release: Release) -> None:
    members = [pa.table({"uid": [], "unit": [], "row": []}, schema=MEMBERS)]
    for decided in release.decided():
        kept = release.read_decisions(decided.unit).filter(pa.compute.field("verdict") == "keep")
        members.append(pa.table([kept["uid"], pa.array([decided.unit] * kept.num_rows), kept["row"]], schema=MEMBERS))
    table = pa.concat_tables(members)
    of_shard = shards_of(table["uid"], SHARDS)
    writer = ShardWriter(pool, release, Target("no", format="original"), score_columns=[(PASS.name, ["clip.similarity"])])
    list(writer.write([(number, table.filter(pa.array(of_shard == number))) for number in range(SHARDS)]))
