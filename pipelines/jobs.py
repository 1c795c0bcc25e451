"""From flags to jobs: opens the pool and the release, checks that they fit what was asked, and says what each graph will do."""

import argparse
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.fetch.settings import FetchSettings
from pipelines.options import UsageError
from pipelines.sources.formats import SourceError
from pipelines.sources.listing import Entry, list_source
from pipelines.sources.rows import RowReader
from pipelines.steps.write_shards import shard_count
from quality.block_lists import read_lists
from quality.column_plan import ColumnPlan, catalogue
from quality.columns import COLUMN_FUNCTIONS
from quality.engines import choose_engines
from quality.images.convert import Target
from quality.rules import Rules, find_policy
from quality.scorers import PACKAGED, make_scorers, towers_of
from quality.scorers.protocol import Scorer, in_order, info_of
from quality.selection import plan_selection
from schemas.digest import digest_of_json
from schemas.pool import Pass, Pool, ScorerInfo
from schemas.release import Release, ReleaseError, heartbeat, is_alive, latest

SAMPLE = Path(__file__).parent.parent / "tests" / "data" / "sample"
_FLAGS_OF_SCORERS = {
    "nsfw_head": ("nsfw",), "person_names": ("deepfake",), "deepfake_probe": ("deepfake",), "c2pa_trust": ("evidence", "deepfake"),
}  # fmt: skip
_BEAT_S = 20.0
_BYTES_A_PIXEL = 0.4  # of photographs as JPEG of quality 95, 4:2:0; only the number of shards hangs on it
RESIZED_EVIDENCE = (
    "note: images are stored resized, without their metadata, C2PA manifests and watermarks: the scorer evidence finds none of them, "
    "and the deepfake band rests on faces and captions; --store original (a new --dataset) keeps them"
)
_REVISION = 2  # of what select and shard do with equal inputs; part of a release's digest


@dataclass(frozen=True)
class PoolJob:
    """What the pool's graph does. entries: source files; empty when fetching is left out. reads: stored scorers whose columns `scorers` need.
    lists: the block lists' digest, or None."""

    pool: Pool
    entries: Sequence[Entry]
    unit_size: int
    rows: RowReader
    fetch: FetchSettings
    fetch_workers: int | None
    scorers: Sequence[Scorer]
    reads: Sequence[ScorerInfo]
    pass_: Pass
    fetches: bool
    scores: bool
    lists: str | None

    @property
    def runs(self) -> bool:
        return self.fetches or self.scores

    @property
    def committed(self) -> list[str]:
        return sorted(self.pool.committed())

    @property
    def step(self) -> str:
        """What the pool's graph does, as run.json names it."""
        return " and ".join(name for name, does in (("fetch", self.fetches), ("score", self.scores)) if does)

    def rows_done(self) -> int:
        """Rows of the units that are through, scored where this job scores."""
        through = self.pool.scored(self.pass_.name) if self.scores else self.pool.committed()
        return sum(rows for unit, rows in self.pool.planned_units().items() if unit in through)

    def deferred(self) -> dict[str, int]:
        """Rows of planned units that are not committed."""
        committed = self.pool.committed()
        return {unit: rows for unit, rows in self.pool.planned_units().items() if unit not in committed}

    def headline(self) -> str:
        """What is about to happen, in one line; another where scores cannot mean what they say."""
        files = f"{len(self.entries)} source file{'s' if len(self.entries) != 1 else ''}, units of {self.unit_size:,} rows"
        what = files if self.fetches else f"{len(self.committed):,} units"
        scorers = (
            ", ".join(f"{scorer.name} ({scorer.version.partition('@')[0]})" for scorer in self.scorers) if self.scores else "no scoring"
        )
        told = f"{Path(self.pool.store.root).name}: {what}; {scorers}"
        if "evidence" in {scorer.name for scorer in self.scorers} and self._resized():
            told += "\n" + RESIZED_EVIDENCE
        return told

    def _resized(self) -> bool:
        fixed = self.pool.settings("source")
        return fixed is not None and fixed["fetch"]["store"] == "resized"


