"""What an append of 10 % costs beside a full run, and whether it keeps the same pairs.

    python -m tests.bench.append --corpus pigment-corpus --out DIR [--pairs N] [--scorers NAMES --policy FILE] [--json]

The corpus is split by a fixed shuffle into `base` and `new`, a tenth of it. One dataset ingests `base`, and then `new` with --add_source: the
append. Another ingests all of it in one run: the full run. Both in processes of their own with two workers. The least of `--rounds` is told,
in seconds of wall time and, since a machine is seldom ours alone, in seconds of CPU of all processes. Kept uids are compared, and how many bytes
of shards the append wrote. Full corpus, 40 minutes of two quiet cores: leave --pairs out. A cheap pass: --scorers image --policy FILE with
similarity = "image.sharpness". Exit code 1 if the append costs more than 15 % in CPU seconds, or other pairs are kept.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.release import Release, latest
from schemas.store import open_store

SHARE: Final = 0.1  # of the base, that is appended
BOUND: Final = 0.15  # of a full run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="a folder with metadata.parquet, as `make corpus` writes it")
    parser.add_argument("--out", type=Path, required=True, help="folder for sources and datasets; a dataset that is there is made anew")
    parser.add_argument("--pairs", type=int, help="of the base (default: of the whole corpus, so that base and new are all of it)")
    parser.add_argument("--rounds", type=int, default=1, help="of append and full run (default: %(default)s)")
    parser.add_argument("--scorers", help="as of pipelines.ingest (default: its own)")
    parser.add_argument("--policy", default="embedded", help="as of pipelines.ingest (default: %(default)s)")
    parser.add_argument(
        "--engine", default="onnxruntime-f32", help="of the default scorers, so that none has to be chosen (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    args = parser.parse_args()
    scoring = ["--engine", args.engine] if args.scorers is None else ["--scorers", args.scorers]
    flags = ["--policy", args.policy, "--workers", "2", *scoring]
    sources = make_sources(args.corpus, args.out, args.pairs)
    result: dict[str, Any] = {"cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    for _ in range(args.rounds):
        appended, full = args.out / "appended", args.out / "full"
        for dataset in (appended, full):
            shutil.rmtree(dataset, ignore_errors=True)
        costs = {
            "base": run(appended, "--source", sources["base"], *flags),
            "append": run(appended, "--source", sources["new"], "--add_source", *flags),
            "full": run(full, "--source", sources["all"], *flags),
        }
        for name, (wall, cpu) in costs.items():
            result[f"{name}_s"] = min(round(wall, 1), result.get(f"{name}_s", np.inf))
            result[f"{name}_cpu_s"] = min(round(cpu, 1), result.get(f"{name}_cpu_s", np.inf))
    result |= compared(newest(appended), newest(full))
    result["share_wall"] = round(result["append_s"] / result["full_s"], 3)
    result["share_cpu"] = round(result["append_cpu_s"] / result["full_cpu_s"], 3)
    print(json.dumps(result) if args.json else "\n".join(f"{name:24}{value}" for name, value in result.items()))
    sys.exit(0 if result["share_cpu"] <= BOUND and result["only_append"] == result["only_full"] == 0 else 1)


def make_sources(corpus: Path, out: Path, pairs: int | None) -> dict[str, Path]:
    """Folders with a part of the corpus's rows each, and its images by a link."""
    table = pq.read_table(corpus / "metadata.parquet")
    order = np.random.default_rng(1).permutation(table.num_rows)
    base = round(table.num_rows / (1 + SHARE)) if pairs is None else pairs
    new = round(base * SHARE)
    found = {}
    for name, rows in {"base": order[:base], "new": order[base : base + new], "all": order[: base + new]}.items():
        found[name] = out / name
        found[name].mkdir(parents=True, exist_ok=True)
        pq.write_table(table.take(pa.array(np.sort(rows))), found[name] / "metadata.parquet")
        if not (found[name] / "images").is_symlink():
            (found[name] / "images").symlink_to((corpus / "images").absolute())
    return found


def run(dataset: Path, *flags: str | Path) -> tuple[float, float]:
    """(wall, CPU) seconds of an ingest and all its processes."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "pipelines.ingest", "--dataset", dataset, *flags]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def newest(dataset: Path) -> Release:
    store = open_store(dataset)
    return Release(store, str(latest(store)))


def compared(append: Release, full: Release) -> dict[str, Any]:
    ours, theirs = kept(append), kept(full)
    shards = append.shards()
    own = [shard for shard in shards if append.holder(shard.shard) == append.name]
    return {
        "kept": len(ours),
        "only_append": len(ours - theirs),
        "only_full": len(theirs - ours),
        "shards": len(shards),
        "shards_written": len(own),
        "bytes": sum(shard.bytes for shard in shards),
        "bytes_written": sum(shard.bytes for shard in own),
        "took": steps(append),
    }


def kept(release: Release) -> set[str]:
    return {uid for shard in release.shards() for uid in release.read_index(shard.shard, ["uid"])["uid"].to_pylist()}


def steps(release: Release) -> dict[str, Any]:
    return (release.run() or {}).get("took", {})


if __name__ == "__main__":
    main()
