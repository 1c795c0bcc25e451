"""From flags to the pool's job: what to read, how to fetch it and what to score it with, checked against what the first run fixed."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.chosen_scorers import UNREAD, chosen_scorers
from pipelines.fetch.img2dataset_fetcher import check_installed
from pipelines.fetch.politeness import HostsError, Politeness, read_hosts_file
from pipelines.fetch.settings import FETCHERS, FetchSettings
from pipelines.options import DIRECT_RUNNER, UsageError
from pipelines.sources.formats import SourceError
from pipelines.sources.listing import TARS, Entry, list_source
from pipelines.sources.places import spec_of
from pipelines.sources.rows import RowReader
from pipelines.steps.shared_models import SHARING
from quality.block_lists import read_lists
from quality.column_plan import check_version
from quality.engines.threads import threads_of_process
from quality.evidence.manifest import TrustError, read_anchors
from quality.images.convert import Target
from quality.named_scorers import with_scorers
from quality.rules import Rules, find_policy
from quality.scorers.protocol import Scorer
from schemas.caption_names import PREFIX
from schemas.follow_ups import Planned, begin_round, end_round, open_round, planned_follow_ups
from schemas.policy import Policy
from schemas.pool import Pool
from schemas.removals import removals
from schemas.store import Store
from schemas.units import Pass, ScorerInfo, split_unit

SAMPLE = Path(__file__).parent.parent / "tests" / "data" / "sample"
RESIZED = (
    "note: images are stored resized; what the bytes that came say of their origin (metadata, C2PA, watermarks) is read once, while they are "
    "fetched, {}, and cannot be read again"
)
RESIZED_UNREAD = (
    "note: images are stored resized, and this dataset was begun before fetching read what the bytes that came say of their origin: the scorer "
    "evidence has nothing of them, and the deepfake band is missing; --store original (a new --dataset) keeps the bytes"
)

_WHY_ASKED = {True: "--source names urls", False: "what the tars lack is asked for at its urls"}


@dataclass(frozen=True)
class PoolJob:
    """What the pool's graph does. entries: source files; empty when fetching is left out. reads: stored scorers whose columns `scorers` need.
    lists: the block lists' digest, or None. asks_hosts: whether anything may be asked for over HTTP. evidence_read_as: see chosen_scorers.
    retry_round: of asking again for what failed, or None. max_failure_rate: see FailureLimit. share_models: as of SharedModels. threads: of each
    process that scores. score_hints: Beam's resource hints of scoring.
    spreads: whether fetched units are dealt out anew before they are scored: those who fetch are few, and Dataflow would score where they are.
    """

    pool: Pool
    entries: Sequence[Entry]
    unit_size: int
    rows: RowReader
    fetch: FetchSettings
    scorers: Sequence[Scorer]
    reads: Sequence[ScorerInfo]
    pass_: Pass
    fetches: bool
    scores: bool
    lists: str | None
    asks_hosts: bool
    evidence_read_as: str | None
    retry_round: int | None = None
    max_failure_rate: float | None = None
    share_models: str = SHARING[0]
    threads: int = 1
    score_hints: Mapping[str, str] = field(default_factory=dict)
    spreads: bool = False

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
        follow_ups = {unit: plan.rows for unit, plan in planned_follow_ups(self.pool).items()}
        return sum(rows for unit, rows in {**self.pool.planned_units(), **follow_ups}.items() if unit in through)

    def deferred(self) -> dict[str, int]:
        """Rows of planned units that are not committed; where this job fetches, of follow-ups too."""
        committed = self.pool.committed()
        follow_ups = {unit: plan.rows for unit, plan in planned_follow_ups(self.pool).items()} if self.fetches else {}
        return {unit: rows for unit, rows in {**self.pool.planned_units(), **follow_ups}.items() if unit not in committed}

    def retried(self) -> dict[str, Planned]:
        """The follow-ups that this job's round of retrying has planned."""
        return self._of_round(self.retry_round)

    def _of_round(self, round: int | None) -> dict[str, Planned]:
        return {unit: plan for unit, plan in planned_follow_ups(self.pool).items() if plan.round == round}

    def end_retrying(self) -> None:
        """Notes that the open round is through, once all of its follow-ups are committed: the next one asks for what failed in it too.

        Whichever run fetched the last of them: one that was not told to retry goes on with those that are planned.
        """
        known = open_round(self.pool) if self.fetches else None
        if known is not None and self._of_round(known).keys() <= self.pool.committed():
            end_round(self.pool, known)

    def headline(self) -> str:
        """What is about to happen, in one line; another for what hosts are asked, and where scores cannot mean what they say."""
        files = f"{len(self.entries)} source file{'s' if len(self.entries) != 1 else ''}, units of {self.unit_size:,} rows"
        what = files if self.fetches else f"{len(self.committed):,} units"
        scorers = (
            ", ".join(f"{scorer.name} ({scorer.version.partition('@')[0]})" for scorer in self.scorers) if self.scores else "no scoring"
        )
        version = f"; captions {self.pass_.captions}" if self.pass_.captions else ""
        told = f"{self.pool.store.name}: {what}; {scorers}{version}"
        if self.asks_hosts:
            told += "\n" + self._politeness()
        if self.evidence_read_as is not None and (self.fetches or "evidence" in {scorer.name for scorer in self.scorers}):
            _, listed, trust = self.evidence_read_as.partition("+trust-")
            unread = self.evidence_read_as == UNREAD
            told += "\n" + (
                RESIZED_UNREAD if unread else RESIZED.format(f"with the C2PA trust list {trust}" if listed else "trusting no signer")
            )
        return told

    def _politeness(self) -> str:
        """What hosts are asked, by whom, and how much of all workers together."""
        settings = self.fetch
        limit = settings.politeness.of("")
        rate = "no bound on their rate" if limit.rate is None else f"{limit.rate:g} requests/s"
        others = f", {len(settings.hosts)} hosts by --hosts" if settings.hosts else ""
        return (
            f"asking as {settings.header}; of one host at most {limit.connections} requests at a time and {rate}, of "
            f"{settings.workers} worker{'s' if settings.workers != 1 else ''} together{others}; opt-outs: {settings.optouts}"
        )