def open_pool_job(args: argparse.Namespace) -> PoolJob:
    """Checks flags against what the first run fixed, and fixes it on the first. Writes nothing before every check has passed."""
    lists = read_lists().digest
    pool = Pool(args.dataset)
    fetches, scores = args.start_at == "fetch", args.start_at in ("fetch", "score") and args.stop_after != "fetch"
    fixed = pool.settings("source")
    if fixed is None and not fetches:
        raise UsageError(f"{args.dataset}: no dataset here; start without --start_at, or check --dataset")
    entries, source = _source_of(args, fixed) if fetches else ([], fixed or {})
    images = any(entry.images for entry in entries)
    if images and any(not entry.images for entry in entries):
        raise UsageError("the source mixes url lists and file lists; ingest them as two sources, the second with --add_source")
    try:
        fetch = _fetch_settings(args)
    except ValueError as error:
        raise UsageError(str(error)) from error
    wanted = {"fetch": fetch.identity(), **source}
    if fetches:
        _check_fixed(args, fixed, wanted)
    policy = find_policy(args.policy)  # a policy that cannot be read is told before hours of fetching
    Rules(policy)
    scorers, reads, pass_, engines = _scorers_of(args, pool) if scores else ([], [], Pass("none", ()), {})
    if fetches:
        if fixed is None:
            pool.adopt_settings("source", wanted)
        elif fixed != wanted:
            pool.replace_settings("source", wanted)
    if scores:
        if engines != pool.settings("engines"):
            pool.replace_settings("engines", engines)
        pool.put_pass(pass_)
    return PoolJob(
        pool, entries, source.get("unit_size", 0), RowReader(pool, fetch.identity()), fetch, args.fetch_workers or args.workers,
        scorers, reads, pass_, fetches, scores, lists,
    )  # fmt: skip


def plan_source(args: argparse.Namespace, pool: Pool) -> tuple[list[Entry], dict[str, Any]]:
    """The entries that a run with these flags would read, and what it would fix. Raises UsageError, SourceError."""
    return _source_of(args, pool.settings("source"))


def _source_of(args: argparse.Namespace, fixed: dict[str, Any] | None) -> tuple[list[Entry], dict[str, Any]]:
    """The entries to read, and the part of pool/source.json that says so. Without --source: all that the dataset is made from."""
    sources = [dict(known) for known in fixed["sources"]] if fixed else []
    given = args.source if args.source is not None or sources else _packaged_sample()
    if given is not None:
        spec = os.path.abspath(given)
        known = next((known for known in sources if known["source"] == spec), None)
        if known is None:
            known = _new_source(args, spec, sources)
            sources.append(known)
        _check_same(args, known)
        reading = [known]
    else:
        reading = sources
    entries = [
        entry for known in reading for entry in list_source(known["source"], known["columns"], limit=known["limit"], sample=known["sample"])
    ]
    return entries, {"sources": sources, "unit_size": args.unit_size or (fixed["unit_size"] if fixed else entries[0].default_unit_size)}


def _packaged_sample() -> str:
    if not SAMPLE.is_dir():
        raise SourceError(f"no --source, and the packaged sample is not at {SAMPLE}; give --source")
    return str(SAMPLE)


