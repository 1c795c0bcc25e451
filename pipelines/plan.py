"""`--plan`: what a job would do and take, before it does anything. Writes nothing."""

import argparse
from collections.abc import Collection

from pipelines.pool_job import plan_source
from pipelines.progress import duration
from pipelines.sources.listing import TARS
from pipelines.sources.rows import index_file
from pipelines.steps.follow_ups import next_follow_up
from schemas.follow_ups import follow_ups_of, next_round
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
        found = [(entry, index_file(scratch, entry, unit_size=source["unit_size"])) for entry in entries]
    files = {file.file: (entry, file) for entry, file in found}.values()
    units = {unit: file.rows_of(chunk) for _, file in files for chunk, unit in enumerate(file.units)}
    committed, round = pool.committed(), next_round(pool) if args.retry_failed else None
    done = sorted(committed & set(units))
    requests = kept = in_tars = again = 0  # pairs
    for entry, file in files:
        left = sum(units[unit] for unit in file.units if unit not in committed)
        follow_ups = sum(_asked_again(pool, unit, committed, round) for unit in file.units)
        stays, local = entry.kind in TARS, entry.images and entry.kind not in TARS
        requests += (0 if entry.images else left) + (0 if local else follow_ups)
        kept += (0 if stays else left) + follow_ups
        in_tars += left if stays else 0
        again += follow_ups
    mean, known = _mean_bytes(pool, done)
    no_urls = all(entry.images for entry in entries)
    return [
        f"source     {len(files)} file{'s' if len(files) != 1 else ''}, {sum(units.values()):,} rows",
        f"units      {len(units)} of {source['unit_size']:,} rows; {len(done)} are committed already",
        *_retry_lines(again, asked=args.retry_failed),
        f"requests   {'none: the images are here' if no_urls and not requests else f'about {requests:,}, retries and redirects apart'}",
        f"bytes      {_bytes_text(kept, in_tars, mean, only_tars=all(entry.kind in TARS for entry in entries))}"
        f" ({mean / 1000:.0f} KB an image, {known})",
        f"time       about {duration((kept + in_tars) / _PAIRS_A_SECOND)} at {_PAIRS_A_SECOND:.0f} pairs/s (two cores, embedded model)",
        "nothing was written",
    ]


def _asked_again(pool: Pool, unit: str, committed: Collection[str], round: int | None) -> int:
    """Pairs of a unit's follow-ups that would be fetched: planned ones, and the one that a round of retrying would add."""
    planned = follow_ups_of(pool, unit)
    plan = None if round is None else next_follow_up(unit, pool, round, planned)
    return sum(len(each.rows) for each in [*planned, *([] if plan is None else [plan])] if each.unit not in committed)


def _retry_lines(again: int, *, asked: bool) -> list[str]:
    if asked:
        return [f"retry      {again:,} pairs failed in a way that can pass, and are asked for again"]
    return [f"retry      {again:,} pairs are asked for again: a round of --retry_failed was begun, and is gone on with"] if again else []


def _bytes_text(kept: int, in_tars: int, mean: float, *, only_tars: bool) -> str:
    read = f"about {in_tars * mean / 1e9:,.2f} GB to read"
    if only_tars and not kept:
        return f"none: images stay in their tars; {read}"
    return f"about {kept * mean / 1e9:,.2f} GB to fetch and keep" + (f"; {read} in tars, where images stay" if in_tars else "")


def _mean_bytes(pool: Pool, done: list[str]) -> tuple[float, str]:
    sizes = [size for unit in done[:20] for size in pool.read_raw(unit, ["size"])["size"].to_pylist() if size is not None]
    return (sum(sizes) / len(sizes), "as measured in this pool") if sizes else (_BYTES_AN_IMAGE, "the usual on the web")