def open_pool_job(args: argparse.Namespace) -> PoolJob:
    """Checks flags against what the first run fixed, and fixes it on the first. Writes nothing before every check has passed."""
    hints = _score_hints(args)
    pool = Pool(args.dataset)
    check_removals(pool.store)
    lists = read_lists(pool.store).digest
    fetches, scores = args.start_at == "fetch", args.start_at in ("fetch", "score") and args.stop_after != "fetch"
    fixed = pool.settings("source")
    if fixed is None and not fetches:
        raise UsageError(f"{args.dataset}: no dataset here; start without --start_at, or check --dataset")
    entries, source = _source_of(args, fixed) if fetches else ([], fixed or {})
    try:
        fetch = _fetch_settings(args, fixed)
    except (ValueError, TrustError, HostsError) as error:
        raise UsageError(str(error)) from error
    asks_hosts = _asks_hosts(pool, entries, retries=args.retry_failed)
    if asks_hosts and fetch.contact is None and fetch.host_map is None and not fetch.allow_private_hosts:
        raise UsageError(
            f"{_WHY_ASKED[any(not entry.images for entry in entries)]}: "
            "say who asks, with an address at which a site's owner can reach you, as in --contact you@example.org; "
            "it is sent with every request, and kept nowhere"
        )
    wanted = {"fetch": fetch.identity(), **source}
    if fetches:
        _check_fixed(args, fixed, wanted)
    if fetch.fetcher == "img2dataset" and fetches:
        check_installed()
        if any(entry.images and entry.kind not in TARS for entry in entries):
            raise UsageError("--fetcher img2dataset asks for urls; this source is a folder of images: leave the flag out")
    if fetch.store == "resized" and any(entry.kind in TARS for entry in entries):
        raise UsageError(
            "images of tars are taken where they lie, as they are; leave --store resized out (shards are resized whatever the pool stores)"
        )
    policy = with_scorers(find_policy(args.policy), args.read_scorer)  # a policy that cannot be read is told before hours of fetching
    Rules(policy)
    if args.captions is not None:
        _check_captions(args, pool, policy)
    read_as = _evidence_read_as(wanted if fetches else source)
    scorers, reads, pass_, engines = chosen_scorers(args, pool, evidence_read_as=read_as) if scores else ([], [], Pass("none", ()), {})
    if fetches:
        if fixed is None:
            pool.adopt_settings("source", wanted)
        elif fixed != wanted:
            pool.replace_settings("source", wanted)
    if scores:
        if engines != pool.settings("engines"):
            pool.replace_settings("engines", engines)
        pool.put_pass(pass_)
    retry_round = begin_round(pool) if args.retry_failed else None
    return PoolJob(
        pool, entries, source.get("unit_size", 0), RowReader(pool, fetch.identity()), fetch,
        scorers, reads, pass_, fetches, scores, lists, asks_hosts, read_as, retry_round, args.max_failure_rate,
        args.share_models, threads_of_process(args.workers), hints, args.runner != DIRECT_RUNNER,
    )  # fmt: skip


