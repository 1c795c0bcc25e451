"""Select with near-duplicates at scale: policy, exact duplicates and near ones complete to PDQ distance 31, beside faiss.

    python -m tests.bench.near [--rows 10000000] [--units 1000] [--json] [--keep DIR] [--mode fast]

Rows lie in the pool's real layout. Nearly all pass the rules and have a PDQ hash of full quality, so that the search has the whole pool to
compare: random hashes, of which a twentieth are from a stock and a twentieth within 0 to 31 bits of one of it, in the same colours.
`select_s` is policy and exact duplicates, `near_s` what near-duplicates add to it, start-up apart. faiss (if installed) searches a sample of
the same hashes for all within 31 bits of them in a flat index, without ranks or colours; `faiss_flat_s` is that time for all of them, on two
threads. `growth` (with --grow) is the time of policy and exact duplicates over ten times that of a tenth of the pool.
"""

import argparse
import importlib.util
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from schemas.columns import RAW, uid_of
from schemas.pool import Pool
from schemas.release import Release
from schemas.units import unit_name
from tests.bench.select import WORDS, make_pool, ours, show, timed
from tests.pools import FILE, PASS, SCORES

NEAR = '[duplicates]\nnear = true\nnear_mode = "{}"\n'
STOCK = 500_000
_SAMPLE = 2_000  # hashes that faiss searches for


def stock(numbers: np.ndarray) -> np.ndarray:
    """The hashes of a stock, uint8 (n, 32), by their numbers."""
    return np.stack([np.random.default_rng(int(number) + 10**9).integers(0, 256, 32, dtype=np.uint8) for number in numbers])


def make_unit(job: tuple[str, int, int]) -> None:
    """One unit of synthetic rows."""
    root, chunk, rows = job
    draw = np.random.default_rng(chunk)
    hashes = draw.integers(0, 256, (rows, 32), dtype=np.uint8)
    kind = draw.random(rows)
    planted = np.flatnonzero(kind < 0.1)
    hashes[planted] = stock(draw.integers(0, STOCK, len(planted)))
    colours = hashes[:, :3].copy()
    turned = np.flatnonzero(kind < 0.05)
    bits = np.argsort(draw.random((len(turned), 256)), axis=1) < draw.integers(0, 32, (len(turned), 1))
    hashes[turned] ^= np.packbits(bits, axis=1)
    captions = [" ".join(words) for words in WORDS[draw.integers(0, len(WORDS), (rows, 6))]]
    places = [f"http://host.test/images/{chunk}/{row}.jpg" for row in range(rows)]
    width = draw.integers(64, 2000, rows).astype(np.int32)
    number = np.arange(rows)
    columns = {name: pa.nulls(rows, RAW.field(name).type) for name in RAW.names}
    columns |= {
        "row": pa.array(number.astype(np.int32)), "key": pa.array([f"{n:06d}" for n in number]), "url": pa.array(places),
        "uid": pa.array([uid_of(url=url, sha256=None, caption=caption) for url, caption in zip(places, captions, strict=True)]),
        "caption": pa.array(captions), "status": pa.array(["success"] * rows), "width": pa.array(width), "height": pa.array(width),
        "format": pa.array(["jpeg"] * rows), "sha256": pa.array([draw.bytes(32).hex() for _ in number]),
        "license_url": pa.array(["https://creativecommons.org/licenses/by/4.0/"] * rows), "source_line": pa.array(number + 1),
    }  # fmt: skip
    pool = Pool(root)
    commit = pool.commit(unit_name(FILE, chunk), pa.table(columns, schema=RAW), tar=None, input_digest="bench")
    scores = {
        "clip.similarity": pa.array(np.round(draw.normal(0.4, 0.06, rows), 4).astype(np.float32)),
        "nsfw.open_nsfw": pa.array(np.round(draw.beta(1, 12, rows), 4).astype(np.float32)),
        "image.width": pa.array(width), "image.height": pa.array(width),
        "image.pdq": pa.array([each.tobytes() for each in hashes], pa.binary(32)),
        "image.pdq_quality": pa.array(np.full(rows, 100, np.int32)),
        "image.thumbnail": pa.array([each.tobytes() * 64 for each in colours], pa.binary(192)),
        "image.error": pa.nulls(rows, pa.string()),
    }  # fmt: skip
    pool.commit_scores(PASS.name, unit_name(FILE, chunk), pa.table(scores, schema=SCORES), input_digest=commit.content_digest)


def faiss_flat(pool: Pool, units: list[str]) -> float:
    """Seconds that faiss' flat binary index would take to find all within 31 bits of every hash."""
    import faiss  # in the dev extra

    columns = [pool.read_scores(PASS.name, unit, ["image.pdq"])["image.pdq"] for unit in units]
    hashes = np.frombuffer(b"".join(value.as_py() for column in columns for value in column), np.uint8).reshape(-1, 32)
    faiss.omp_set_num_threads(2)
    index = faiss.IndexBinaryFlat(256)
    index.add(hashes)
    start = time.perf_counter()
    index.range_search(hashes[:_SAMPLE], 32)  # below 32
    return (time.perf_counter() - start) * len(hashes) / _SAMPLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--units", type=int, default=1_000)
    parser.add_argument("--mode", choices=("complete", "fast"), default="complete")
    parser.add_argument("--grow", action="store_true", help="measure a tenth of the pool too")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", help="folder for the pool, used again when it is there")
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp(prefix="pigment-bench-"))
    pool = Pool(folder) if (folder / "pool").is_dir() else make_pool(folder, args.rows, args.units, make_unit)
    units = sorted(pool.committed())
    shutil.rmtree(folder / "releases", ignore_errors=True)
    try:
        more = NEAR.format(args.mode)
        start_up, _ = timed(ours, str(folder), "start-up", units[:1])
        without, memory = timed(ours, str(folder), "exact", units)
        whole, near_memory = timed(ours, str(folder), "near", units, more)
        decided = Release(pool.store, "near").decided()
        figures: dict[str, float] = {
            "rows": sum(unit.rows for unit in decided), "start_up_s": start_up, "select_s": without - start_up, "near_s": whole - without,
            "whole_s": whole - start_up, "select_peak_gb": memory, "peak_gb": near_memory,
            "near_dropped": sum(unit.reasons.get("duplicate:near", 0) for unit in decided),
        }  # fmt: skip
        if args.grow:
            tenth, _ = timed(ours, str(folder), "tenth", units[: len(units) // 10])
            figures["growth"] = (without - start_up) / (10 * (tenth - start_up))
        if importlib.util.find_spec("faiss"):
            figures["faiss_flat_s"] = faiss_flat(pool, units)
        show(figures, as_json=args.json)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
