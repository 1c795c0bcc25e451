"""Publish: checks a release from its files and writes its manifest, in one put, last. `python -m pipelines.publish --help`."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.options import EXIT_CODES, EXIT_DEFERRED, EXIT_DONE, EXIT_GATE, GATES_HELP, Parser, UsageError
from pipelines.progress import say
from pipelines.run import command
from pipelines.steps.write_shards import generations_after
from quality.block_lists import listed_rows, read_lists
from quality.columns import COLUMN_FUNCTIONS
from quality.columns.license import License
from quality.documents import read_about, write_documents
from quality.gates import GateResults, Outcome, run_gates, suites_with
from quality.gates.run import line_of
from quality.review.settle import counts_of
from schemas.caption_names import version_of_policy
from schemas.captions import CaptionVersion
from schemas.follow_ups import statuses_of
from schemas.line import Generations
from schemas.pool import Pool
from schemas.release import Decided, Release, ReleaseError, releases
from schemas.units import PoolError, number_of

FORMAT = 1  # of the manifest
ALREADY: Final = "already published: no gate was run again"  # nor were --gates, whatever they say

T = TypeVar("T")


class GateFailed(Exception):
    """A critical gate failed: there is no manifest. `results` has every outcome; the message, of at most a screen, begins with the reason."""

    def __init__(self, release: Release, results: GateResults):
        super().__init__(_why_stopped(release, results))
        self.results = results


class DeferredUnits(Exception):
    """Planned units were never committed. `units`: their names and rows."""

    def __init__(self, units: dict[str, int]):
        super().__init__(
            f"{len(units)} units ({sum(units.values()):,} pairs) are deferred: they were never fetched, {min(units)} is the first; run "
            "python -m pipelines.ingest again to fetch them, or give --allow_missing to publish without them"
        )
        self.units = units


class ListedPairs(Exception):
    """Pairs that the release keeps are on a block list now. `count`: how many; which, nobody is told."""

    def __init__(self, release: Release, count: int):
        super().__init__(
            f"{count:,} of the pairs that release {release.name} keeps {'is' if count == 1 else 'are'} on a block list now; run "
            "python -m pipelines.ingest --start_at select again: the release that it makes leaves them out"
        )
        self.count = count


@dataclass(frozen=True)
class Published:
    """manifest: as it stands. adopted: it stood already, made from the same inputs. gates: None when adopted."""

    name: str
    manifest: dict[str, Any]
    adopted: bool
    gates: GateResults | None


def publish(
    pool: Pool,
    release: Release,
    *,
    gates: Callable[[Pool, Release], GateResults] = run_gates,
    allow_missing: bool = False,
    selected_with: str | None = None,
    newest: bool = True,
) -> Published:
    """Publishes a release: all units decided, all shards there, gates passed, then releases/<name>/manifest.json and releases/latest.

    What the gates found goes to releases/<name>/gates.json, whether or not they passed.
    Idempotent: a release that is published and was made from the inputs that run.json names is adopted. What the policy, the target and
    the digest were, run.json says. allow_missing: units that were never committed are counted as deferred in the manifest.
    selected_with: digest of the block lists that this run has decided with just now; where there are others, kept pairs are held against
    them, of a release that is published already too.
    newest: whether it is taken from now on where no release is named.
    Raises ReleaseError (not selected or not sharded to the end, or published from other inputs), ListedPairs, DeferredUnits, GateFailed.
    """
    run = release.run()
    if run is None:
        raise ReleaseError(f"there is no release {release.name} in {pool.store.root}; run python -m pipelines.ingest first")
    standing = release.manifest()
    if standing is not None and standing["digest"] != run["digest"]:
        raise ReleaseError(f"release {release.name} is published and was made from other inputs; give another --release")
    if standing is not None:
        _check_lists(pool, release, selected_with)
        return Published(release.name, standing, True, None)
    planned = pool.planned_units()
    decided = {unit.unit: unit for unit in _footers(release.decided, release)}
    deferred = _deferred(pool, release, planned, decided)
    if deferred and not allow_missing:
        raise DeferredUnits(deferred)
    _check_shards(release, run)
    results = gates(pool, release)
    release.put_gates(results.as_dict())
    if not results.passed:
        raise GateFailed(release, results)
    _check_lists(pool, release, selected_with)
    manifest = make_manifest(pool, release, run, decided=decided, deferred=deferred, gates=results)
    release.put_manifest(manifest, newest=newest)
    return Published(release.name, manifest, False, results)


def _check_lists(pool: Pool, release: Release, selected_with: str | None) -> None:
    """Raises ListedPairs, BlockListError."""
    lists = read_lists(pool.store)
    if not lists or lists.digest == selected_with:
        return
    count = 0
    for unit in _footers(release.decided, release):
        kept = np.asarray(pc.fill_null(pc.equal(release.read_decisions(unit.unit, ["verdict"])["verdict"], "keep"), False))
        count += int(listed_rows(pool, unit.unit, lists, kept).sum())
    if count:
        raise ListedPairs(release, count)


_SCREEN = 80, 24  # columns and lines: the least that a terminal has
_LINE = 2 * _SCREEN[0] - 4  # letters of a reason: two lines


def _why_stopped(release: Release, results: GateResults) -> str:
    """The reason first, then the other failures, then where all is; together they fit on a screen."""
    lines = [f"Release {release.name} is not published. {_cut(line_of(results.failed[0]))}"]
    others = results.failed[1:]
    shown = (_SCREEN[1] - 11) // 2
    lines += [f"  {_cut(line_of(outcome))}" for outcome in others[:shown]]
    if len(others) > shown:
        lines.append(f"  and {len(others) - shown} more")
    held = sum(outcome.passed is True for outcome in results.outcomes)
    lines.append(f"{held} of {len(results.outcomes)} rules hold; every outcome: {release.store.path_of(f'{release.path}/gates.json')}")
    lines.append(
        "There is no manifest. Mend what is named and run the same command again; --gates FILE.py gives a rule another bound or severity"
    )
    lines.append(f"to see it: python -m quality.report --dataset {release.store.root} --release {release.name}")
    return "\n".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= _LINE else text[: _LINE - 3] + "..."


def _footers(read: Callable[[], list[T]], release: Release) -> list[T]:
    """What `read` returns. A file without a whole footer is damaged, which is what gates are for: raises GateFailed."""
    try:
        return read()
    except (pa.ArrowInvalid, PoolError) as error:
        message = f"a Parquet file of {release.path} is damaged: {error}"
        outcome = Outcome("schema", "parquet files have footers", "critical", False, 1, message)
        results = GateResults((outcome,))
        release.put_gates(results.as_dict())
        raise GateFailed(release, results) from error


def _deferred(pool: Pool, release: Release, planned: dict[str, int], decided: dict[str, Decided]) -> dict[str, int]:
    """Planned units that are not committed. Raises ReleaseError when decisions and pool do not cover the same units."""
    committed = pool.committed()
    undecided = sorted(committed - set(decided))
    if undecided:
        raise ReleaseError(
            f"release {release.name} has no decisions about {len(undecided)} fetched units, {undecided[0]} is the first; "
            "run python -m pipelines.ingest --start_at select"
        )
    strange = sorted(set(decided) - committed | {unit for unit in decided if not number_of(unit)} - set(planned))
    if strange:
        raise ReleaseError(
            f"release {release.name} decides about {len(strange)} units that the pool does not have, {strange[0]} is the first"
        )
    return {unit: rows for unit, rows in planned.items() if unit not in committed}


def _check_shards(release: Release, run: dict[str, Any]) -> None:
    """Raises ReleaseError when sharding has not begun or not ended."""
    found = {shard.shard for shard in _footers(release.shards, release)}
    shards = run.get("shards")
    missing = sorted(set(range(max(found, default=0) + 1 if shards is None else shards)) - found)
    if missing:
        raise ReleaseError(
            f"release {release.name} lacks {len(missing)} shards, {release.shard_path(missing[0], 'parquet')} is the first; "
            "run python -m pipelines.ingest --start_at shard"
        )


def make_manifest(
    pool: Pool, release: Release, run: dict[str, Any], *, decided: dict[str, Decided], deferred: dict[str, int], gates: GateResults
) -> dict[str, Any]:
    """What a release is, and what it was made from. Holds no time, no path and no host: the same inputs give the same bytes."""
    captions = version_of_policy(run["policy"])
    statuses, reasons, cuts, units = statuses_of(pool, decided), Counter[str](), dict[str, float](), dict[str, Any]()
    passes = [pass_ for pass_ in pool.passes_for(captions) if pass_.name in run["passes"]]
    generations = generations_of_run(release, run)
    for name, unit in sorted(decided.items()):
        commit = pool.raw_commit(name)
        assert commit is not None  # _deferred has checked
        reasons.update(unit.reasons)
        cuts.update(unit.cuts)
        scores = {pass_.name: score.content_digest for pass_ in passes if (score := pool.score_commit(pass_.name, name)) is not None}
        counts = {verdict: getattr(unit, verdict) for verdict in ("rows", "keep", "review", "drop", "retried")}
        units[name] = {
            **counts, "raw": commit.content_digest, "tar": commit.tar_sha256, "scores": scores, "decisions": unit.content_digest,
            "generation": generations.generation(name),
        }  # fmt: skip
        if captions is not None and (given := CaptionVersion(pool, captions).commit_of(name)) is not None:
            units[name]["captions"] = given.content_digest
    counts = {verdict: sum(getattr(unit, verdict) for unit in decided.values()) for verdict in ("keep", "review", "drop")}
    missing = sum(deferred.values())
    return {
        "format": FORMAT,
        "pigment": version("pigment"),
        "release": release.name,
        "parent": run.get("parent"),
        "digest": run["digest"],
        "counts": {"rows": sum(unit.rows - unit.retried for unit in decided.values()) + missing, **counts, "deferred": missing},
        "funnel": {"statuses": dict(sorted(statuses.items())), "reasons": dict(sorted(reasons.items())), "cuts": cuts},
        **({} if captions is None else {"captions": {"version": captions, "origin": CaptionVersion(pool, captions).origin()}}),
        "policy": run["policy"],
        "policy_digest": run.get("policy_digest"),
        "reviews": _reviews(run, reasons),
        "scorers": [
            {"pass": pass_.name, **asdict(scorer), "columns": list(scorer.columns)}
            | ({"captions": pass_.captions} if pass_.captions else {})
            for pass_ in passes
            for scorer in pass_.scorers
        ],
        "licenses": _licenses(release),
        "engines": pool.settings("engines"),
        "evidence": evidence_of(pool),
        "column_functions": {function.name: function.version for function in COLUMN_FUNCTIONS.values()},
        "target": run["target"],
        "generations": generations.told(),
        "shards": [release.shard_entry(shard) for shard in release.shards()],
        "units": units,
        "deferred_units": deferred,
        "gates": [asdict(outcome) for outcome in gates.outcomes],
    }


def generations_of_run(release: Release, run: Mapping[str, Any]) -> Generations:
    """The generations that run.json tells. inherits: the release whose generations these go on with; None for the first of a line.

    Raises ReleaseError when that release is not published any more.
    """
    told = run.get("generations")
    counts = (run.get("shards") or len(release.shards()),) if told is None else tuple(generation["shards"] for generation in told)
    if run.get("generation_of") is not None:  # of a release that stands for one that is gone
        return Generations(counts, run["generation_of"])
    if run.get("inherits") is None:
        return Generations(counts)
    parent = Release(release.store, run["inherits"])
    return Generations(counts, generations_after(parent, 0).of_unit)


def _reviews(run: dict[str, Any], reasons: Mapping[str, int]) -> dict[str, Any] | None:
    """The digest of what people decided, how much that is, and how many pairs they accepted and rejected; None where nobody decided."""
    told = run.get("reviews")
    return None if told is None else {**told, **counts_of(reasons)}


def evidence_of(pool: Pool) -> dict[str, Any]:
    """Whether the bytes that came are kept, so that what they say of their origin can be read again; else as what fetching has read it."""
    fetch = (pool.settings("source") or {}).get("fetch") or {}
    return {"can_be_read_again": fetch.get("store") != "resized", "read_when_fetched_as": fetch.get("evidence")}


def _licenses(release: Release) -> dict[str, int]:
    """Kept pairs by licence class."""
    counts = Counter[str]()
    for shard in release.shards():
        stated = release.read_index(shard.shard, License.needs)
        classes = License().compute(stated, ["license.class"])["license.class"]
        counts.update({row["values"]: row["counts"] for row in classes.value_counts().to_pylist()})
    return dict(sorted(counts.items()))


# ---- the command

_EXAMPLES = """examples:
  python -m pipelines.publish --dataset cats
      the release that is written and not yet published
  python -m pipelines.publish --dataset cats --release 3f9ab1c2d4e5 --allow_missing
      although some units were never fetched; the manifest counts their rows as deferred
  python -m pipelines.publish --dataset cats --gates our_gates.py
      with rules of your own, or another bound or severity for ours: see python -m quality.gates

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what pipelines.run.command turns into messages."""
    args = _parser().parse_args(argv)
    pool = Pool(args.dataset)
    if pool.store.local is not None and not pool.store.local.is_dir():
        raise UsageError(f"{args.dataset} is no dataset; give the folder or URL that python -m pipelines.ingest wrote as --dataset")
    gates = partial(run_gates, suites=suites_with(args.gates)) if args.gates else run_gates
    about = read_about(pool.store)
    release = Release(pool.store, args.release or _unpublished(pool))
    try:
        published = publish(pool, release, gates=gates, allow_missing=args.allow_missing)
    except DeferredUnits as error:
        say(str(error), out=sys.stderr)
        return EXIT_DEFERRED
    except ListedPairs as error:
        say(str(error), out=sys.stderr)
        return EXIT_GATE
    except GateFailed as error:
        say(str(error), out=sys.stderr)
        return EXIT_GATE
    write_documents(pool, release, about)
    say(_summary(pool, release, published))
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m pipelines.publish",
        description="Check a release from its files and write its manifest. A published release is left as it is.",
        epilog=_EXAMPLES + EXIT_CODES,
    )
    p.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder or URL of the dataset")
    p.add_argument("--release", metavar="NAME", help="name of the release (default: the one that is not yet published)")
    p.add_argument("--allow_missing", action="store_true", help="publish although units were deferred; their rows are counted so")
    p.add_argument("--gates", metavar="FILE.py", action="append", default=[], help=GATES_HELP)
    return p


def _unpublished(pool: Pool) -> str:
    names = [release.name for release in releases(pool.store)]
    waiting = [release.name for release in releases(pool.store) if release.notice() is None and release.manifest() is None]
    if len(waiting) != 1:
        there = f"; there are {', '.join(waiting)}" if waiting else "; all are published" if names else "; there is none"
        raise UsageError(f"{pool.store.root} has {len(waiting)} releases to publish{there}: give one as --release")
    return waiting[0]


def _summary(pool: Pool, release: Release, published: Published) -> str:
    counts = published.manifest["counts"]
    place = pool.store.path_of(f"{release.path}/manifest.json")
    told = ALREADY if published.gates is None else f"published; {published.gates.text()}"
    figures = ", ".join(f"{counts[name]:,} {name}" for name in ("keep", "review", "drop", "deferred"))
    documents = pool.store.path_of(f"{release.path}/README.md")
    return (
        f"Release {release.name}: {told}\n{counts['rows']:,} pairs = {figures}\nmanifest: {place}\ndocuments: {documents} and what it names"
    )


if __name__ == "__main__":
    sys.exit(command(main))
