"""What happened to a pair, and what would have kept it. `python -m pipelines.explain --help`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.explain_optouts import mining_lines
from pipelines.explain_reviews import before_lines, people_lines
from pipelines.options import EXIT_CODES, EXIT_DONE, Parser, UsageError
from pipelines.progress import say
from pipelines.run import command
from quality.block_lists import LISTED, BlockLists, listed_rows, read_lists
from quality.rules import CRASHED, DUPLICATES, UNDECODABLE, judge
from schemas.caption_names import SOURCES
from schemas.captions import versions
from schemas.follow_ups import follow_up
from schemas.policy import Policy, Rule, parse_stored_policy
from schemas.pool import Pool
from schemas.reasons import REJECTED, UNCAPTIONED, reason_text
from schemas.release import Release, latest
from schemas.units import base_of, number_of

_EXAMPLES = """examples:
  python -m pipelines.explain --dataset pigment-sample --uid 3f2a…
  python -m pipelines.explain --dataset cats --url http://clips.example/cat.png --release strict

"""


@dataclass(frozen=True)
class Found:
    """A pair in the ledger: its unit, its row there, its raw columns, and the row of decisions about it, if there is one.

    listed: whether it is on a block list, now or when it was fetched or decided about. earlier: where it stood before it was asked for again,
    the oldest first.
    """

    unit: str
    row: int
    raw: dict[str, Any]
    decided: pa.Table | None
    listed: bool
    earlier: "tuple[Found, ...]" = ()

    @property
    def places(self) -> "list[Found]":
        """Where the pair stands and stood, the newest first."""
        return [self, *reversed(self.earlier)]


def find(pool: Pool, release: Release | None, *, uid: str | None, url: str | None) -> Iterator[Found]:
    """Every pair with this uid (or a prefix of 8 digits or more) or url, in the pool's order. Raises BlockListError."""
    lists = read_lists(pool.store)
    for base, units in groupby(sorted(pool.committed(), key=lambda unit: (base_of(unit), number_of(unit))), base_of):
        places = {unit: list(follow_up(pool, unit).rows) if unit != base else None for unit in units}  # row there -> row of the base
        hits = {row if rows is None else rows[row] for unit, rows in places.items() for row in _hits(pool, unit, uid=uid, url=url)}
        for hit in sorted(hits):
            held = {unit: hit if rows is None else rows.index(hit) for unit, rows in places.items() if rows is None or hit in rows}
            *earlier, newest = (_found(pool, release, lists, unit, row) for unit, row in held.items())
            yield replace(newest, listed=any(each.listed for each in (newest, *earlier)), earlier=tuple(earlier))


def _hits(pool: Pool, unit: str, *, uid: str | None, url: str | None) -> list[int]:
    """The rows of a unit with this uid or url."""
    keys = pool.read_raw(unit, ["uid", "url", "final_url", "file_name"])
    if uid is not None:
        hit = pc.starts_with(keys["uid"], uid)
    else:
        hits = [pc.fill_null(pc.equal(keys[name], url), False) for name in ("url", "final_url", "file_name")]
        hit = pc.or_(pc.or_(hits[0], hits[1]), hits[2])
    return [row for row, yes in enumerate(hit.to_pylist()) if yes]


def _found(pool: Pool, release: Release | None, lists: BlockLists, unit: str, row: int) -> Found:
    table = pool.read_raw(unit)
    [raw] = table.slice(row, 1).to_pylist()
    decisions = _decisions(release, unit)
    decided = None if decisions is None else decisions.slice(row, 1)
    told = (raw["error_message"], *([] if decided is None else decided["reasons"][0].as_py()))
    return Found(unit, row, raw, decided, LISTED in told or _is_listed(pool, lists, unit, row, table.num_rows))


def _decisions(release: Release | None, unit: str) -> pa.Table | None:
    """None for a unit that was fetched after the release was made."""
    try:
        return None if release is None else release.read_decisions(unit)
    except FileNotFoundError:
        return None


