"""Reads a dataset again, whole. `python -m pipelines.verify --help`."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from pipelines.options import EXIT_CODES, EXIT_DONE, EXIT_GATE, Parser, UsageError, positive
from pipelines.progress import duration, say
from pipelines.run import command
from pipelines.verify.dataset import Progress, verify
from pipelines.verify.findings import Finding
from schemas.pool import Pool
from schemas.release import releases

_EVERY_S: Final = {True: 1.0, False: 10.0}  # terminal: one line rewritten; file or pipe: a line now and then
_EXAMPLES: Final = """examples:
  python -m pipelines.verify --dataset cats
      the pool and every published release
  python -m pipelines.verify --dataset cats --release 3f9ab1c2d4e5
      that release alone, with the shards that it shares with earlier ones
  python -m pipelines.verify --dataset cats --pool --json
      the pool alone; one JSON object a finding

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser(
        prog="python -m pipelines.verify",
        description="Hash everything again: tars, Parquet, indexes against tars member by member, counts, references. Nothing is changed.",
        epilog=_EXAMPLES + EXIT_CODES.replace("a critical gate failed", "something is wrong"),
    )
    parser.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder of the dataset, or its URL")
    parser.add_argument("--release", metavar="NAME", action="append", help="this release (default: all); can be given again")
    parser.add_argument("--pool", action="store_true", help="the pool; with --release both, without it the pool alone")
    parser.add_argument("--threads", metavar="N", type=positive, default=2, help="files that are read at a time")
    parser.add_argument("--json", action="store_true", help="each finding as a JSON object in a line, nothing else on stdout")
    args = parser.parse_args(argv)
    pool = Pool(args.dataset)
    names = [release.name for release in releases(pool.store)]
    if not names and not pool.store.exists("pool/source.json"):
        raise UsageError(f"{args.dataset}: no dataset here; check --dataset")
    for name in args.release or ():
        if name not in names:
            raise UsageError(f"{args.dataset} has no release {name}; there are {', '.join(names) or 'none'}")
    chosen = args.release if args.release else [] if args.pool else None
    progress, found = Progress(), list[Finding]()
    with _shown(progress, sys.stderr):
        for finding in verify(pool, releases=chosen, with_pool=args.pool or not args.release, threads=args.threads, progress=progress):
            found.append(finding)
            if args.json:
                say(json.dumps(finding.as_dict(), sort_keys=True))
    for finding in sorted(found) if not args.json else ():
        say(finding.text())
    told = "nothing is wrong" if not found else f"{len(found):,} finding{'s' if len(found) != 1 else ''}"
    say(f"{told}; {progress.done / 1e6:,.1f} MB of tars read", out=sys.stderr if args.json else sys.stdout)
    return EXIT_GATE if found else EXIT_DONE


@contextmanager
def _shown(progress: Progress, out: TextIO) -> Iterator[None]:
    """Bytes, rate and time left, until the block ends."""
    done, started, tty = threading.Event(), time.monotonic(), out.isatty()

    def loop() -> None:
        while not done.wait(_EVERY_S[tty]):
            rate = progress.done / (time.monotonic() - started)
            left = f", {duration((progress.total - progress.done) / rate)} left" if rate and progress.total > progress.done else ""
            line = f"verify  {progress.done / 1e6:,.0f}/{progress.total / 1e6:,.0f} MB of tars, {rate / 1e6:,.0f} MB/s{left}"
            out.write(f"\r\x1b[K{line}" if tty else f"{line}\n")
            out.flush()

    thread = threading.Thread(target=loop, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=5)
        if tty:
            out.write("\r\x1b[K")


if __name__ == "__main__":
    sys.exit(command(main))
