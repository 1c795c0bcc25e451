"""A published release in layouts that other tools read. `python -m pipelines.export --help`."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pipelines.exports import Export, Tell
from pipelines.exports.lists import datacomp_ids, laion, url_list
from pipelines.exports.pictures import imagefolder, parquet, webdataset
from pipelines.exports.whole import put_mark, whole
from pipelines.options import EXIT_CODES, EXIT_DONE, Parser, UsageError
from pipelines.progress import PairsTold, duration, say
from pipelines.run import command
from quality.block_lists import read_lists
from quality.command import pool_at
from quality.documents import read_about
from quality.documents.facts import gather
from quality.kept import Kept, published

FORMATS: Final[dict[str, Callable[[Export, Path, Tell], None]]] = {
    "imagefolder": imagefolder,
    "hf-webdataset": webdataset,
    "parquet": parquet,
    "laion": laion,
    "url-list": url_list,
    "datacomp-npy": datacomp_ids,
}
_CSV: Final = ("imagefolder", "laion", "url-list")  # that can be written so

_EXAMPLES = """examples:
  python -m pipelines.export --dataset cats --format imagefolder --out cats-folder
      for load_dataset("imagefolder", data_dir="cats-folder"), and --train_data_dir of diffusers' examples: columns image and text
  python -m pipelines.export --dataset cats --format imagefolder --csv --out cats-folder
      for open_clip, in cats-folder/train: --dataset-type csv --train-data metadata.csv --csv-img-key file_name --csv-caption-key text
      --csv-separator ,
  python -m pipelines.export --dataset cats --format hf-webdataset --out cats-wds
      the shards with a dataset card, for load_dataset("cats-wds") and the Hub
  python -m pipelines.export --dataset cats --format parquet --out cats-parquet
      images within Parquet, for load_dataset("cats-parquet"), DuckDB and Polars
  python -m pipelines.export --dataset cats --format laion --out cats-meta
      URL, TEXT, WIDTH, HEIGHT, LICENSE and what was measured: similarity, punsafe
  python -m pipelines.export --dataset cats --format url-list --out cats-urls
      img2dataset --url_list cats-urls --input_format parquet --url_col url --caption_col caption --verify_hash '["sha256","sha256"]'
  python -m pipelines.export --dataset cats --format datacomp-npy --out cats-ids
      our uids as DataComp's subset file; source ids and other columns: python -m pipelines.export_ids

Layouts with images bring README.md, NOTICE, OBLIGATIONS.md and ATTRIBUTION, which have to be handed on. Pairs on a block list
(PIGMENT_BLOCK_LISTS) are in none.

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what pipelines.run.command turns into messages."""
    args = _parser().parse_args(argv)
    if args.csv and args.format not in _CSV:
        raise UsageError(f"--csv is for {', '.join(_CSV)}; leave it out")
    pool = pool_at(args.dataset)
    release = published(pool, args.release)
    about, lists = read_about(pool.store), read_lists(pool.store)
    with whole(Path(args.out), overwrite=args.overwrite) as folder:
        kept = Kept(pool, release, lists=lists)
        facts = gather(kept, about)
        progress = PairsTold("export", facts.pairs)
        FORMATS[args.format](Export(kept, facts, args.csv), folder, progress)
        told = {"format": args.format, "release": release.name, "digest": facts.manifest["digest"], "pairs": progress.done}
        put_mark(folder, {**told, "kept": facts.pairs, "listed": facts.listed})
    say(f"{progress.done:,} pairs of release {release.name} are in {args.out} as {args.format}, in {duration(progress.seconds)}")
    if without := facts.pairs - progress.done:
        say(f"{without:,} more have no url, as pairs of a folder or a tar, and are left out")
    if facts.listed:
        say(f"{facts.listed:,} more that it kept {'is' if facts.listed == 1 else 'are'} on a block list now, and left out")
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser(
        prog="python -m pipelines.export",
        description="A published release in a layout that another tool reads, in a new folder.",
        epilog=_EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder of the dataset")
    parser.add_argument("--release", metavar="NAME", help="default: the newest")
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="which layout")
    parser.add_argument("--out", metavar="DIR", required=True, help="a folder that is not there yet; it appears when it is whole")
    parser.add_argument(
        "--csv", action="store_true", help="with imagefolder, laion and url-list: CSV, which open_clip and spreadsheets read"
    )
    parser.add_argument("--overwrite", action="store_true", help="put it in the place of an earlier export")
    return parser


if __name__ == "__main__":
    sys.exit(command(main))
