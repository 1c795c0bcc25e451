"""Attribution, notices, Croissant, card, datasheet and AI Act summary of a release. `python -m quality.documents --help`."""

import sys
from collections.abc import Sequence

from quality.block_lists import BlockListError
from quality.command import EXIT_DONE, Parser, UsageError, command, pool_at, say
from quality.documents.about import KEYS, read_about
from quality.documents.write import write_documents
from quality.kept import published

_EXAMPLES = f"""examples:
  python -m quality.documents --dataset pigment-data
      the newest release's, anew, into releases/<name>/
  python -m quality.documents --dataset pigment-data --release strict --about about.toml
      with what only you know; the file is kept as about.toml in the dataset, for the releases to come

about.toml holds any of these, as texts:
{chr(10).join(f"  {key:<26}{meaning}" for key, meaning in KEYS.items())}

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def parser() -> Parser:
    """The parser of this command."""
    p = Parser(
        prog="python -m quality.documents",
        description="Attribution, notices, Croissant, dataset card, datasheet and AI Act summary of a published release.",
        epilog=_EXAMPLES,
    )
    p.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder of the dataset")
    p.add_argument("--release", metavar="NAME", help="default: the newest")
    p.add_argument("--about", metavar="FILE.toml", help="what only people know of the dataset (default: the dataset's about.toml, if any)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what quality.command.command turns into messages."""
    args = parser().parse_args(argv)
    pool = pool_at(args.dataset)
    release = published(pool, args.release)
    try:
        facts = write_documents(pool, release, read_about(pool.store, args.about))
    except BlockListError as error:
        raise UsageError(str(error)) from error
    place = pool.store.path_of(release.path)
    left_out = f"; {facts.listed:,} on a block list now are left out" if facts.listed else ""
    say(f"documents of {facts.pairs:,} pairs, {facts.attributed:,} of them to be attributed{left_out}: {place}/README.md and what it names")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(command(main))