def _is_listed(pool: Pool, lists: BlockLists, unit: str, row: int, rows: int) -> bool:
    """Whether a stored pair is on a list by its columns: it may have been fetched before it was listed."""
    return bool(listed_rows(pool, unit, lists, np.arange(rows) == row)[row])


def lines_of(pool: Pool, release: Release | None, found: Found, policy: Policy | None) -> list[str]:
    """The pair's story: where it came from, what fetching said, each value beside its bound, what would have kept it."""
    raw = found.raw
    file = pool.file(found.unit.rpartition("-")[0])
    if found.listed:
        return [f"unit {found.unit}, row {found.row}: {reason_text(LISTED)}; nothing else is told of it"]
    lines = [
        f"uid        {raw['uid']}",
        f"caption    {raw['caption'] if raw['caption'] is not None else '(none)'}",
        *_versions(pool, found),
        f"image      {raw['url'] or raw['file_name'] or '(none)'}",
        f"source     {file.path if file else '?'}, line {raw['source_line']}; unit {found.unit}, row {found.row}",
        f"licence    {raw['license'] or raw['license_url'] or 'none stated'}" + (f", by {raw['creator']}" if raw["creator"] else ""),
        f"fetch      {raw['status']}" + (f": {raw['error_message']}" if raw["error_message"] else "")
        + (f", {raw['width']}x{raw['height']} {raw['format']}, {raw['size']:,} bytes" if raw["width"] else ""),
    ]  # fmt: skip
    lines += mining_lines(pool, found.unit, found.row, raw)
    lines += [
        f"  earlier  {each.raw['status']}: {each.raw['error_message']}; unit {each.unit}, row {each.row}" for each in found.places[1:]
    ]
    judged = next((each for each in found.places if each.decided is not None), found)
    if judged.decided is None or release is None or policy is None:
        by_whom = "no release has decided" if release is None else f"release {release.name} has not decided"
        return [*lines, f"verdict    none yet: {by_whom} about it"]
    [decision] = judged.decided.to_pylist()
    then = "" if judged is found else ", before the pair was asked for again"
    captions = f", captions {policy.caption_version}" if policy.caption_version else ""
    lines.append(f"verdict    {decision['verdict']}  (release {release.name}, policy {policy.name}{then}{captions})")
    lines += [f"  because  {reason}: {reason_text(reason)}" for reason in decision["reasons"]]
    if decision["duplicate_of"]:
        lines.append(f"  better   {decision['duplicate_of']}  (explain that uid to see it)")
    lines += people_lines(release, judged.unit, judged.decided, policy)
    lines += before_lines(release, [(each.unit, each.row) for each in found.places], judged.decided)
    if judged.raw["status"] == "success":
        lines += _bounds(judged.decided, policy)
    return [*lines, *_would_keep(decision, policy)]


def _versions(pool: Pool, found: Found) -> list[str]:
    """The pair's captions of the pool's versions, one a line."""
    told = []
    for version in versions(pool):
        commit = version.commit_of(found.unit)
        if commit is not None:
            caption = version.read(found.unit)[SOURCES][found.row].as_py()
            told.append(f"  @{version.name:<8} {caption if caption is not None else '(none)'}")
    return told


def _bounds(decided: pa.Table, policy: Policy) -> list[str]:
    """Each rule's bound beside the value that the decision looked at; scores that the pool got since do not matter."""
    reasons = decided["reasons"][0].as_py()
    lines = ["values"]
    for rule in policy.rules:
        if rule.column not in decided.column_names:  # status and error_message: told above
            continue
        value = decided[rule.column][0].as_py()
        # A list's values are not at hand any more: the decision says whether the pair was on it.
        missing, violates = (value is None, False) if rule.lists else (bool(each[0]) for each in judge(rule, decided, None, 0))
        state = "not measured" if missing else "outside" if violates or rule.reason in reasons else "ok"
        shown = "not measured" if value is None else f"{value:.4g}" if isinstance(value, float) else _text(value)
        lines.append(f"  {rule.column:<24}{shown:<16}{rule.bound_text():<27} {state}")
    return lines


