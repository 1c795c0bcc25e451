"""The ids of the pairs that a release kept, as DataComp's subset file or as text. `python -m pipelines.export_ids --help`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.options import EXIT_CODES, EXIT_DONE, Parser, UsageError
from pipelines.progress import say
from pipelines.run import command
from quality.block_lists import BlockLists, listed_rows, read_lists
from schemas.pool import Pool
from schemas.release import Release, latest
from schemas.value_lists import write_ids

_EXAMPLES = """examples:
  python -m pipelines.export_ids --dataset cats --out kept.npy
      our uids, 128 bits each, sorted: a policy reads them with in_file = "kept.npy"
  python -m pipelines.export_ids --dataset commonpool --column source_id --out kept.npy
      DataComp's own uids, for its resharder: python resharder.py -s kept.npy …
  python -m pipelines.export_ids --dataset cats --column url --out kept.txt
      any column of text of the pool, one value a line, sorted

"""


def kept_values(pool: Pool, release: Release, column: str, lists: BlockLists) -> tuple[list[str], int]:
    """The column of all pairs that the release kept, from its decisions, but for those that are on a list now; how many these are.

    Raises UsageError for a column that is not there or has nulls.
    """
    found, listed = list[str](), 0
    for decided in release.decided():
        kept = np.asarray(pc.fill_null(pc.equal(release.read_decisions(decided.unit, ["verdict"])["verdict"], "keep"), False))
        now_listed = listed_rows(pool, decided.unit, lists, kept)
        listed += int(now_listed.sum())
        try:
            values = pool.read_raw(decided.unit, [column])[column].filter(pa.array(kept & ~now_listed))
        except KeyError as error:
            names = ", ".join(field.name for field in pool.raw_schema(decided.unit) if pa.types.is_string(field.type))
            raise UsageError(f"the pool has no column {column!r}; columns of text: {names}") from error
        if not pa.types.is_string(values.type):
            raise UsageError(f"{column} is {values.type}; ids are text")
        if values.null_count:
            raise UsageError(f"unit {decided.unit}: {values.null_count} kept pairs have no {column}; export uid instead")
        found += values.to_pylist()
    return found, listed


def _write_texts(values: Sequence[str], path: str, column: str) -> int:
    """Writes the values in order, each once; returns how many. Raises UsageError for one that a list could not hold."""
    distinct = sorted(set(values))
    if any("\n" in value or "\r" in value for value in distinct):
        raise UsageError(f"some values of {column} have line breaks; a list has one value a line")
    Path(path).write_text("".join(f"{value}\n" for value in distinct), "utf-8")
    return len(distinct)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m pipelines.export_ids",
        description="The ids of the pairs that a release kept, as DataComp's subset file (.npy) or as text.",
        epilog=_EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder or URL of the dataset")
    parser.add_argument("--release", metavar="NAME", help="default: the newest")
    parser.add_argument("--column", metavar="NAME", default="uid", help="which id: uid, source_id, or another column of text of the pool")
    parser.add_argument("--out", metavar="FILE", required=True, help=".npy: DataComp's sorted array of dtype u8,u8; else text")
    args = parser.parse_args(argv)
    pool = Pool(args.dataset)
    name = args.release or latest(pool.store)
    release = None if name is None else Release(pool.store, name)
    if release is None or release.manifest() is None:
        raise UsageError(
            f"{args.dataset} has no published release" + (f" {name}" if name else "") + "; run python -m pipelines.ingest first"
        )
    values, listed = kept_values(pool, release, args.column, read_lists(pool.store))
    try:
        count = write_ids(values, args.out) if args.out.endswith(".npy") else _write_texts(values, args.out, args.column)
    except OSError as error:
        raise UsageError(f"--out {args.out}: {error.strerror}") from error
    told = f"{count:,} distinct values of {args.column}, of {len(values):,} pairs that release {release.name} kept, are in {args.out}"
    say(told + (f"; {listed:,} more that it kept {'is' if listed == 1 else 'are'} on a block list now, and left out" if listed else ""))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(command(main))
