"""A small dataset for tests of the report: real JPEGs in tars, captions that mean harm, real decisions of two policies."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.tar import TarWriter
from schemas.columns import RAW, field, table_of, uid_of
from schemas.policy import parse_policy
from schemas.pool import Pool
from schemas.release import Release, heartbeat
from schemas.units import Pass, ScorerInfo, SourceFile
from tests.pools import FILE, thumbnail, unit
from tests.pools import SCORES as PLAIN
from tests.releases import jpeg
from tests.selecting import select

ROWS, UNITS = 24, 2
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script><!--",
    '"><svg onload="document.title=\'owned\'"> & &lt;b&gt; {{ 7 * 191 }} ${7 * 191}',
    "\u202egnp.exe \u2066never closed, مرحبا بالعالم",
    "bell \x07 null \x00 escape \x1b[31m tab\tline\nend",
    "long words " * 1_000,
    "가" * 10_000,
    "x" * 10_000,
    "z\u0310\u0334" * 300 + " stacked marks",
    "write to somebody.else@example.org or call +1 415 555 2671",
    "",
)
SECRET = "somebody.else@example.org"
SCORES = pa.schema(
    [
        *PLAIN,
        field("deepfake.band", pa.string(), meaning="none, low, review, high"),
        field("deepfake.evidence", pa.string(), meaning="JSON"),
        field("nsfw.clip", pa.float32(), meaning="nobody measured it", range=(0, 1), better="lower"),
        field("evidence.c2pa", pa.string(), meaning="C2PA manifest"),
        field("evidence.mining", pa.string(), meaning="allowed, disallowed"),
    ]
)
PASS = Pass.of(
    [
        ScorerInfo(name, f"{model}@test", tuple(column for column in SCORES.names if column.startswith(f"{name}.")))
        for name, model in (("clip", "pigment-embedded"), ("nsfw", "open-nsfw"), ("image", "pixels"), ("deepfake", "evidence-sum"),
                            ("evidence", "metadata"))
    ]
)  # fmt: skip
POLICY = """
name = "strict"
[captions]
personal_data = "redact"
[[rule]]
column = "license.class"
not_in = ["unknown"]
reason = "license:unknown"
overrule = false
[[rule]]
column = "nsfw.open_nsfw"
max = 0.8
reason = "nsfw:high"
[[rule]]
column = "nsfw.clip"
max = 0.9
missing = "keep"
reason = "nsfw:disagreement"
[[rule]]
column = "deepfake.band"
not_in = ["high"]
missing = "review"
reason = "deepfake:high"
[[rule]]
column = "clip.similarity"
scorer = "clip:pigment-embedded"
min = 0.2
reason = "clip:low_similarity"
[[rule]]
column = "clip.similarity"
scorer = "clip:pigment-embedded"
min = 0.3
do = "review"
reason = "clip:low_similarity"
"""
GENEROUS = POLICY.replace('"strict"', '"generous"').replace("min = 0.2", "min = 0.1")
EVIDENCE = {
    "pieces": [{"score": "synthetic", "group": "generator", "signal": "generator_metadata", "llr": 7.0, "detail": "<b>Midjourney</b>",
                "counts": True, "band_without": "none"}],
    "no_evidence": [],
}  # fmt: skip


def similarity(number: int) -> float:
    """Of a pair by its number over all units, 0 to 47: 0.03 to 0.50."""
    return round(0.03 + 0.01 * number, 4)


def caption_of(number: int) -> str:
    return HOSTILE[number] if number < len(HOSTILE) else f"picture number {number} of a harmless thing"


def make_dataset(root: Path, *, decide: bool = True, policy: str = POLICY, parent: str | None = None) -> tuple[Pool, Release | None]:
    """48 pairs in two units. Of every unit the last two rows were not found; row 20 has no scores; row 21 repeats row 19's picture and caption.

    Pair 12 has an NSFW score of 0.9, pair 13 of 0.6; pair 14 is in the band high. parent: TOML of a policy whose release comes first.
    """
    pool = Pool(root)
    starts = tuple(range(0, ROWS * UNITS, ROWS))
    pool.adopt_settings("source", {"sources": [{"source": str(root / "pairs.csv")}], "unit_size": ROWS})
    pool.put_file(SourceFile(FILE, str(root), "pairs.csv", "rows", 1, "digest", ROWS * UNITS, ROWS, starts, starts))
    pool.put_pass(PASS)
    for chunk in range(UNITS):
        _add_unit(pool, chunk, root)
    if not decide:
        return pool, None
    if parent is not None:
        _release(pool, "before", parent, None)
    return pool, _release(pool, "now", policy, None if parent is None else "before")


def _release(pool: Pool, name: str, text: str, parent: str | None) -> Release:
    policy = parse_policy(text, where=name)
    release = select(pool, policy, name)
    run = {"digest": name * 16, "policy": policy.as_dict(), "policy_digest": policy.digest, "passes": [PASS.name], "parent": parent}
    release.put_run({**run, "heartbeat": heartbeat()})
    return release


def _add_unit(pool: Pool, chunk: int, folder: Path) -> None:
    rows = list[dict[str, Any]]()
    with TarWriter(folder / f"{chunk}.tar") as tar:
        for row in range(ROWS):
            rows.append(_row(chunk, row, tar))
    commit = pool.commit(unit(chunk), table_of(rows, RAW), tar=folder / f"{chunk}.tar", input_digest="input")
    pool.commit_scores(PASS.name, unit(chunk), table_of(rows, SCORES), input_digest=commit.content_digest)


def _row(chunk: int, row: int, tar: TarWriter) -> dict[str, Any]:
    number = chunk * ROWS + row
    twin = 19 if row == 21 else row
    url, caption = f"http://host{row}.test/{chunk}/{row}.jpg", caption_of(chunk * ROWS + twin)
    pair: dict[str, Any] = {
        "row": row,
        "url": url,
        "final_url": url,
        "caption": caption,
        "uid": uid_of(url=url, sha256=None, caption=caption),
    }
    pair |= {
        "license_url": None if number % 8 == 7 else "https://creativecommons.org/licenses/by/4.0/",
        "license": f"ask {SECRET}" if number == 12 else None,
        "creator": f"<i>Someone</i> [{SECRET}]",
    }
    pair |= {"source_line": row + 1, "status": "success"}
    if row >= ROWS - 2:
        return pair | {"status": "failed_to_download", "error_message": "http_404"}
    data = jpeg(100 * chunk + twin)
    digest = hashlib.sha256(data)
    pair |= {"sha256": digest.hexdigest(), "offset": tar.add(f"{row:09d}.jpg", data), "size": len(data), "width": 64, "height": 48}
    if row == 20:
        return pair | {"image.width": 64, "image.height": 48}
    pair |= {"clip.similarity": similarity(number), "nsfw.open_nsfw": {12: 0.9, 13: 0.6}.get(number, 0.01), "evidence.c2pa": "none"}
    pair |= {"image.width": 64, "image.height": 48, "image.pdq": digest.digest(), "image.pdq_quality": 100}
    pair |= {"image.thumbnail": thumbnail((number, 128, 128)), "deepfake.band": "high" if number == 14 else "none"}
    return pair | {"deepfake.evidence": json.dumps(EVIDENCE if number == 14 else {"pieces": [], "no_evidence": []})}