def _new_source(args: argparse.Namespace, spec: str, sources: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if sources and not args.add_source:
        raise UsageError(
            f"{args.dataset} is made from {', '.join(known['source'] for known in sources)}, not from {spec}; "
            "add it with --add_source, or give another --dataset"
        )
    return {"source": spec, "columns": args.columns or {}, "limit": args.limit, "sample": args.sample}


def _check_same(args: argparse.Namespace, known: dict[str, Any]) -> None:
    for flag in ("columns", "limit", "sample"):
        given = getattr(args, flag)
        if given is not None and given != known[flag]:
            raise UsageError(
                f"{args.dataset} reads {known['source']} with --{flag} {known[flag] or '(not given)'}, not {given}; "
                "leave the flag out, or give another --dataset"
            )


def _check_fixed(args: argparse.Namespace, fixed: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
    if fixed is None:
        return
    if fixed["unit_size"] != wanted["unit_size"]:
        raise UsageError(
            f"{args.dataset} was begun with --unit_size {fixed['unit_size']}, not {wanted['unit_size']}; "
            "leave the flag out, or give another --dataset"
        )
    for name, value in wanted["fetch"].items():
        if fixed["fetch"].get(name) != value:
            raise UsageError(
                f"{args.dataset} was begun with {name} = {fixed['fetch'].get(name)}, not {value}; "
                "a pool is fetched in one way: give another --dataset"
            )


def _fetch_settings(args: argparse.Namespace) -> FetchSettings:
    resized = args.store == "resized"
    return FetchSettings(
        store=args.store,
        target=Target(resize="keep_ratio_largest", size=args.store_size, format="jpeg", quality=args.image_quality) if resized else None,
        max_bytes=args.max_image_bytes,
        connect_timeout_s=args.connect_timeout,
        image_timeout_s=args.image_timeout,
        unit_timeout_s=args.unit_timeout,
        retries=args.retries,
        connections=args.connections,
        connections_per_host=args.connections_per_host,
        rate_per_host=args.rate_per_host,
        user_agent=args.user_agent,
        allow_private_hosts=args.allow_private_hosts,
        host_map=None if args.host_map is None else os.path.abspath(args.host_map),
        units_ahead=args.units_ahead,
    )


def _scorers_of(args: argparse.Namespace, pool: Pool) -> tuple[list[Scorer], list[ScorerInfo], Pass, dict[str, str]]:
    """The scorers to run, the stored ones whose columns they need, the pass they make, and every tower's engine.

    A pass of the pool that has just these goes on; else a new one is made of those that no pass has.
    """
    names = [name.strip() for name in args.scorers.split(",") if name.strip()] + args.scorer
    if (wrong := next((spec for spec in args.scorer if ":" not in spec), None)) is not None:
        raise UsageError(f"--scorer {wrong}: write package.module:Class; packaged scorers are named by --scorers")
    for flag, readers in _FLAGS_OF_SCORERS.items():
        if getattr(args, flag) is not None and not {*readers} & {*names}:
            raise UsageError(f"--{flag} is read by {' and '.join(readers)}, and --scorers leaves that out; add it, or leave --{flag} out")
    engines = dict(pool.settings("engines") or {})
    towers = [tower for tower in towers_of(_made(args, names, {})) if tower.name not in engines]
    if towers:
        engines |= choose_engines(towers, engine=None if args.engine == "auto" else args.engine)
    if args.engine != "auto" and not towers and args.engine not in engines.values():
        used = ", ".join(sorted(set(engines.values())))
        raise UsageError(f"{args.dataset} is scored with {used}; an engine is fixed once a pool: leave --engine out")
    scorers = _made(args, names, engines)
    stored = [scorer for pass_ in pool.passes() for scorer in pass_.scorers]
    for pass_ in pool.passes():
        if {info_of(scorer) for scorer in scorers} == set(pass_.scorers):
            ordered = sorted(scorers, key=lambda scorer: pass_.scorers.index(info_of(scorer)))
            return ordered, _read_by(args, ordered, scorers, stored, engines), pass_, engines
    missing = [scorer for scorer in scorers if info_of(scorer) not in stored]
    if not missing:
        raise UsageError(
            f"{args.dataset}: {args.scorers} were run together with others; "
            f"give --scorers {','.join(scorer.name for scorer in stored)} again"
        )
    try:
        ordered = in_order(missing, stored={column for scorer in stored for column in scorer.columns})
    except ValueError as error:
        raise UsageError(f"{error}; add to --scorers what gives these columns") from error
    reads = _read_by(args, ordered, scorers, stored, engines)
    return ordered, reads, Pass.of([info_of(scorer) for scorer in ordered]), engines


def _read_by(
    args: argparse.Namespace, running: Sequence[Scorer], named: Sequence[Scorer], stored: Sequence[ScorerInfo], engines: Mapping[str, str]
) -> list[ScorerInfo]:
    """The stored scorers whose columns those that run need: what the flags make of them, for the version of a scorer tells what it read.

    Raises UsageError when the pool has them from other flags alone. A user's own that is not named is any that is stored.
    """
    own = {column for scorer in running for column in info_of(scorer).columns}
    needs = {need for scorer in running for need in scorer.needs} - own
    made = {scorer.name: info_of(scorer) for scorer in named}
    found = []
    for name in sorted({info.name for info in stored if needs & set(info.columns)}):
        if name not in made and name in PACKAGED:
            made |= {scorer.name: info_of(scorer) for scorer in _made(args, [name], engines)}
        there = [info for info in stored if info.name == name]
        if name in made and made[name] not in there:
            raise UsageError(
                f"{', '.join(scorer.name for scorer in running if needs & set(scorer.needs))} would read what {made[name].calibration} gives, "
                f"and {args.dataset} has {', '.join(sorted({info.calibration for info in there}))}; give the flags that it was scored with, "
                f"or add {name} to --scorers"
            )
        found += [made[name]] if name in made else there
    return found


def _made(args: argparse.Namespace, names: Sequence[str], engines: Mapping[str, str]) -> list[Scorer]:
    return make_scorers(
        names,
        model=args.clip_model,
        pretrained=args.clip_checkpoint,
        label=args.clip_label,
        engines=engines,
        nsfw_head=args.nsfw_head,
        person_names=args.person_names,
        deepfake_probe=args.deepfake_probe,
        c2pa_trust=None if args.c2pa_trust is None else Path(args.c2pa_trust),
    )


@dataclass
class ReleaseJob:
    """What the release's two graphs do. shard_size: (bytes, pairs) of a shard, at most about. published: an equal release stands.

    lists: the block lists' digest, or None. lists_of_bytes: whether some of them can only be held against bytes that are being fetched.
    """

    pool: Pool
    release: Release
    rules: Rules
    plan: ColumnPlan
    target: Target
    units: Sequence[str]
    rows: int
    selects: bool
    shards: bool
    shard_size: tuple[int, int]
    score_columns: Sequence[tuple[str, Sequence[str]]]
    digest: str
    published: bool
    lists: str | None
    lists_of_bytes: bool
    run: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Marks the release as being written, by this process, with a heartbeat."""
        self.release.put_run({**self.run, "heartbeat": heartbeat()})
        done = threading.Event()

        def beat() -> None:
            while not done.wait(_BEAT_S):
                self.release.put_run({**self.run, "heartbeat": heartbeat()})

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=5)
            self.release.put_run({**self.run, "heartbeat": heartbeat()})  # with how long it took

    def fix_shards(self) -> int:
        """The number of shards, from what was kept; fixed in run.json before the first is written."""
        kept = sum(unit.keep for unit in self.release.decided())
        most_bytes, most_pairs = self.shard_size
        self.run["shards"] = shard_count(kept, round(kept * self._bytes_a_pair()), max_bytes=most_bytes, max_count=most_pairs)
        self.release.put_run({**self.run, "heartbeat": heartbeat()})
        return self.run["shards"]

    def _bytes_a_pair(self) -> float:
        """As stored, or as converted where that is less."""
        commits = [commit for unit in self.units if (commit := self.pool.raw_commit(unit)) is not None]
        sizes = dict(self.pool.store.list("pool/raw"))
        fetched = sum(commit.statuses.get("success", 0) for commit in commits)
        stored = sum(sizes.get(commit.tar, 0) for commit in commits if commit.tar) / max(1, fetched)
        return stored if self.target.size is None else min(stored, self.target.size**2 * _BYTES_A_PIXEL)


def release_digest(
    pool: Pool, units: Sequence[str], passes: Sequence[str], *, policy: str, target: str, sizes: Sequence[int], lists: str | None = None
) -> str:
    """SHA-256 over everything that a release follows from: unit commits, scores, column functions, policy, target, block lists."""
    commits = {}
    for unit in units:
        raw = pool.raw_commit(unit)
        assert raw is not None
        scores = [commit.content_digest for name in passes if (commit := pool.score_commit(name, unit)) is not None]
        commits[unit] = [raw.content_digest, raw.tar_sha256, *scores]
    functions = {name: function.version for name, function in COLUMN_FUNCTIONS.items()}
    return digest_of_json([_REVISION, commits, functions, policy, target, list(sizes), *([] if lists is None else [lists])])


def open_release_job(args: argparse.Namespace, pool: Pool) -> ReleaseJob:
    """Checks the policy against the pool and names the release. Raises PolicyError, UsageError, ReleaseError."""
    policy = find_policy(args.policy)
    rules = Rules(policy)
    units = scored_units(pool)
    plan = plan_selection(pool, units, policy)
    try:
        target = Target(resize=args.resize_mode, size=args.image_size, format=args.image_format, quality=args.image_quality)
    except ValueError as error:
        raise UsageError(str(error)) from error
    sizes = (args.shard_bytes, args.shard_count)
    score_columns = scalar_scores(pool, units, plan)
    lists = read_lists()
    digest = release_digest(
        pool, units, [name for name, _ in score_columns],
        policy=policy.digest, target=target.digest(), sizes=sizes, lists=lists.digest,
    )  # fmt: skip
    release = Release(pool.store, args.release or digest[:12])
    manifest, run = release.manifest(), release.run()
    if args.start_at == "shard" and manifest is None and (run is None or run["digest"] != digest):
        raise UsageError(f"nothing was selected for this policy, target and lists yet (release {release.name}); leave --start_at shard out")
    if manifest is not None and manifest["digest"] != digest:
        raise ReleaseError(
            f"release {release.name} is published and was made from other inputs; releases never change: give another --release"
        )
    if manifest is None and run is not None:
        if is_alive(run["heartbeat"]) and run["heartbeat"].get("pid") != os.getpid() and not args.take_over:
            beat = run["heartbeat"]
            raise ReleaseError(f"release {release.name} is being written by process {beat['pid']} on {beat['host']}; wait, or --take_over")
        if run["digest"] != digest:
            release.clear()  # begun from other inputs and never published
    commits = [commit for unit in units if (commit := pool.raw_commit(unit)) is not None]
    return ReleaseJob(
        pool, release, rules, plan, target, units, sum(commit.rows for commit in commits),
        selects=args.start_at != "shard", shards=args.stop_after != "select", shard_size=sizes, score_columns=score_columns,
        digest=digest, published=manifest is not None, lists=lists.digest, lists_of_bytes=lists.fetches_only,
        run={
            "digest": digest, "policy": policy.as_dict(), "policy_digest": policy.digest,
            "target": {"resize": target.resize, "size": target.size, "format": target.format, "quality": target.quality},
            "target_digest": target.digest(), "passes": [name for name, _ in score_columns], "parent": latest(pool.store),
        },
    )  # fmt: skip


def scored_units(pool: Pool) -> list[str]:
    """Units whose fetch is committed, in order. Raises UsageError when there are none, or some have no scores."""
    committed = pool.committed()
    if not committed:
        raise UsageError(f"{pool.store.root}: no unit is fetched yet; run python -m pipelines.ingest --dataset … first")
    covered = [pass_.name for pass_ in pool.passes() if committed <= pool.scored(pass_.name)]
    if not covered:
        raise UsageError(f"{pool.store.root}: some units are not scored yet; run the same command with --start_at score")
    return sorted(committed)


def scalar_scores(pool: Pool, units: Sequence[str], plan: ColumnPlan) -> list[tuple[str, list[str]]]:
    """(pass, its columns that fit beside a caption): everything but embeddings, hashes and thumbnails.

    A column of several passes (two CLIP models) comes once: from the pass that the plan reads, else from the pass in which the plan reads
    other columns of the scorer, so that a band and its evidence are one scorer's, else from the first.
    """
    fields = catalogue(pool, units)
    passes = [pass_ for pass_ in pool.passes() if set(units) <= pool.scored(pass_.name)]
    taken = {name: pass_name for pass_name, names in plan.scores.items() for name in names}
    for pass_ in passes:
        for scorer in pass_.scorers:
            if any(taken.get(name) == pass_.name for name in scorer.columns):
                taken = {**dict.fromkeys(scorer.columns, pass_.name), **taken}
    found = []
    for pass_ in passes:
        scalars = [name for scorer in pass_.scorers for name in scorer.columns if not _bulky(fields[name].type)]
        names = [name for name in scalars if taken.setdefault(name, pass_.name) == pass_.name]
        found.append((pass_.name, names))
    return found


def _bulky(kind: pa.DataType) -> bool:
    return pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind)