def _check_captions(args: argparse.Namespace, pool: Pool, policy: Policy) -> None:
    check_version(pool, sorted(pool.committed()), args.captions, where=f"--captions {args.captions}")
    if args.stop_after != "score" and policy.caption_version != args.captions:
        raise UsageError(
            f"--captions {args.captions} scores captions that policy {policy.name} does not take ({policy.caption}): add --stop_after score, or "
            f'give a policy with the line caption = "{PREFIX}{args.captions}"'
        )


def _score_hints(args: argparse.Namespace) -> dict[str, str]:
    hints = {name: getattr(args, f"score_{name}") for name in ("accelerator", "min_ram")}
    given = {name: value for name, value in hints.items() if value is not None}
    if given and args.runner == DIRECT_RUNNER:
        raise UsageError(f"--score_{next(iter(given))} chooses machines, and {DIRECT_RUNNER} runs on this one: leave it out")
    return given


def check_removals(store: Store) -> None:
    """Raises UsageError while a removal is open: pool and releases are not of one piece then."""
    waiting = [removal.id for removal in removals(store) if removal.done() is None]
    if waiting:
        raise UsageError(
            f"{store.root}: removal {waiting[0]} was begun and has not ended; first run python -m pipelines.forget --dataset {store.root} --resume"
        )


def _asks_hosts(pool: Pool, entries: Sequence[Entry], *, retries: bool) -> bool:
    """Whether anything may be asked for over HTTP: urls of lists, and of tars what they lack, in a follow-up that is planned or may be."""
    if any(not entry.images for entry in entries):
        return True
    tars = {(entry.root, entry.path) for entry in entries if entry.kind in TARS}
    if retries or not tars:
        return bool(tars)
    bases = {split_unit(unit)[0] for unit in planned_follow_ups(pool).keys() - pool.committed()}
    return any((file.source, file.path) in tars for base in bases if (file := pool.file(base)) is not None)


def plan_source(args: argparse.Namespace, pool: Pool) -> tuple[list[Entry], dict[str, Any]]:
    """The entries that a run with these flags would read, and what it would fix. Raises UsageError, SourceError."""
    return _source_of(args, pool.settings("source"))


