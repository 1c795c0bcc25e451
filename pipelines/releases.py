"""The releases of a dataset, newest first, or what two of them differ in. `python -m pipelines.releases --help`."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.options import EXIT_CODES, EXIT_DONE, Parser, UsageError
from pipelines.progress import say
from pipelines.release_diff import diff_of, lines_of_diff
from pipelines.run import command
from schemas.pool import Pool
from schemas.release import Release, latest

_EXAMPLES = """examples:
  python -m pipelines.releases --dataset cats
  python -m pipelines.releases --dataset cats --diff 3f9ab1c2d4e5 8a01bb27c0de
      which pairs entered, left or changed sides from the first to the second, and why; which shards both have; what their policies differ in

"""


@dataclass(frozen=True)
class Listed:
    """A release as the list tells it. state: published, not published, or withdrawn (a notice stands in its place: `note`). written: when it was
    last written to, seconds since 1970, by the clock of whoever wrote. bytes_own, bytes_referenced: of shards in its folder, and in others'."""

    name: str
    state: str
    latest: bool
    written: float | None
    policy: str | None
    parent: str | None
    counts: dict[str, int]
    shards_own: int
    shards_referenced: int
    bytes_own: int
    bytes_referenced: int
    note: str = ""


def listed(pool: Pool) -> list[Listed]:
    """All releases, those written last first."""
    names = sorted({path.split("/")[1] for path, _ in pool.store.list("releases") if path.count("/") > 1})
    newest = latest(pool.store)
    found = [_listed(Release(pool.store, name), name == newest) for name in names]
    return sorted(found, key=lambda one: (-(one.written or 0), one.name))


def _listed(release: Release, is_latest: bool) -> Listed:
    notice, run = release.notice(), release.run() or {}
    manifest = None if notice is not None else release.manifest()
    entries = [] if notice is not None else [asdict(shard) for shard in release.shards()] if manifest is None else manifest["shards"]
    own = [entry for entry in entries if release.holder(entry["shard"]) == release.name]
    others = [entry for entry in entries if release.holder(entry["shard"]) != release.name]
    note = "" if notice is None else f"superseded by {notice.get('superseded_by')}: {notice.get('why')}"
    return Listed(
        release.name,
        "withdrawn" if notice is not None else "not published" if manifest is None else "published",
        is_latest,
        run.get("heartbeat", {}).get("alive"),
        run.get("policy", {}).get("name"),
        run.get("parent"),
        {} if manifest is None else dict(manifest["counts"]),
        len(own),
        len(others),
        sum(entry["bytes"] for entry in own),
        sum(entry["bytes"] for entry in others),
        note,
    )


def lines_of(releases: Sequence[Listed]) -> list[str]:
    """A line for each, and one of what its shards take."""
    lines = list[str]()
    for one in releases:
        written = "?" if one.written is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(one.written))
        state = one.state + (", latest" if one.latest else "")
        lines.append(f"{one.name:<14}{written:<18}{one.policy or '?':<14}{state}" + (f", parent {one.parent}" if one.parent else ""))
        told = ", ".join(f"{one.counts[name]:,} {name}" for name in ("keep", "review", "drop", "deferred") if name in one.counts)
        shards = f"{one.shards_own} shards, {one.bytes_own / 1e6:,.1f} MB"
        if one.shards_referenced:
            shards += f", and {one.shards_referenced} of earlier releases, {one.bytes_referenced / 1e6:,.1f} MB"
        lines.append(f"  {one.note or '; '.join(part for part in (told, shards) if part)}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser(
        prog="python -m pipelines.releases",
        description="The releases of a dataset, or what two of them differ in. Reads files alone; nothing is changed.",
        epilog=_EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder of the dataset, or its URL")
    parser.add_argument("--diff", nargs=2, metavar=("A", "B"), help="two releases: what changed from A to B")
    parser.add_argument("--uids", action="store_true", help="with --diff: the uid of every pair that changed, with its reasons")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else there")
    args = parser.parse_args(argv)
    if args.uids and args.diff is None:
        raise UsageError("--uids tells which pairs changed: add --diff A B")
    pool = Pool(args.dataset)
    releases = listed(pool)
    if not releases:
        raise UsageError(f"{args.dataset} has no release; run python -m pipelines.ingest --dataset {args.dataset}")
    if args.diff is None:
        told: Any = {"releases": [asdict(one) for one in releases]}
        say(json.dumps(told, sort_keys=True) if args.json else "\n".join(lines_of(releases)))
        return EXIT_DONE
    for name in args.diff:
        if name not in {one.name for one in releases if one.state == "published"}:
            published = ", ".join(one.name for one in releases if one.state == "published")
            raise UsageError(f"{args.dataset} has no published release {name}; there are {published or 'none'}")
    before, after = (Release(pool.store, name) for name in args.diff)
    diff = diff_of(before, after, uids=args.uids)
    say(json.dumps(diff.as_dict(), sort_keys=True) if args.json else "\n".join(lines_of_diff(diff)))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(command(main))
