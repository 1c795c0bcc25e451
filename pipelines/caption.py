"""Adds a version of the captions to a pool, from a file or by a model. `python -m pipelines.caption --help`."""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pyarrow as pa

from pipelines.captioning.file import REFUSALS, CaptionFile
from pipelines.captioning.model import ModelCaptions
from pipelines.captioning.units import Given, give_captions, part_of, rows_to_do
from pipelines.options import EXIT_CODES, EXIT_DONE, Parser, UsageError, mapping, positive
from pipelines.pool_job import check_removals
from pipelines.progress import PairsTold, duration, say
from pipelines.run import command
from quality.captioners import Settings, open_captioner
from quality.captioners.protocol import DTYPES, origin_of
from quality.command import pool_at, this_python
from quality.engines.threads import bound_threads
from schemas.caption_names import PREFIX, check_name
from schemas.captions import CaptionVersion
from schemas.pool import Pool
from schemas.units import Commit

# Flags that are about a model, with their defaults.
_OF_MODELS: Final[dict[str, Any]] = {
    "checkpoint": None, "prompt": None, "beams": Settings.beams, "tokens": Settings.tokens, "dtype": Settings.dtype, "device": "cpu",
    "part": (1, 1),
}  # fmt: skip

_EXAMPLES = """examples:
  python -m pipelines.caption --dataset cats --name blip2 --captions 'blip2/*.parquet' --columns uid=UID,caption=TEXT
      captions of files, found by uid, else by url, source_id or sha256 of the image, whichever column there is
  python -m pipelines.caption --dataset cats --name blip2 --model models/blip2-opt-2.7b --device cuda --dtype bfloat16
      captions by a model of transformers in a folder; nothing is downloaded. Of eight GPUs each by its own command: --part 1/8, --part 2/8 …
  python -m pipelines.caption --dataset cats --name coca --model coca_ViT-B-32 --checkpoint coca_mscoco.pt
      by CoCa of open_clip
  python -m pipelines.ingest --dataset cats --start_at score --stop_after score --captions blip2
      scores what reads captions with these
  python -m pipelines.ingest --dataset cats --start_at select --policy blip2.toml
      a release with them, where the policy has the line: caption = "caption@blip2"

The same command continues after a kill; after an append it does the new units. The sources' captions stay as they are.

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what pipelines.run.command turns into messages."""
    args = _parser().parse_args(argv)
    try:
        check_name(args.name)
    except ValueError as error:
        raise UsageError(f"--name: {error}") from error
    _check(args)
    pool = pool_at(args.dataset)
    check_removals(pool.store)
    version, told = CaptionVersion(pool, args.name), PairsTold("caption")
    given = (_from_file if args.model is None else _by_model)(args, pool, version, told)
    new = f", {given.made:,} of its {given.units:,} units in {duration(told.seconds)}" if given.made else ": all was there"
    of = "the pool" if args.part == (1, 1) else f"{given.units:,} units, part {args.part[0]} of {args.part[1]}"
    say(f"{given.rows:,} pairs of {of}: {given.captioned:,} have a caption, {given.without:,} have none ({given.bare:,} of them fetched)")
    say(f"version {version.name} of the captions is in {pool.store.path_of(version.path)}{new}")
    for line in _next(args.dataset, version.name):
        say(line)
    return EXIT_DONE


def _from_file(args: argparse.Namespace, pool: Pool, version: CaptionVersion, told: PairsTold) -> Given:
    with CaptionFile(args.captions, args.columns or {}) as file:
        units = part_of(pool.committed())
        for unit in units:
            file.look_for(pool.read_raw(unit, [file.key])[file.key])
        if file.unmatched == file.taken:
            raise UsageError(
                f"--captions {args.captions}: none of its {file.rows:,} rows is of a pair of {args.dataset}, by {file.key}; look at that column, or "
                "name another one, as in --columns url=URL,caption=TEXT; nothing was written"
            )
        version.adopt(file.origin())
        told.start(rows_to_do(pool, version, units))

        def captions_of(pool: Pool, raw: Commit) -> pa.Array:
            told(raw.rows)
            return file.captions_for(pool.read_raw(raw.unit, [file.key])[file.key])

        given = give_captions(pool, version, units, captions_of)
        say(f"{args.captions}: {file.rows:,} rows, found by {file.key}")
        for reason, refused in file.refused.items():
            say(f"  {refused.rows:,} {REFUSALS[reason]}" + (f" (first: {refused.first})" if refused.first else ""))
        say(f"  {file.taken - file.unmatched:,} are of a pair of the pool, {file.unmatched:,} are of none")
        assert file.taken + sum(refused.rows for refused in file.refused.values()) == file.rows, "every row of the file is told of once"
    return given


