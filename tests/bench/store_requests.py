"""Requests to the store that the main job makes, by step: for each unit, each shard and each kept pair.

    python -m tests.bench.store_requests [--json]

The job runs twice on small pairs, in one process, with a store that counts: over UNITS units and over twice as many, of which nearly every pair is
kept, in as many shards as units. What grows is a unit's (a shard's included), what does not is the job's. `open` is a Parquet file opened to be
read: on an object store several requests, for its size, its footer and its columns. `ranges` are images read from tars, before neighbours are joined.
"""

import argparse
import contextlib
import json
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pipelines.ingest import main as ingest
from pipelines.publish import main as publish
from schemas.store import Store
from tests.bench.growth import POLICY
from tests.bench.small_pairs import make_pictures, web, write_source

UNITS: Final = 5
UNIT: Final = 200  # rows; also pairs a shard
_COUNTED: Final = ("put", "put_new", "read", "open", "exists", "list", "delete")


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Counts what any store of this process is asked meanwhile."""
    counts = Counter[str]()
    own = {name: getattr(Store, name) for name in (*_COUNTED, "read_ranges")}

    def counted(name: str):
        def call(self: Store, *args: Any, **named: Any) -> Any:
            counts[name] += 1
            return own[name](self, *args, **named)

        return call

    def read_ranges(self: Store, path: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        counts["ranges"] += len(ranges)
        with own["open"](self, path) as file:
            return [file.read_at(size, offset) for offset, size in ranges]

    try:
        for name in _COUNTED:
            setattr(Store, name, counted(name))
        Store.read_ranges = read_ranges  # type: ignore[method-assign]
        yield counts
    finally:
        for name, method in own.items():
            setattr(Store, name, method)


def requests(folder: Path, units: int) -> dict[str, Counter[str]]:
    """Requests by step for so many units."""
    folder.mkdir()
    make_pictures(folder, units * UNIT)
    policy = folder / "growth.toml"
    policy.write_text(POLICY)
    dataset = ["--dataset", str(folder / "data")]
    job = [*dataset, "--running_mode", "in_memory", "--workers", "1"]
    release = ["--policy", str(policy), "--shard_count", str(UNIT)]
    found = {}
    with web(folder) as (start, _):
        write_source(folder / "pairs.parquet", start, units * UNIT)
        fetch = ["--source", str(folder / "pairs.parquet"), "--unit_size", str(UNIT), "--allow_private_hosts"]
        for step, main, flags in (
            ("fetch", ingest, [*job, *fetch, "--stop_after", "fetch"]),
            ("score", ingest, [*job, "--start_at", "score", "--stop_after", "score", "--scorers", "image"]),
            ("select", ingest, [*job, "--start_at", "select", "--stop_after", "select", *release]),
            ("shard", ingest, [*job, "--start_at", "shard", "--stop_after", "shard", *release]),
            ("publish", publish, dataset),
        ):
            with counting() as counts, contextlib.redirect_stdout(sys.stderr):
                if main(flags):
                    sys.exit(f"{step} failed")
            found[step] = counts
    return found


def _apart(folder: Path, units: int) -> dict[str, Counter[str]]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(requests, folder, units).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pigment-bench-") as name:
        # A process each: what a run leaves behind (threads of the runner) is none of the next one's.
        few, many = (_apart(Path(name, str(units)), units) for units in (UNITS, 2 * UNITS))
    kinds = sorted({kind for counts in many.values() for kind in counts})
    found = {
        step: {
            kind: {"a_unit": (many[step][kind] - few[step][kind]) / UNITS, "a_job": 2 * few[step][kind] - many[step][kind]}
            for kind in kinds
        }
        for step in many
    }
    if args.json:
        print(json.dumps(found))
        return
    print(f"{'':10}" + "".join(f"{kind:>16}" for kind in kinds) + "   (a unit + a job)")
    for step, counts in found.items():
        print(f"{step:10}" + "".join(f"{count['a_unit']:>9.1f} + {count['a_job']:<4}" for count in counts.values()))


if __name__ == "__main__":
    main()
