"""`python -m quality.scorers`: the cards of the packaged scorers. `--cards FILE`: puts them between the marks of a page."""

import sys
from collections.abc import Sequence

from quality.command import EXIT_DONE, Parser, UsageError, command
from quality.pages import PageError, write_generated
from quality.scorers.cards import cards


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m quality.scorers", description="What the packaged scorers measure, as Markdown.")
    parser.add_argument("--cards", metavar="FILE", help="put it between the marks of this page, as quality/scorers/README.md has them")
    args = parser.parse_args(argv)
    if args.cards is None:
        sys.stdout.write(cards() + "\n")
        return EXIT_DONE
    try:
        write_generated(args.cards, cards())
    except PageError as error:
        raise UsageError(str(error)) from error
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(command(main))
