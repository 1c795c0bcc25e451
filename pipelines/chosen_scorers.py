"""From flags to scorers: which run, in which pass of the pool, with which engines, and what stored columns they read."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from pipelines.options import UsageError
from quality.engines import choose_engines
from quality.evidence.manifest import TrustError, read_anchors
from quality.evidence.original import model_of
from quality.scorers import PACKAGED, make_scorers, towers_of
from quality.scorers.protocol import Scorer, in_order, info_of, reads_captions
from schemas.pool import Pool
from schemas.units import BLIND, Pass, ScorerInfo

_FLAGS_OF_SCORERS = {
    "nsfw_head": ("nsfw",), "person_names": ("deepfake",), "deepfake_probe": ("deepfake",), "c2pa_trust": ("evidence", "deepfake"),
}  # fmt: skip
UNREAD: Final = "unread"  # the model of a reader that there was none: pools that were begun before fetching could read evidence


def chosen_scorers(
    args: argparse.Namespace, pool: Pool, *, evidence_read_as: str | None = None
) -> tuple[list[Scorer], list[ScorerInfo], Pass, dict[str, str]]:
    """The scorers to run, the stored ones whose columns they need, the pass they make, and every tower's engine.

    A pass of the pool that has just these goes on; else a new one is made of those that no pass has. evidence_read_as: of a pool that does not
    keep the bytes that came, the model of the reader that fetching reads evidence with (quality.evidence.original), or UNREAD; else None.
    """
    names = [name.strip() for name in args.scorers.split(",") if name.strip()] + args.scorer
    if (wrong := next((spec for spec in args.scorer if ":" not in spec), None)) is not None:
        raise UsageError(f"--scorer {wrong}: write package.module:Class; packaged scorers are named by --scorers")
    _check_trust(args, evidence_read_as)
    for flag, readers in _FLAGS_OF_SCORERS.items():
        fetching_reads = flag == "c2pa_trust" and evidence_read_as is not None
        if getattr(args, flag) is not None and not fetching_reads and not {*readers} & {*names}:
            raise UsageError(f"--{flag} is read by {' and '.join(readers)}, and --scorers leaves that out; add it, or leave --{flag} out")
    made = partial(_made, args, evidence_read_as)
    engines = dict(pool.settings("engines") or {})
    towers = [tower for tower in towers_of(made(names, {})) if tower.name not in engines]
    if towers:
        engines |= choose_engines(towers, engine=None if args.engine == "auto" else args.engine)
    if args.engine != "auto" and not towers and args.engine not in engines.values():
        if not engines:
            raise UsageError(f"--engine {args.engine}: none of --scorers {args.scorers} has a model to run; leave --engine out")
        used = ", ".join(sorted(set(engines.values())))
        raise UsageError(f"{args.dataset} is scored with {used}; an engine is fixed once a pool: leave --engine out")
    scorers = _readers(args, made(names, engines))
    there = pool.passes_for(args.captions)
    stored = [scorer for pass_ in there for scorer in pass_.scorers]
    for pass_ in (pass_ for pass_ in there if pass_.captions == args.captions):
        if {info_of(scorer) for scorer in scorers} == set(pass_.scorers):
            ordered = sorted(scorers, key=lambda scorer: pass_.scorers.index(info_of(scorer)))
            return ordered, _read_by(args, ordered, scorers, stored, partial(made, engines=engines)), pass_, engines
    missing = [scorer for scorer in scorers if info_of(scorer) not in stored]
    if not missing:
        raise UsageError(
            f"{args.dataset}: {args.scorers} were run together with others; "
            f"give --scorers {','.join(scorer.name for scorer in stored)} again"
        )
    try:
        ordered = in_order(missing, stored={column for scorer in stored for column in scorer.columns})
    except ValueError as error:
        what = "add to --scorers what gives these columns" + (
            ", or, where that reads no captions, score the pool with it first, without --captions" if args.captions else ""
        )
        raise UsageError(f"{error}; {what}") from error
    reads = _read_by(args, ordered, scorers, stored, partial(made, engines=engines))
    blind = [scorer.name for scorer in ordered if not reads_captions(scorer) and scorer.name not in BLIND]
    return ordered, reads, Pass.of([info_of(scorer) for scorer in ordered], args.captions, blind), engines


def _readers(args: argparse.Namespace, scorers: list[Scorer]) -> list[Scorer]:
    """With --captions, those that read captions: what the others gave holds for every version."""
    if args.captions is None:
        return scorers
    readers = [scorer for scorer in scorers if reads_captions(scorer)]
    if not readers:
        raise UsageError(
            f"--captions {args.captions}: {', '.join(scorer.name for scorer in scorers)} read no captions, and hold for every version; leave "
            "--captions out, or name scorers that do"
        )
    return readers


def _check_trust(args: argparse.Namespace, evidence_read_as: str | None) -> None:
    """Raises UsageError for a trust list that comes too late."""
    if evidence_read_as is None or args.c2pa_trust is None:
        return
    try:
        wanted = model_of(read_anchors(Path(args.c2pa_trust)))
    except TrustError as error:
        raise UsageError(f"--c2pa_trust: {error}") from error
    if wanted != evidence_read_as:
        raise UsageError(
            f"{args.dataset} does not keep the bytes that came: when they were fetched, their evidence was "
            f"{'not read' if evidence_read_as == UNREAD else 'read as ' + evidence_read_as}, and it cannot be read now as {wanted}; "
            "leave --c2pa_trust out, or fetch into another --dataset"
        )


def _read_by(
    args: argparse.Namespace,
    running: Sequence[Scorer],
    named: Sequence[Scorer],
    stored: Sequence[ScorerInfo],
    made_by: Callable[[Sequence[str]], list[Scorer]],
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
            made |= {scorer.name: info_of(scorer) for scorer in made_by([name])}
        there = [info for info in stored if info.name == name]
        if name in made and made[name] not in there:
            raise UsageError(
                f"{', '.join(scorer.name for scorer in running if needs & set(scorer.needs))} would read what {made[name].calibration} gives, "
                f"and {args.dataset} has {', '.join(sorted({info.calibration for info in there}))}; give the flags that it was scored with, "
                f"or add {name} to --scorers"
            )
        found += [made[name]] if name in made else there
    return found


def _made(args: argparse.Namespace, evidence_read_as: str | None, names: Sequence[str], engines: Mapping[str, str]) -> list[Scorer]:
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
        evidence_read_as=evidence_read_as,
    )