def _source_of(args: argparse.Namespace, fixed: dict[str, Any] | None) -> tuple[list[Entry], dict[str, Any]]:
    """The entries to read, and the part of pool/source.json that says so. Without --source: all that the dataset is made from."""
    sources = [dict(known) for known in fixed["sources"]] if fixed else []
    given = args.source if args.source is not None or sources else _packaged_sample()
    if given is not None:
        spec = spec_of(given)
        known = next((known for known in sources if known["source"] == spec), None)
        new = known is None
        if known is None:
            known = _new_source(args, spec, sources)
            sources.append(known)
        _check_same(args, known)
        reading = [known]
    else:
        reading, new = sources, False
    entries = [
        entry
        for known in reading
        for entry in list_source(
            known["source"], known["columns"], limit=known["limit"], sample=known["sample"], preset=known.get("preset")
        )
    ]
    if new and len({entry.images for entry in entries}) > 1:
        raise UsageError("the source mixes url lists and file lists; ingest them as two sources, the second with --add_source")
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
    preset = {} if args.preset is None else {"preset": args.preset}
    return {"source": spec, "columns": args.columns or {}, "limit": args.limit, "sample": args.sample, **preset}


def _check_same(args: argparse.Namespace, known: dict[str, Any]) -> None:
    for flag in ("columns", "preset", "limit", "sample"):
        given = getattr(args, flag)
        if given is not None and given != known.get(flag):
            raise UsageError(
                f"{args.dataset} reads {known['source']} with --{flag} {known.get(flag) or '(not given)'}, not {given}; "
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
    # A pool of our own engine says nothing of its fetcher, as pools did before there was another.
    told = {"fetcher": FETCHERS[0]}
    for name, value in {**told, **wanted["fetch"]}.items():
        if name == "evidence" and fixed["fetch"][name] != value:
            raise UsageError(
                f"{args.dataset} stores images resized and reads their evidence while it fetches, as {fixed['fetch'][name]}, not as {value}; "
                "give the --c2pa_trust (or none) that it was begun with, or another --dataset"
            )
        before = fixed["fetch"].get(name, told.get(name))
        if before != value:
            raise UsageError(
                f"{args.dataset} was begun with {name} = {before}, not {value}; a pool is fetched in one way: give another --dataset"
            )


def _evidence_read_as(source: Mapping[str, Any]) -> str | None:
    fetch = source.get("fetch") or {}
    return fetch.get("evidence", UNREAD) if fetch.get("store") == "resized" else None


def _fetch_settings(args: argparse.Namespace, fixed: dict[str, Any] | None) -> FetchSettings:
    resized = args.store == "resized"
    hosts = () if args.hosts is None else read_hosts_file(Path(args.hosts))
    politeness = Politeness(connections=args.connections_per_host, rate=args.rate_per_host, hosts=hosts)
    evidence = resized and (fixed is None or "evidence" in fixed["fetch"])  # a pool goes on as it was begun, before fetching could read it
    return FetchSettings(
        fetcher=args.fetcher,
        store=args.store,
        target=Target(resize=args.store_resize, size=args.store_size, format="jpeg", quality=args.image_quality) if resized else None,
        evidence=evidence,
        trust_anchors=read_anchors(Path(args.c2pa_trust)) if evidence and args.c2pa_trust is not None else None,
        max_bytes=args.max_image_bytes,
        connect_timeout_s=args.connect_timeout,
        image_timeout_s=args.image_timeout,
        unit_timeout_s=args.unit_timeout,
        retries=args.retries,
        connections=args.connections,
        connections_per_host=args.connections_per_host,
        rate_per_host=args.rate_per_host,
        hosts=hosts,
        workers=args.fetch_workers or min(args.workers, politeness.most_workers),
        optouts=args.optouts,
        contact=args.contact,
        resolver=args.resolver,
        user_agent=args.user_agent,
        allow_private_hosts=args.allow_private_hosts,
        host_map=None if args.host_map is None else os.path.abspath(args.host_map),
        units_ahead=args.units_ahead,
    )
