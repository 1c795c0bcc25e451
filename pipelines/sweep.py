"""Removes what killed writers left in a pool: tars that no commit names, and temporary files. `python -m pipelines.sweep --help`."""

import sys
from collections.abc import Sequence

from pipelines.options import EXIT_CODES, EXIT_DONE, Parser, UsageError
from pipelines.progress import say
from pipelines.run import command
from schemas.pool import Pool


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m pipelines.sweep",
        description="Remove tars that no commit names and temporary files of killed writers. Only while no job writes to the dataset.",
        epilog="examples:\n  python -m pipelines.sweep --dataset pigment-data\n\n" + EXIT_CODES,
    )
    parser.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder or URL of the dataset")
    args = parser.parse_args(argv)
    pool = Pool(args.dataset)
    if pool.settings("source") is None:
        raise UsageError(f"{args.dataset}: no dataset here; check --dataset")
    removed = pool.sweep()
    for path in removed:
        say(pool.store.path_of(path))
    say(f"{len(removed)} file{'' if len(removed) == 1 else 's'} removed")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(command(main))
