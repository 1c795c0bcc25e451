"""From flags to the release's job: checks the policy against the pool, names the release, and says what its two graphs will do."""

import argparse
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.options import UsageError
from pipelines.parents import parentage_of
from pipelines.reviews import Reviews, open_reviews
from pipelines.steps.write_shards import generations_after, references_of_line, shard_count
from quality.block_lists import read_lists
from quality.column_plan import ColumnPlan, catalogue
from quality.columns import COLUMN_FUNCTIONS
from quality.images.convert import Target
from quality.named_scorers import with_scorers
from quality.rules import Rules, find_policy
from quality.selection import plan_selection
from schemas.captions import CaptionVersion
from schemas.digest import digest_of_json
from schemas.pool import Pool
from schemas.release import Release, ReleaseError, heartbeat, is_alive, latest
from schemas.units import number_of

_BEAT_S = 20.0
_BYTES_A_PIXEL = 0.4  # of photographs as JPEG of quality 95, 4:2:0; only the number of shards hangs on it
_REVISION = 3  # of what select and shard do with equal inputs; part of a release's digest


@dataclass
class ReleaseJob:
    """What the release's two graphs do. shard_size: (bytes, pairs) of a shard, at most about. published: an equal release stands.

    lists: the block lists' digest, or None. lists_of_bytes: whether some of them can only be held against bytes that are being fetched.
    reviews: what people decided. parent: the release whose shards this one goes on with, or None for the first of a line.
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
    reviews: Reviews
    parent: Release | None
    run: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Marks the release as being written, by this process, with a heartbeat."""
        self.release.put_run({**self.run, "heartbeat": heartbeat()})
        self.reviews.freeze(self.release)
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
        """How many shards there will be for the units that no release of the line has decided about, from what was kept of them.

        Fixed in run.json, with the generations, before the first is written. All shards of a line's first release, 0 where nothing is new.
        """
        before = generations_after(self.parent, 0)
        new = [unit for unit in self.units if unit not in before.of_unit]
        count = self._count_for(new) if new or not before.total else 0
        generations = generations_after(self.parent, count)
        self.run.update(shards=generations.total, generations=generations.told(), referenced={})
        self.release.put_run({**self.run, "heartbeat": heartbeat()})
        return count

    def refer_to_parent(self) -> None:
        """Fixes in run.json which shards lie in an earlier release: once sharding has ended, all that it did not write."""
        self.run["referenced"] = references_of_line(self.release, self.parent)
        self.release.put_run({**self.run, "heartbeat": heartbeat()})

    def _count_for(self, units: Sequence[str]) -> int:
        decided = {unit.unit: unit.keep for unit in self.release.decided()}
        kept = sum(decided[unit] for unit in units)
        most_bytes, most_pairs = self.shard_size
        return shard_count(kept, round(kept * self._bytes_a_pair(units)), max_bytes=most_bytes, max_count=most_pairs)

    def _bytes_a_pair(self, units: Sequence[str]) -> float:
        """As stored, or as converted where that is less."""
        commits = [commit for unit in units if (commit := self.pool.raw_commit(unit)) is not None]
        sizes = dict(self.pool.store.list("pool/raw"))
        fetched = sum(commit.statuses.get("success", 0) for commit in commits)
        of_tars = sum(sizes.get(commit.tar, 0) for commit in commits if commit.tar)
        in_place = sum(pc.sum(self.pool.read_raw(commit.unit, ["size"])["size"]).as_py() or 0 for commit in commits if commit.user_tar)
        stored = (of_tars + in_place) / max(1, fetched)
        return stored if self.target.size is None else min(stored, self.target.size**2 * _BYTES_A_PIXEL)


