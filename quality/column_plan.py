"""Where each column that a decision looks at comes from: the raw commit, a scoring pass, or a column function."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from quality import repeats
from quality.columns import COLUMN_FUNCTIONS
from quality.named_scorers import choices_text
from schemas.captions import CaptionVersion, told_of, versions, with_version
from schemas.columns import RAW
from schemas.policy import Policy, PolicyError
from schemas.pool import Pool
from schemas.units import Pass, PoolError, ScorerInfo


@dataclass(frozen=True)
class ColumnPlan:
    """How to read columns of any unit. types: of every column in it; a unit that lacks a carried column has nulls there.

    `caption.repeats` is in it and is not read: select counts it. captions: the version that stands in the place of the sources' captions.
    """

    raw: tuple[str, ...]
    scores: Mapping[str, tuple[str, ...]]
    functions: Mapping[str, tuple[str, ...]]
    types: Mapping[str, pa.Field]
    captions: str | None = None

    def only(self, names: Iterable[str]) -> "ColumnPlan":
        """The plan for some of the columns; what column functions need is read and not returned."""
        wanted = set(names)
        missing = wanted - set(self.types)
        if missing:
            raise KeyError(f"not in the plan: {sorted(missing)}")
        return ColumnPlan(
            tuple(name for name in self.raw if name in wanted),
            {pass_: kept for pass_, columns in self.scores.items() if (kept := tuple(name for name in columns if name in wanted))},
            {function: kept for function, columns in self.functions.items() if (kept := tuple(name for name in columns if name in wanted))},
            {name: type_ for name, type_ in self.types.items() if name in wanted},
            self.captions,
        )

    def read(self, pool: Pool, unit: str) -> pa.Table:
        """The planned columns of a unit, one row per source row, in order."""
        needs = [name for function in self.functions for name in COLUMN_FUNCTIONS[function].needs]
        raw = _read_existing(lambda names: pool.read_raw(unit, names), [*self.raw, *needs], self.types)
        raw = with_version(raw, pool, unit, self.captions)
        columns = {name: raw[name] for name in self.raw}
        for pass_name, names in self.scores.items():
            scores = pool.read_scores(pass_name, unit, names)
            if scores.num_rows != raw.num_rows:
                raise PoolError(f"unit {unit}: {scores.num_rows} rows of scores in {pass_name}, {raw.num_rows} rows fetched")
            columns.update({name: scores[name] for name in names})
        for function, names in self.functions.items():
            computed = COLUMN_FUNCTIONS[function].compute(raw, names)
            columns.update({name: computed[name] for name in names})
        return pa.table(columns)


def _read_existing(read, names: Sequence[str], types: Mapping[str, pa.Field]) -> pa.Table:
    names = list(dict.fromkeys(names))
    try:
        return read(names)
    except KeyError:
        table = read(None)
    return pa.table({name: table[name] if name in table.column_names else pa.nulls(table.num_rows, types[name].type) for name in names})


def plan_columns(pool: Pool, units: Sequence[str], policy: Policy, names: Iterable[str]) -> ColumnPlan:
    """A plan for `names`, over scorers that cover `units`; for a column with a rule, the scorer that the rule names.

    Raises PolicyError for a column that the pool does not have, or whose scorer is not the one that the policy was calibrated on; and for a
    version of the captions that lacks units, or that nobody has scored.
    """
    captions = policy.caption_version
    check_version(pool, units, captions, where=f"policy {policy.name}")
    available = catalogue(pool, units, captions)
    passes = _passes(pool, units, captions)
    wanted_scorer = _wanted_scorers(policy)
    raw, scores, functions = list[str](), dict[str, list[str]](), dict[str, list[str]]()
    unclear = dict[str, list[ScorerInfo]]()
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in available:
            check_scored(pool, policy, name)
            near = difflib.get_close_matches(name, available, 3) or sorted(available)
            raise PolicyError(f"policy {policy.name}: the pool has no column {name!r}; did you mean {' or '.join(near)}?")
        if name == repeats.COLUMN.name:
            continue
        scorers = [(pass_, scorer) for pass_ in passes for scorer in pass_.scorers if name in scorer.columns]
        if scorers:
            fitting = _fitting(pool, scorers, name, wanted_scorer, policy)
            if len({scorer.version for _, scorer in fitting}) > 1:
                unclear[name] = [scorer for _, scorer in fitting]
            scores.setdefault(fitting[0][0].name, []).append(name)
        elif name in available and (function := _function_of(name)) is not None:
            functions.setdefault(function, []).append(name)
        else:
            raw.append(name)
    if unclear:
        raise PolicyError(
            f"policy {policy.name}: several scorers of this pool gave what it decides by, and its rules do not say which they mean; name one each: "
            f"{choices_text(unclear)}; or, in a policy file of your own, the rule's field 'scorer'"
        )
    return ColumnPlan(tuple(raw), {k: tuple(v) for k, v in scores.items()}, {k: tuple(v) for k, v in functions.items()},
                      {name: available[name] for name in names}, captions)  # fmt: skip


def check_version(pool: Pool, units: Sequence[str], name: str | None, *, where: str) -> None:
    """Raises PolicyError, with the command to run, where a version of the captions is not whole. where: who names it, which begins the message."""
    if name is None:
        return
    version = CaptionVersion(pool, name)
    origin = version.origin()
    made_by = "--model DIR" if "model" in (origin or {}) else "--captions FILE"
    command = f"python -m pipelines.caption --dataset {pool.store.root} --name {name} {made_by}"
    if origin is None:
        there = ", ".join(each.name for each in versions(pool)) or "none at all"
        raise PolicyError(f"{where}: the pool has no version {name} of the captions; there is {there}; add it: {command}")
    missing = sorted(set(units) - version.units())
    if missing:
        raise PolicyError(
            f"{where}: version {name} of the captions lacks {len(missing):,} of {len(units):,} units, {missing[0]} is the first; "
            f"run the command again that made it, from {told_of(origin)}: {command}"
        )


def catalogue(pool: Pool, units: Sequence[str], captions: str | None = None) -> dict[str, pa.Field]:
    """Every column that a policy may name in this pool, with type and metadata: raw, carried, scored and computed.

    captions: the version of the captions that scorers have to have read, where they read captions; None for the sources'.
    """
    fields = {field.name: field for field in RAW}
    for function in COLUMN_FUNCTIONS.values():
        fields.update({field.name: field for field in function.fields})
    fields[repeats.COLUMN.name] = repeats.COLUMN
    if units:
        fields.update({field.name: field for field in pool.raw_schema(units[0]) if field.name not in fields})
        for pass_ in _passes(pool, units, captions):
            columns = {name for scorer in pass_.scorers for name in scorer.columns}
            fields.update({field.name: field for field in pool.score_schema(pass_.name, units[0]) if field.name in columns})
    return fields


def _wanted_scorers(policy: Policy) -> dict[str, str]:
    """The scorer that rules name, by column. Raises PolicyError when they name two: a column is read once, from one of them."""
    wanted = dict[str, str]()
    for rule in policy.rules:
        if rule.scorer is not None and wanted.setdefault(rule.column, rule.scorer) != rule.scorer:
            raise PolicyError(
                f"policy {policy.name}: its bounds on {rule.column} were calibrated on {wanted[rule.column]} and on {rule.scorer}; "
                "a policy decides by one scorer of a column: make a policy for each"
            )
    return wanted


def _passes(pool: Pool, units: Sequence[str], captions: str | None) -> list[Pass]:
    return [pass_ for pass_ in pool.passes_for(captions) if set(units) <= pool.scored(pass_.name)]


def _fitting(
    pool: Pool, candidates: Sequence[tuple[Pass, ScorerInfo]], name: str, wanted_scorer: Mapping[str, str], policy: Policy
) -> Sequence[tuple[Pass, ScorerInfo]]:
    """Of the passes that have a column, those that the policy may mean."""
    wanted, named = wanted_scorer.get(name), set(wanted_scorer.values())
    if wanted is not None:
        fitting = [(pass_, scorer) for pass_, scorer in candidates if wanted in (scorer.calibration, scorer.identity)]
        if not fitting:
            there = ", ".join(sorted({scorer.calibration for _, scorer in candidates}))
            raise PolicyError(
                f"policy {policy.name}: its bound on {name} was calibrated on {wanted}, and the pool has {there}; score the pool with it "
                f"first ({_scoring(pool, wanted, policy.caption_version)}) or use a policy made for {there}"
            )
        return fitting
    if name not in {rule.column for rule in policy.rules}:
        # It only ranks equal pairs, or goes with another column: of the scorer that rules name, else any as long as it is always the same.
        return [
            min(
                candidates,
                key=lambda one: (not named & {one[1].calibration, one[1].identity}, one[1].calibration, one[1].version, one[0].name),
            )
        ]
    return candidates


def check_scored(pool: Pool, policy: Policy, column: str) -> None:
    """Raises PolicyError, with the command to run, for a column that the pool has of the sources' captions alone, or of another version."""
    captions = policy.caption_version
    owners = sorted({scorer.identity for pass_ in pool.passes() for scorer in pass_.scorers if column in scorer.columns})
    if captions is not None and owners:
        command = _scoring(pool, _wanted_scorers(policy).get(column), captions)
        raise PolicyError(
            f"policy {policy.name}: {column} was measured (by {', '.join(owners)}), but not with the captions that the policy takes, "
            f"{policy.caption}; run, with the flags of scorers that were given then, {command}"
        )


def _scoring(pool: Pool, calibration: str | None, captions: str | None) -> str:
    """The command that scores the pool, or a version of its captions, with "clip:ViT-B-32/openai" or the like; None: with what there is."""
    command = f"python -m pipelines.ingest --dataset {pool.store.root} --start_at score --stop_after score"
    command += f" --captions {captions}" if captions else ""
    if calibration is None:
        return command
    scorer, _, model = calibration.partition("@")[0].partition(":")
    if scorer != "clip":
        return f"{command} --scorers {scorer}"
    architecture, _, weights = model.rpartition("/")
    if not architecture:
        return f"{command} --scorers embed,clip --clip_model {weights}"
    return (
        f"{command} --scorers embed,clip --clip_model {architecture} --clip_checkpoint {weights}, or its file with --clip_label {weights}"
    )


def _function_of(name: str) -> str | None:
    return next((key for key, function in COLUMN_FUNCTIONS.items() if name in function.fields.names), None)
