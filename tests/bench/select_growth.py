"""Select over ever more stored rows: time, CPU time and peak memory of the job's processes, and what they are a row.

    python -m tests.bench.select_growth --rows 1000000 --rows 10000000 --rows 30000000 --folder DIR --into infra/select.json

Rows are those of tests.bench.select, in units of UNIT: metadata and scores in the pool's layout, a tenth of them equal to another; policy and exact
duplicates, no near ones. The runner is the pinned one in two processes, which holds what it shuffles in memory: memory grows with rows.
A pool takes 150 bytes a row of the folder, and is removed.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from schemas.pool import Pool
from schemas.release import Release
from tests.bench.select import make_pool, ours
from tests.bench.watched import watched

UNIT: Final = 10_000  # rows


def measured(folder: Path, rows: int) -> dict[str, Any]:
    """What select took over so many rows. Raises RuntimeError where not every row is decided."""
    pool = make_pool(folder, rows, max(1, rows // UNIT))
    usage = watched([sys.executable, "-m", "tests.bench.select_growth", "--decide", str(folder)], log=folder / "select.log")
    decided = Release(pool.store, "bench").decided()
    ended = sum(unit.keep + unit.review + unit.drop for unit in decided)
    if ended != rows:
        raise RuntimeError(f"{rows} rows, {ended} decided")
    lost = sum(number for unit in decided for reason, number in unit.reasons.items() if reason.startswith("duplicate:"))
    shutil.rmtree(folder)
    return {
        "rows": rows, "wall_s": round(usage.wall_s, 1), "cpu_s": round(usage.cpu_s, 1), "peak_mb": round(usage.peak_bytes / 1e6),
        "duplicates": lost,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", default=[], help="run with so many; can be given again")
    parser.add_argument("--folder", help="where pools go meanwhile (default: the folder for temporary files)")
    parser.add_argument("--into", type=Path, help="JSON of all runs; a run of equal size is replaced")
    parser.add_argument("--decide", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.decide:
        ours(args.decide, "bench", sorted(Pool(args.decide).committed()))
        return
    known = json.loads(args.into.read_text()) if args.into and args.into.exists() else {"runs": []}
    with tempfile.TemporaryDirectory(prefix="pigment-bench-", dir=args.folder) as name:
        for rows in args.rows:
            run = measured(Path(name, str(rows)), rows)
            print(run, flush=True)
            known["runs"] = sorted([run, *(other for other in known["runs"] if other["rows"] != rows)], key=lambda run: run["rows"])
            if args.into:
                args.into.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
