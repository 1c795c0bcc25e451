"""One HTML file that says what a dataset is, whether it is fit to publish, and what is doubtful. `python -m quality.report --help`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from quality.block_lists import BlockListError
from quality.command import EXIT_DONE, Parser, UsageError, command, say
from quality.evaluation.plots import can_plot
from quality.report.gather import gather
from quality.report.pairs import SHARP
from quality.report.render import LANGUAGES, render
from quality.report.scope import release_of, scope_of
from schemas.release import Release

_EXAMPLES = """examples:
  python -m quality.report --dataset pigment-data
      the newest release, against its parent where it has one; into releases/<name>/report/report.html
  python -m quality.report --dataset pigment-data --release strict --against e162724a131e --lang ko
  python -m quality.report --dataset pigment-data --pool --out pool.html
      what was fetched and measured, whatever a policy said of it: to choose thresholds

The file is opened with a browser, and loads nothing. It holds thumbnails: all of them blurred, and behind each, to be asked for, a sharp one,
but for pairs that people rejected, or that may not be safe for work (NSFW of 0.5 or more, or not measured). Share it as you would the images, or use
--sharp none.
Pairs on a block list (PIGMENT_BLOCK_LISTS) are not in it.

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def parser() -> Parser:
    """The parser of this command."""
    p = Parser(
        prog="python -m quality.report",
        description="A quality report of a release, or of a pool, as one offline HTML file.",
        epilog=_EXAMPLES,
    )
    p.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder or URL of the dataset")
    p.add_argument("--release", metavar="NAME", help="default: the newest; of a dataset without one, the pool")
    p.add_argument("--pool", action="store_true", help="the pool, without a release")
    p.add_argument("--against", metavar="NAME", help="the release to compare with (default: the parent that the release names)")
    p.add_argument("--lang", choices=LANGUAGES, default="en", help="the language that is shown first; both are in the file")
    p.add_argument("--sharp", choices=SHARP, default="safe", help="which pairs have a sharp thumbnail behind the blurred one")
    p.add_argument("--out", metavar="FILE", help="default: releases/<name>/report/report.html, for a pool report.html")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what quality.command.command turns into messages."""
    args = parser().parse_args(argv)
    if args.pool and (args.release or args.against):
        raise UsageError("--pool is the report without a release; leave --release and --against out")
    if not can_plot():
        raise UsageError("the report's plots need matplotlib: pip install 'pigment[report]'")
    scope = scope_of(args.dataset, args.release, pool_only=args.pool)
    parent = scope.run.get("parent")
    before = None if parent is None else Release(scope.pool.store, parent)
    gone = args.against is None and before is not None and (before.run() is None or before.notice() is not None)
    name = args.against or (None if gone else parent)
    if name is not None and scope.release is None:
        raise UsageError("--against compares two releases, and this dataset has none to report on")
    if name is not None and scope.release is not None and name == scope.release.name:
        raise UsageError(f"--against {name}: that is the release itself; give another")
    try:
        report = gather(scope, against=None if name is None else release_of(scope.pool, name), sharp=args.sharp)
    except BlockListError as error:
        raise UsageError(str(error)) from error
    data = render(report, lang=args.lang).encode()
    if args.out is None and scope.release is not None:
        scope.release.put_derived("report/report.html", data)
        place = scope.pool.store.path_of(f"{scope.release.path}/report/report.html")
    elif args.out is None:
        scope.pool.store.put("report.html", data)
        place = scope.pool.store.path_of("report.html")
    else:
        try:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            Path(args.out).write_bytes(data)
        except OSError as error:
            raise UsageError(f"--out {args.out}: {error.strerror or error}; give a file that can be written") from error
        place = args.out
    if gone:
        say(f"without its parent {parent}, which is not in the dataset any more; compare with another release: --against NAME")
    failed = [one["rule"] for one in report.gates.failed if one["severity"] == "critical"]
    say(f"{place} ({len(data) / 1e6:.1f} MB)" + (f"; not fit to publish, a critical gate failed: {failed[0]}" if failed else ""))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(command(main))
