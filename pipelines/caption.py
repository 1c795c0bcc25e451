"""Adds a version of the captions to a pool, from a file or by a model. `python -m pipelines.caption --help`."""

import argparse
import sys
import time
from collections.abc import Sequence

import pyarrow as pa

from pipelines.captioning.file import REFUSALS, CaptionFile
from pipelines.captioning.units import Given, give_captions
from pipelines.options import EXIT_CODES, EXIT_DONE, Parser, UsageError, mapping
from pipelines.pool_job import check_removals
from pipelines.progress import duration, say
from pipelines.run import command
from quality.command import pool_at
from schemas.caption_names import PREFIX, check_name
from schemas.captions import CaptionVersion
from schemas.pool import Pool
from schemas.units import Commit

_EVERY_S = 10.0

_EXAMPLES = """examples:
  python -m pipelines.caption --dataset cats --name blip2 --captions 'blip2/*.parquet' --columns uid=UID,caption=TEXT
      captions of files, found by uid, else by url, source_id or sha256 of the image, whichever column there is
  python -m pipelines.ingest --dataset cats --start_at score --stop_after score --captions blip2
      scores what reads captions with these
  python -m pipelines.ingest --dataset cats --start_at select --policy blip2.toml
      a release with them, where the policy has the line: caption = "caption@blip2"

The same command continues after a kill; after an append it does the new units. The sources' captions stay as they are.

"""


class _Told:
    """A line now and then."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self.last >= _EVERY_S and done < of:
            self.last = now
            say(f"caption  {done:,}/{of:,} units  {duration((of - done) * (now - self.began) / done)} left")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what pipelines.run.command turns into messages."""
    args = _parser().parse_args(argv)
    try:
        check_name(args.name)
    except ValueError as error:
        raise UsageError(f"--name: {error}") from error
    pool = pool_at(args.dataset)
    check_removals(pool.store)
    version, told = CaptionVersion(pool, args.name), _Told()
    given = _from_file(args, pool, version, told)
    new = f", {given.made:,} of its {given.units:,} units in {duration(told.seconds)}" if given.made else ": all was there"
    say(
        f"{given.rows:,} pairs of the pool: {given.captioned:,} have a caption, {given.without:,} have none ({given.bare:,} of them fetched)"
    )
    say(f"version {version.name} of the captions is in {pool.store.path_of(version.path)}{new}")
    for line in _next(args.dataset, version.name):
        say(line)
    return EXIT_DONE


def _from_file(args: argparse.Namespace, pool: Pool, version: CaptionVersion, told: _Told) -> Given:
    with CaptionFile(args.captions, args.columns or {}) as file:
        version.adopt(file.origin())

        def captions_of(pool: Pool, raw: Commit) -> pa.Array:
            return file.captions_for(pool.read_raw(raw.unit, [file.key])[file.key])

        given = give_captions(pool, version, captions_of, again=True, tell=told)
        say(f"{args.captions}: {file.rows:,} rows, found by {file.key}")
        for reason, refused in file.refused.items():
            say(f"  {refused.rows:,} {REFUSALS[reason]}" + (f" (first: {refused.first})" if refused.first else ""))
        say(f"  {file.taken - file.unmatched:,} are of a pair of the pool, {file.unmatched:,} are of none")
        assert file.taken + sum(refused.rows for refused in file.refused.values()) == file.rows, "every row of the file is told of once"
    return given


def _next(dataset: str, name: str) -> list[str]:
    return [
        "next:",
        f"  python -m pipelines.ingest --dataset {dataset} --start_at score --stop_after score --captions {name}",
        f'  python -m pipelines.ingest --dataset {dataset} --start_at select --policy FILE   # a policy with the line: caption = "{PREFIX}{name}"',
    ]


def _parser() -> Parser:
    parser = Parser(
        prog="python -m pipelines.caption",
        description="Adds a version of the captions to a pool, which releases can choose; the sources' captions stay.",
        epilog=_EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder or URL of the dataset")
    parser.add_argument("--name", metavar="NAME", required=True, help="of the version: small letters, digits and hyphens")
    parser.add_argument(
        "--captions", metavar="FILE", required=True, help="csv tsv jsonl parquet (text also .gz .zst), quoted glob, or a URL of one"
    )
    parser.add_argument(
        "--columns", metavar="OURS=YOURS", type=mapping, help="names of your columns, e.g. uid=ID,caption=TEXT (or url, source_id, sha256)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(command(main))
