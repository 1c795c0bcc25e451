"""The fetch summary at scale: what telling of a million fetched pairs takes.

    python -m tests.bench.fetch_summary [--rows 1000000] [--units 100] [--json] [--keep DIR]

Four fifths of the pairs came; hosts are Zipf-distributed over about 100,000 names, latencies log-normal. Figures are of processes of their own,
less what a fresh interpreter with the same imports takes.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.fetch.summary import summarise
from quality.block_lists import BlockLists
from schemas.columns import RAW, REQUESTS
from schemas.pool import Pool
from schemas.units import SourceFile, unit_name
from tests.bench.select import nothing, show, timed
from tests.pools import FILE

STATUSES: Final = np.array(["success", "failed_to_download", "failed_to_download", "refused"])
ERRORS: Final = np.array([None, "http_404", "timeout", "robots"])
BEGAN_MS: Final = 1_790_000_000_000


def make_pool(root: Path, rows: int, units: int) -> None:
    size = rows // units
    starts = tuple(range(0, rows, size))
    Pool(root).put_file(SourceFile(FILE, str(root), "pairs.csv", "rows", 1, "digest", rows, size, starts, starts))
    for chunk in range(units):
        make_unit(Pool(root), chunk, size)


def make_unit(pool: Pool, chunk: int, rows: int) -> None:
    rng = np.random.default_rng(chunk)
    end, hosts = rng.choice(4, rows, p=[0.8, 0.1, 0.06, 0.04]), rng.zipf(1.3, rows) % 100_000
    given = {
        "row": np.arange(rows, dtype=np.int32),
        "uid": [f"{chunk:08x}{row:024x}" for row in range(rows)],
        "url": [f"http://h{host}.example.org/images/{chunk}/{row}.jpg" for row, host in enumerate(hosts)],
        "status": STATUSES[end],
        "error_message": ERRORS[end],
        "size": np.where(end == 0, 75_000, 0),
        "optout": np.where(end == 3, "disallowed", None),
        "optout_signals": np.where(end == 3, "robots|x-robots-tag", None),
    }
    raw = pa.table([pa.array(given[f.name], f.type) if f.name in given else pa.nulls(rows, f.type) for f in RAW], schema=RAW)
    pool.commit(unit_name(FILE, chunk), raw, tar=None, input_digest="bench")
    columns = [
        given["row"],
        [f"h{host}.example.org" for host in hosts],
        BEGAN_MS + chunk * 4_000 + rng.integers(0, 4_000, rows),
        rng.lognormal(-1, 1, rows),
        rng.integers(1, 4, rows),
        np.full(rows, 75_000),
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, REQUESTS, strict=True)]
    pool.put_requests(unit_name(FILE, chunk), pa.table(arrays, schema=REQUESTS))


def summarised(root: str) -> None:
    summarise(Pool(root), BlockLists({}))


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
            make_pool(folder, args.rows, args.units)
        bare, bare_gb = timed(nothing)
        seconds, peak_gb = timed(summarised, str(folder))
        show({"rows": float(args.rows), "summary_s": seconds - bare, "peak_gb": peak_gb, "bare_gb": bare_gb}, as_json=args.json)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