def _text(value: Any) -> str:
    return value.hex()[:14] + "…" if isinstance(value, bytes) else str(value)


def _would_keep(decision: dict[str, Any], policy: Policy) -> list[str]:
    if decision["verdict"] == "keep":
        return []
    return [
        "would have kept it",
        *(f"  {what}" for what in dict.fromkeys(_remedy(reason, decision, policy) for reason in decision["reasons"])),
    ]


def _remedy(reason: str, decision: dict[str, Any], policy: Policy) -> str:
    if reason in DUPLICATES:
        return f"that {decision['duplicate_of'] or 'a pair that was removed since'} were not in the pool, or ranked below it"
    if reason in (UNDECODABLE, CRASHED):
        return "an image file that decodes"
    if reason == "optout:refused":
        return "a site and a file that allow mining"
    if reason == UNCAPTIONED:
        return f"a caption of it in the version {policy.caption_version}, or a policy with another one"
    if reason == REJECTED:
        return "people who decide otherwise"
    rules = [rule for rule in policy.rules if reason in (rule.reason, rule.missing_reason)]
    if not rules:
        return f"a successful fetch ({decision['error'] or reason})"
    return " and ".join(_wanted(rule, decision.get(rule.column), reason) for rule in rules)


def _wanted(rule: Rule, value: Any, reason: str) -> str:
    if reason == rule.missing_reason and value is None:
        return f"a value of {rule.column}"
    loosened = _loosened(rule, value)
    return f"{rule.column} {rule.bound_text()}" + (f", or a policy with {loosened}" if loosened else "")


def _loosened(rule: Rule, value: Any) -> str | None:
    if rule.min is not None and isinstance(value, int | float) and value < rule.min:
        return f"min = {value:.4g}"
    if rule.max is not None and isinstance(value, int | float) and value > rule.max:
        return f"max = {value:.4g}"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m pipelines.explain",
        description="What happened to a pair: each value beside its bound, and what would have kept it.",
        epilog=_EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder or URL of the dataset")
    parser.add_argument("--uid", metavar="UID", help="identity of the pair, or its first digits")
    parser.add_argument("--url", metavar="URL", help="its url, or its file name for a folder")
    parser.add_argument("--release", metavar="NAME", help="default: the newest")
    args = parser.parse_args(argv)
    if (args.uid is None) == (args.url is None):
        raise UsageError("give --uid or --url (one of them)")
    if args.uid is not None and len(args.uid) < 8:
        raise UsageError(f"--uid {args.uid}: give at least 8 digits")
    pool = Pool(args.dataset)
    if pool.settings("source") is None:
        raise UsageError(f"{args.dataset}: no dataset here; check --dataset")
    name = args.release or latest(pool.store)
    release = None if name is None else Release(pool.store, name)
    if args.release is not None and release is not None and release.run() is None:
        raise UsageError(f"{args.dataset} has no release {name}")
    if release is not None:
        release.manifest()  # raises where pairs were removed since
    run = None if release is None else release.run()
    policy = None if run is None else parse_stored_policy(run["policy"])
    if release is None and (begun := sorted({path.split("/")[1] for path, _ in pool.store.list("releases") if path.count("/") > 1})):
        say(f"no release of {args.dataset} is published; --release {begun[0]} tells what an unpublished one decided\n")
    stories = [lines_of(pool, release, found, policy) for found in find(pool, release, uid=args.uid, url=args.url)]
    if not stories:
        raise UsageError(f"{args.dataset} has no pair with {'uid ' + args.uid if args.uid else 'url ' + args.url}")
    say("\n\n".join("\n".join(story) for story in stories))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(command(main))