def _by_model(args: argparse.Namespace, pool: Pool, version: CaptionVersion, told: PairsTold) -> Given:
    bound_threads(os.cpu_count() or 1)
    settings = Settings(args.beams, args.tokens, args.prompt, args.dtype)
    model = open_captioner(args.model, args.checkpoint, settings, device=args.device)
    version.adopt(origin_of(model))
    units = part_of(pool.committed(), args.part)
    told.start(rows_to_do(pool, version, units))
    say(f"{model.name} ({model.weights[:12]}) on {args.device}: {told.total:,} of the pairs of {len(units):,} units to do")
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode") as executor:
        return give_captions(pool, version, units, ModelCaptions(model, executor, told))


def _check(args: argparse.Namespace) -> None:
    """Raises UsageError for flags that do not go together."""
    if (args.captions is None) == (args.model is None):
        raise UsageError("give --captions or --model (one of them)")
    if args.model is not None and args.columns is not None:
        raise UsageError("--columns names columns of a file of captions: leave it out")
    if args.model is None and (flag := next((name for name in _OF_MODELS if getattr(args, name) != _OF_MODELS[name]), None)):
        raise UsageError(f"--{flag} is about a model: add --model, or leave it out")


def _next(dataset: str, name: str) -> list[str]:
    ingest = f"{this_python()} -m pipelines.ingest --dataset {dataset}"
    return [
        f"next: {ingest} --start_at score --stop_after score --captions {name}",
        f'      {ingest} --start_at select --policy FILE   # a policy with the line: caption = "{PREFIX}{name}"',
    ]


def _parser() -> Parser:
    parser = Parser(
        prog="python -m pipelines.caption",
        description="Adds a version of the captions to a pool, which releases can choose; the sources' captions stay.",
        epilog=_EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder or URL of the dataset")
    parser.add_argument("--name", metavar="NAME", required=True, help="of the version: small letters, digits and hyphens")
    parser.add_argument("--captions", metavar="FILE", help="csv tsv jsonl parquet (text also .gz .zst), quoted glob, or a URL of one")
    parser.add_argument(
        "--columns", metavar="OURS=YOURS", type=mapping, help="names of your columns, e.g. uid=ID,caption=TEXT (or url, source_id, sha256)"
    )
    model = parser.add_argument_group("a model")
    model.add_argument(
        "--model", metavar="DIR|NAME", help="folder of transformers' (BLIP, BLIP-2, GIT …), a hub's name, or coca_ViT-B-32 of open_clip"
    )
    model.add_argument("--checkpoint", metavar="FILE", help="of coca: the weights")
    model.add_argument("--prompt", metavar="TEXT", help="what the model goes on from, or is asked; no part of the caption")
    model.add_argument(
        "--beams", metavar="N", type=positive, default=_OF_MODELS["beams"], help="1: greedy; captions are never drawn by chance"
    )
    model.add_argument("--tokens", metavar="N", type=positive, default=_OF_MODELS["tokens"], help="of a caption, at most")
    model.add_argument("--dtype", choices=DTYPES, default=_OF_MODELS["dtype"], help="of the weights")
    model.add_argument(
        "--device", metavar="NAME", default=_OF_MODELS["device"], help="as torch names it; the same for all units of a version"
    )
    model.add_argument(
        "--part",
        metavar="K/N",
        type=_part,
        default=_OF_MODELS["part"],
        help="only every N-th unit, from the K-th: for N commands at a time",
    )
    return parser


def _part(text: str) -> tuple[int, int]:
    """`2/8` as (2, 8)."""
    first, _, of = text.partition("/")
    if not (first.isdigit() and of.isdigit() and 1 <= int(first) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text} is no part, as 2/8 is")
    return int(first), int(of)


if __name__ == "__main__":
    sys.exit(command(main))
