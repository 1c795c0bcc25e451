"""`--plan`: what a job would do and take, before it does anything. Writes nothing."""

import argparse

from pipelines.fetch.summary import summarise
from pipelines.pool_job import plan_source
from pipelines.progress import duration
from pipelines.sources.listing import TARS
from pipelines.sources.rows import index_file
from quality.block_lists import read_lists
from schemas.pool import Pool
from schemas.scratch import Scratch

_BYTES_AN_IMAGE = 75_000  # mean of web images in LAION-like lists, and of our fetch benchmark
_PAIRS_A_SECOND = 15.0  # scoring the sample on two cores with the embedded model, ONNX or OpenVINO (12 to 16 measured)


def plan_lines(args: argparse.Namespace) -> list[str]:
    """Units, requests, bytes and time, each with what it rests on. Counts the source for real, in a folder that is thrown away."""
    pool = Pool(args.dataset)
    entries, source = plan_source(args, pool)
    with Scratch("plan") as folder:
        scratch = Pool(folder)
        files = [index_file(scratch, entry, unit_size=source["unit_size"]) for entry in entries]
    units = {unit: file.rows_of(chunk) for file in files for chunk, unit in enumerate(file.units)}
    done = pool.committed() & set(units)
    rows, left = sum(units.values()), sum(rows for unit, rows in units.items() if unit not in done)
    again = summarise(pool, read_lists()).passing if args.retry_failed else 0
    left += again
    mean, known = _mean_bytes(pool, sorted(done))
    local, tars = entries[0].images, all(entry.kind in TARS for entry in entries)
    gigabytes = f"about {left * mean / 1e9:,.2f} GB"
    return [
        f"source     {len(files)} file{'s' if len(files) != 1 else ''}, {rows:,} rows",
        f"units      {len(units)} of {source['unit_size']:,} rows; {len(done)} are committed already",
        *([f"retry      {again:,} pairs failed in a way that can pass, and are asked for again"] if args.retry_failed else []),
        f"requests   {'none: the images are here' if local else f'about {left:,}, retries and redirects apart'}",
        f"bytes      {f'none: images stay in their tars; {gigabytes} to read' if tars else f'{gigabytes} to fetch and keep'}"
        f" ({mean / 1000:.0f} KB an image, {known})",
        f"time       about {duration(left / _PAIRS_A_SECOND)} at {_PAIRS_A_SECOND:.0f} pairs/s (two cores, embedded model)",
        "nothing was written",
    ]


def _mean_bytes(pool: Pool, done: list[str]) -> tuple[float, str]:
    sizes = [size for unit in done[:20] for size in pool.read_raw(unit, ["size"])["size"].to_pylist() if size is not None]
    return (sum(sizes) / len(sizes), "as measured in this pool") if sizes else (_BYTES_AN_IMAGE, "the usual on the web")
