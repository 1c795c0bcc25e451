"""Builds the full corpus. See `python -m training.corpus --help`."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from training.corpus.build import Summary, build
from training.corpus.sources import SourceError
from training.splits import SPLITS

_EXAMPLES = """examples:
  python -m training.corpus --out pigment-corpus
  python -m training.corpus --out pigment-corpus --sources ~/packages    packages are read from there, and fetched there when absent
  python -m pipelines.ingest --source pigment-corpus                     the main job on it

About 37,000 pairs, 0.4 GB of images; two to twelve minutes on two cores, and 186 MB of packages to fetch the first time (with apt-get and npm).
A build that was stopped goes on with the same command. Licences differ from row to row: columns license and license_url.
"""


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 a package could not be had, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m training.corpus",
        description="Builds the full corpus of openly licensed drawings with captions as a folder source: metadata.parquet and images/.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("pigment-corpus"), help="folder to write (default: %(default)s)")
    parser.add_argument("--sources", type=Path, help="folder of the packages (default: OUT/.sources)")
    parser.add_argument("--processes", type=int, default=2, help="processes that draw (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.processes < 1:
        parser.error(f"--processes is {options.processes}; it must be 1 or more")
    if options.out.exists() and not options.out.is_dir():
        parser.error(f"--out {options.out} is a file; name a folder")
    try:
        summary = build(options.out, sources=options.sources or options.out / ".sources", processes=options.processes, progress=_show)
    except SourceError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    print("\n" + _text(summary, options.out))
    return 0


def _show(done: int, of: int) -> None:
    if (sys.stderr.isatty() and done % 50 == 0) or done % 2500 == 0 or done == of:
        print(f"{done:,} of {of:,} images", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def _text(summary: Summary, out: Path) -> str:
    lines = [f"{'collection':<20}{'pairs':>8}" + "".join(f"{split:>12}" for split in SPLITS) + "   licence"]
    total: Counter[str] = Counter()
    for collection in sorted({key[0] for key in summary.rows}):
        mine = {key: count for key, count in summary.rows.items() if key[0] == collection}
        of_split = Counter({split: sum(count for key, count in mine.items() if key[1] == split) for split in SPLITS})
        licenses = Counter[str]()
        for (_, _, license), count in mine.items():
            licenses[license] += count
        total += of_split
        words = ", ".join(name if len(licenses) == 1 else f"{name} {count:,}" for name, count in licenses.most_common())
        lines.append(f"{collection:<20}{sum(mine.values()):>8,}" + "".join(f"{of_split[split]:>12,}" for split in SPLITS) + f"   {words}")
    lines.append(f"{'all':<20}{total.total():>8,}" + "".join(f"{total[split]:>12,}" for split in SPLITS))
    lines.append(f"\n{summary.korean:,} have a Korean caption too. Images: {summary.image_bytes / 1e6:,.0f} MB.")
    lines.append(f"Left out: {len(summary.skipped):,}" + (":" if summary.skipped else "."))
    for why, count in Counter(why for _, why in summary.skipped).most_common():
        lines.append(f"  {count:>5,}  {why}: " + ", ".join(sorted(name for name, reason in summary.skipped if reason == why)[:20]))
    lines.append(f"\nThe corpus is in {out}: metadata.parquet and images/.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
