"""The report at scale: gather and render over a synthetic pool with a release, in one process.

    python -m tests.bench.report [--rows 1000000] [--units 100] [--json] [--keep DIR]

Rows are synthetic and lie in the pool's real layout: captions of several languages, licences, the scores of all packaged scorers, evidence,
decisions of a policy with thirteen rules, duplicates with winners. The pictures of the sheets are real: every row points at one of the 256 JPEGs
of 320 pixels in its unit's tar. `seconds` and `peak_gb` are of the whole command, its start included; `mb` is the file's size.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pipelines.tar import TarWriter
from quality.rules import find_policy
from schemas.columns import RAW, field
from schemas.pool import Pool
from schemas.release import DECISIONS, Release
from schemas.units import Pass, ScorerInfo, SourceFile, unit_name
from tests.bench.select import LICENSES, WORDS, show, timed
from tests.pools import FILE

_NUMBERS = {
    "clip.similarity": (-1, 1, "higher"), "nsfw.open_nsfw": (0, 1, "lower"), "image.smallest_side": (1, None, "higher"),
    "image.aspect": (1, None, "lower"), "image.bytes": (0, None, "higher"), "image.sharpness": (0, None, "higher"),
    "image.entropy": (0, 8, "higher"), "image.pdq_quality": (0, 100, "higher"), "faces.count": (0, None, None),
    "faces.largest_share": (0, 1, None), "faces.score": (0, 1, None), "deepfake.synthetic": (0, 1, "lower"),
    "deepfake.likeness": (0, 1, "lower"), "deepfake.enablement": (0, 1, "lower"),
}  # fmt: skip
_WHOLE = ("image.smallest_side", "image.bytes", "image.pdq_quality", "faces.count")
_TEXTS = (
    "deepfake.band",
    "deepfake.evidence",
    "evidence.mining",
    "evidence.mining_signals",
    "evidence.c2pa",
    "evidence.generator",
    "image.error",
)
SCORES = pa.schema(
    [
        *(field(name, pa.int32() if name in _WHOLE else pa.float32(), meaning=name, range=(low, high), better=better)
          for name, (low, high, better) in _NUMBERS.items()),
        *(field(name, pa.string(), meaning=name) for name in _TEXTS),
        field("image.pdq", pa.binary(32), meaning="PDQ"),
    ]
)  # fmt: skip
PASS = Pass.of(
    [
        ScorerInfo(name, f"{model}@bench", tuple(column for column in SCORES.names if column.startswith(f"{name}.")))
        for name, model in (("clip", "pigment-embedded"), ("nsfw", "open-nsfw"), ("image", "pixels"), ("faces", "blazeface-short"),
                            ("evidence", "metadata"), ("deepfake", "evidence-sum"))
    ]
)  # fmt: skip
_PICTURES = 256
_KOREAN = np.array(
    ["빨간", "파란", "오래된", "작은", "큰", "고양이", "강아지", "집", "나무", "강", "산", "사진", "그림", "하늘", "도시", "새"]
)
_QUIET = '{"pieces":[],"no_evidence":["declared","generator","watermark","camera","probe","context","face","name"]}'


def pictures(chunk: int) -> list[bytes]:
    """JPEGs of 320 x 240 pixels, all different: smooth colours with some noise, about 20 kB each."""
    found = []
    for number in range(_PICTURES):
        rng = np.random.default_rng([chunk, number])
        smooth = np.asarray(
            Image.fromarray(rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)).resize((320, 240), Image.Resampling.BICUBIC), int
        )
        out = io.BytesIO()
        Image.fromarray((smooth + rng.integers(-12, 12, smooth.shape)).clip(0, 255).astype(np.uint8)).save(out, "jpeg", quality=85)
        found.append(out.getvalue())
    return found


def make_unit(job: tuple[str, int, int]) -> None:
    """One unit: its tar, its raw commit, its scores and its decisions."""
    root, chunk, rows = job
    rng = np.random.default_rng(chunk)
    pool, unit = Pool(root), unit_name(FILE, chunk)
    with TarWriter(Path(root, f"{chunk}.tar")) as tar:
        places = [(tar.add(f"{number:09d}.jpg", data), len(data)) for number, data in enumerate(pictures(chunk))]
    ok = rng.random(rows) < 0.9
    words = np.where(
        rng.random((rows, 1)) < 0.2, _KOREAN[rng.integers(0, len(_KOREAN), (rows, 8))], WORDS[rng.integers(0, len(WORDS), (rows, 8))]
    )
    captions = [" ".join(line[: 1 + number % 8]) for number, line in enumerate(words)]
    captions[::500] = [f"{caption} write to me at somebody{number}@example.org" for number, caption in enumerate(captions[::500])]
    urls = [f"http://host{row % 997}.test/images/{chunk}/{row}.jpg" for row in range(rows)]
    uids = [hashlib.sha256(f"{url} {caption}".encode()).hexdigest()[:32] for url, caption in zip(urls, captions, strict=True)]
    digests = [hashlib.sha256(uid.encode()).digest() for uid in uids]
    picture = rng.integers(0, _PICTURES, rows)

    def where_ok(values, type_: pa.DataType) -> pa.Array:
        return pa.array(values, type_, mask=~ok)

    columns = {name: pa.nulls(rows, RAW.field(name).type) for name in RAW.names} | {
        "row": pa.array(np.arange(rows, dtype=np.int32)), "uid": pa.array(uids), "url": pa.array(urls), "caption": pa.array(captions),
        "status": pa.array(np.where(ok, "success", "failed_to_download")),
        "error_message": pa.array(np.where(rng.random(rows) < 0.5, "http_404", "timeout"), pa.string(), mask=ok),
        "width": where_ok(np.full(rows, 320), pa.int32()), "height": where_ok(np.full(rows, 240), pa.int32()),
        "sha256": where_ok([digest.hex() for digest in digests], pa.string()),
        "offset": where_ok([places[at][0] for at in picture], pa.int64()), "size": where_ok([places[at][1] for at in picture], pa.int64()),
        "final_url": pa.array(urls), "license_url": pa.array(LICENSES, pa.string()).take(pa.array(np.arange(rows) % 4)),
        "source_line": pa.array(np.arange(rows) + 1),
    }  # fmt: skip
    tar_path = Path(root, f"{chunk}.tar")
    commit = pool.commit(unit, pa.table(columns, schema=RAW), tar=tar_path, input_digest="bench")
    tar_path.unlink()
    band = rng.choice(["none", "low", "review", "high"], rows, p=[0.83, 0.15, 0.015, 0.005])
    evidence = [_QUIET if word == "none" else _told(word, share) for word, share in zip(band, rng.integers(1, 999, rows), strict=True)]
    numbers = {
        "clip.similarity": rng.normal(0.2, 0.06, rows), "nsfw.open_nsfw": rng.beta(0.6, 14, rows),
        "image.smallest_side": rng.lognormal(6, 0.7, rows) + 20, "image.aspect": 1 + rng.gamma(1.2, 0.4, rows),
        "image.bytes": rng.lognormal(11, 1, rows), "image.sharpness": rng.lognormal(6, 1.4, rows), "image.entropy": 8 * rng.beta(8, 2, rows),
        "image.pdq_quality": rng.integers(0, 101, rows), "faces.count": rng.poisson(0.4, rows), "faces.largest_share": rng.beta(1, 9, rows),
        "faces.score": rng.random(rows), "deepfake.synthetic": 0.05 + rng.beta(1, 20, rows) * 0.9, "deepfake.likeness": rng.beta(1, 4, rows),
        "deepfake.enablement": rng.beta(1, 9, rows),
    }  # fmt: skip
    scores: dict[str, pa.Array] = {
        name: where_ok(values.astype(np.int32) if name in _WHOLE else np.round(values, 4).astype(np.float32), SCORES.field(name).type)
        for name, values in numbers.items()
    }
    scores |= {name: pa.nulls(rows, pa.string()) for name in _TEXTS}
    scores |= {"deepfake.band": where_ok(band, pa.string()), "deepfake.evidence": where_ok(evidence, pa.string()),
               "evidence.c2pa": where_ok(["none"] * rows, pa.string()), "image.pdq": where_ok(digests, pa.binary(32))}  # fmt: skip
    pool.commit_scores(PASS.name, unit, pa.table(scores, schema=SCORES), input_digest=commit.content_digest)
    _decide(Release(pool.store, "one"), unit, columns, scores, ok, rng)
    _decide(Release(pool.store, "parent"), unit, columns, scores, ok, rng, lower=0.04)


def _told(band: str, share: int) -> str:
    detail = f"1 face, the largest {share / 10:.1f}% of the picture"
    piece = {"score": "likeness", "group": "face", "signal": "face_large", "llr": 5.0, "detail": detail, "counts": True}
    piece["band_without"] = "none" if band == "low" else band
    return json.dumps({"pieces": [piece], "no_evidence": ["declared", "generator"]}, separators=(",", ":"))


def _decide(release: Release, unit: str, raw: dict, scores: dict, ok: np.ndarray, rng: np.random.Generator, lower: float = 0.0) -> None:
    similarity, nsfw = (np.asarray(scores[name].fill_null(0)) for name in ("clip.similarity", "nsfw.open_nsfw"))
    twin = ok & (rng.random(len(ok)) < 0.05)
    bad = {"fetch:failed_to_download": ~ok, "license:not_allowed": ok & (np.arange(len(ok)) % 4 == 3),
           "clip:low_similarity": ok & (similarity < 0.11 - lower), "nsfw:high": ok & (nsfw > 0.8), "duplicate:exact": twin}  # fmt: skip
    doubt = ok & (nsfw > 0.3) | ok & (similarity < 0.13 - lower)
    dropped = np.logical_or.reduce(list(bad.values()))
    reasons = [[reason for reason, rows in bad.items() if rows[at]] + (["nsfw:possible"] if doubt[at] else []) for at in range(len(ok))]
    uids = raw["uid"].to_pylist()
    decided = {
        "row": raw["row"], "uid": raw["uid"], "verdict": pa.array(np.where(dropped, "drop", np.where(doubt, "review", "keep"))),
        "reasons": pa.array(reasons, pa.list_(pa.string())), "duplicate_of": pa.array([uids[at - 1] if twin[at] else None for at in range(len(ok))]),
        "error": raw["error_message"],
    }  # fmt: skip
    table = pa.table(decided, schema=DECISIONS)
    for name in ("clip.similarity", "nsfw.open_nsfw", "image.smallest_side", "image.aspect", "deepfake.band"):
        table = table.append_column(SCORES.field(name), scores[name])
    release.put_decisions(unit, table)


def make_dataset(root: Path, rows: int, units: int) -> Pool:
    """The synthetic dataset, with a release `one` and its parent; made with all cores, outside the clock."""
    pool, each = Pool(root), rows // units
    root.mkdir(parents=True, exist_ok=True)
    starts = tuple(range(0, each * units, each))
    pool.adopt_settings("source", {"sources": [{"source": "pairs.parquet"}], "unit_size": each})
    pool.put_file(SourceFile(FILE, str(root), "pairs.parquet", "rows", 1, "digest", each * units, each, starts, starts))
    pool.put_pass(PASS)
    with multiprocessing.get_context("spawn").Pool() as workers:
        for _ in workers.imap_unordered(make_unit, [(str(root), chunk, each) for chunk in range(units)], chunksize=1):
            pass
    policy = find_policy("embedded").as_dict()
    for name, parent in (("parent", None), ("one", "parent")):
        run = {"digest": name * 8, "policy": policy, "policy_digest": name * 8, "passes": [PASS.name], "parent": parent, "shards": 0}
        Release(pool.store, name).put_run(run)
    return pool


def report(root: str, out: str) -> None:
    """The command, as a user gives it."""
    from quality.report.__main__ import main

    main(["--dataset", root, "--release", "one", "--out", out])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", help="folder for the dataset, used again when it is there")
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp(prefix="pigment-bench-"))
    if not (folder / "pool").is_dir():
        make_dataset(folder, args.rows, args.units)
    try:
        seconds, memory = timed(report, str(folder), str(folder / "report.html"))
        size = (folder / "report.html").stat().st_size / 1e6
        show({"rows": args.rows, "seconds": seconds, "peak_gb": memory, "mb": size}, as_json=args.json)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