def release_digest(
    pool: Pool, units: Sequence[str], passes: Sequence[str], *, policy: str, target: str, sizes: Sequence[int], lists: str | None = None,
    reviews: str | None = None, captions: str | None = None,
) -> str:  # fmt: skip
    """SHA-256 over everything that a release follows from: unit commits, scores, a version of the captions, column functions, policy, target,
    block lists, reviews."""
    commits = {}
    for unit in units:
        raw = pool.raw_commit(unit)
        assert raw is not None
        scores = [commit.content_digest for name in passes if (commit := pool.score_commit(name, unit)) is not None]
        held = [raw.input_digest] if number_of(unit) else []  # which rows of its base a follow-up decides
        version = None if captions is None else CaptionVersion(pool, captions).commit_of(unit)
        told = [] if version is None else [["captions", version.content_digest]]
        commits[unit] = [raw.content_digest, raw.tar_sha256, *scores, *held, *told]
    functions = {name: function.version for name, function in COLUMN_FUNCTIONS.items()}
    more = [*([] if lists is None else [lists]), *([] if reviews is None else [["reviews", reviews]])]
    return digest_of_json([_REVISION, commits, functions, policy, target, list(sizes), *more])


def open_release_job(args: argparse.Namespace, pool: Pool) -> ReleaseJob:
    """Checks the policy against the pool and names the release. Raises PolicyError, UsageError, ReleaseError."""
    policy = with_scorers(find_policy(args.policy), args.read_scorer)
    rules = Rules(policy)
    units = scored_units(pool)
    plan = plan_selection(pool, units, policy)
    try:
        target = Target(resize=args.resize_mode, size=args.image_size, format=args.image_format, quality=args.image_quality)
    except ValueError as error:
        raise UsageError(str(error)) from error
    sizes = (args.shard_bytes, args.shard_count)
    score_columns = scalar_scores(pool, units, plan)
    lists = read_lists(pool.store)
    reviews = open_reviews(pool, units, args.reviews, lists)
    inputs = release_digest(
        pool, units, [name for name, _ in score_columns],
        policy=policy.digest, target=target.digest(), sizes=sizes, lists=lists.digest, reviews=reviews.digest, captions=plan.captions,
    )  # fmt: skip
    run = {
        "inputs": inputs, "policy": policy.as_dict(), "policy_digest": policy.digest,
        "target": {"resize": target.resize, "size": target.size, "format": target.format, "quality": target.quality},
        "target_digest": target.digest(), "shard_size": list(sizes), "passes": [name for name, _ in score_columns],
        "reviews": reviews.told(),
    }  # fmt: skip
    parentage = parentage_of(pool.store, run, args.parent)
    digest = parentage.digest
    release = Release(pool.store, args.release or digest[:12])
    manifest, begun = release.manifest(), release.run()
    if args.start_at == "shard" and manifest is None and (begun is None or begun["digest"] != digest):
        raise UsageError(
            f"nothing was selected for this policy, target, lists and reviews yet (release {release.name}); leave --start_at shard out"
        )
    if manifest is not None and manifest["digest"] != digest:
        raise ReleaseError(
            f"release {release.name} is published and was made from other inputs; releases never change: give another --release"
        )
    if manifest is None and begun is not None:
        beat = begun["heartbeat"]
        if is_alive(beat) and beat.get("pid") != os.getpid() and not args.take_over:
            raise ReleaseError(f"release {release.name} is being written by process {beat['pid']} on {beat['host']}; wait, or --take_over")
        if begun["digest"] != digest:
            release.clear()  # begun from other inputs and never published
    commits = [commit for unit in units if (commit := pool.raw_commit(unit)) is not None]
    return ReleaseJob(
        pool, release, rules, plan, target, units, sum(commit.rows for commit in commits),
        selects=args.start_at != "shard", shards=args.stop_after != "select", shard_size=sizes, score_columns=score_columns,
        digest=digest, published=manifest is not None, lists=lists.digest, lists_of_bytes=lists.fetches_only,
        reviews=reviews, parent=Release(pool.store, parentage.parent) if parentage.inherits and parentage.parent else None,
        run={
            **run, "digest": digest, "parent": parentage.parent, "inherits": parentage.parent if parentage.inherits else None,
            "after": latest(pool.store),
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
    fields = catalogue(pool, units, plan.captions)
    passes = [pass_ for pass_ in pool.passes_for(plan.captions) if set(units) <= pool.scored(pass_.name)]
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
