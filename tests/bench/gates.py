"""Gates at scale: what measuring and checking a release of a million pairs takes.

    python -m tests.bench.gates [--rows 1000000] [--units 100] [--json] [--keep DIR]

The pool is that of tests.bench.select, with random scores; half of its pairs are kept, by one decisions file a unit, in shards of 10,000 pairs
whose tars are empty but for their indexes' sake: hashing tars is disk work, 1 s for about 2 GB, and is left out on purpose. The parent is a
second release over the same pairs. Each figure is of a process of its own; `import_s` is what Great Expectations takes to import.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from quality.gates.tables import measure
from schemas.columns import field
from schemas.pool import Pool
from schemas.release import DECISIONS, INDEX, Release
from schemas.units import Pass, ScorerInfo, unit_name
from tests.bench.select import make_pool, make_unit, policy_of, show, timed
from tests.pools import FILE, PASS

PAIRS_A_SHARD = 10_000
SCORED = ("clip.similarity", "nsfw.open_nsfw", "image.width", "image.height", "image.pdq_quality")

MORE = pa.schema([field(f"more.c{n}", pa.float32(), meaning="random", range=(0, 1) if n % 2 else (0, None)) for n in range(15)])
MORE_PASS = Pass.of([ScorerInfo("more", "more@bench", tuple(MORE.names))])


def make_wide_unit(job: tuple[str, int, int]) -> None:
    """A unit of tests.bench.select with as many columns of numbers as the packaged scorers give: twenty."""
    make_unit(job)
    root, chunk, rows = job
    pool, rng = Pool(root), np.random.default_rng(chunk)
    commit = pool.raw_commit(unit_name(FILE, chunk))
    assert commit is not None
    table = pa.table([pa.array(rng.random(rows, np.float32)) for _ in MORE], schema=MORE)
    pool.commit_scores(MORE_PASS.name, commit.unit, table, input_digest=commit.content_digest)


def make_release(root: str, name: str, parent: str | None) -> None:
    """Decisions and indexes: of the fetched pairs every second one is kept, the others fall below a bound."""
    pool, release, indexes = Pool(root), Release(root, name), list[pa.Table]()
    rng = np.random.default_rng(1)
    for unit in sorted(pool.committed()):
        raw, scores = pool.read_raw(unit), pool.read_scores(PASS.name, unit, list(SCORED))
        ok = np.asarray(raw["status"].to_numpy() == "success")
        keep = ok & (rng.random(len(ok)) < 0.5)
        reasons = [[] if k else ["clip:low_similarity"] if o else ["fetch:failed_to_download"] for k, o in zip(keep, ok, strict=True)]
        columns = {"row": raw["row"], "uid": raw["uid"], "verdict": np.where(keep, "keep", "drop"), "reasons": reasons}
        columns |= {"duplicate_of": pa.nulls(len(ok), pa.string()), "error": raw["error_message"]}
        release.put_decisions(unit, pa.table([pa.array(columns[f.name], f.type) if not isinstance(columns[f.name], pa.ChunkedArray)
                                              else columns[f.name].cast(f.type) for f in DECISIONS], schema=DECISIONS))  # fmt: skip
        kept, count = raw.filter(pa.array(keep)), int(keep.sum())
        own = {"member": pa.array([f"{uid}.jpg" for uid in kept["uid"].to_pylist()]), "unit": pa.array([unit] * count)}
        own |= {"offset": pa.array([512] * count, pa.int64()), "size": pa.array([0] * count, pa.int64())}
        index = {f.name: own.get(f.name, kept[f.name] if f.name in kept.column_names else pa.nulls(count, f.type)) for f in INDEX}
        index = {name: values.cast(INDEX.field(name).type) for name, values in index.items()}
        scored = scores.filter(pa.array(keep))
        indexes.append(pa.table({**index, **{f"{name}": scored[name] for name in SCORED}}))
    table = pa.concat_tables(indexes)
    for number, start in enumerate(range(0, table.num_rows, PAIRS_A_SHARD)):
        with tempfile.TemporaryDirectory() as folder:
            tar = Path(folder, "tar")
            tar.write_bytes(bytes(1024))
            release.put_shard(number, tar, table.slice(start, PAIRS_A_SHARD).combine_chunks(), sha256="0" * 64)
    run = {
        "digest": "d",
        "policy": policy_of().as_dict(),
        "policy_digest": policy_of().digest,
        "passes": [PASS.name, MORE_PASS.name],
        "parent": parent,
    }
    release.put_run({**run, "shards": number + 1})
    if parent is None:
        units = {unit.unit: {"keep": unit.keep} for unit in release.decided()}
        counts = {verdict: sum(getattr(unit, verdict) for unit in release.decided()) for verdict in ("keep", "review", "drop")}
        funnel = {"statuses": {"success": counts["keep"] * 2, "failed_to_download": 1}}
        release.put_manifest({"counts": counts, "units": units, "funnel": funnel, "policy_digest": policy_of().digest})


def import_checks() -> None:
    import quality.gates.suites  # noqa: F401


def nothing() -> None:
    """A process of its own with this module's imports."""


def measured(root: str) -> None:
    release = Release(root, "two")
    measure(Pool(root), release, shards=(release.run() or {})["shards"])


def checked(root: str) -> None:
    from quality.gates import run_gates

    run_gates(Pool(root), Release(root, "two"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", help="folder for the pool, used again when it is there")
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp(prefix="pigment-bench-"))
    try:
        if not (folder / "pool").is_dir():
            make_pool(folder, args.rows, args.units, make_wide_unit).put_pass(MORE_PASS)
        if not (folder / "releases").is_dir():
            make_release(str(folder), "one", None)
            make_release(str(folder), "two", "one")
        bare, _ = timed(nothing)
        imported, _ = timed(import_checks)
        measuring, measuring_gb = timed(measured, str(folder))
        whole, whole_gb = timed(checked, str(folder))
        figures = {"rows": float(args.rows), "import_s": imported - bare, "measure_s": measuring - bare, "measure_peak_gb": measuring_gb}
        figures |= {"all_s": whole - bare, "all_peak_gb": whole_gb}
        show(figures, as_json=args.json)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
