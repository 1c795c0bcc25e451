"""Runs the gates of a release: Great Expectations as a library, in memory, over tables of metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from quality.gates.indexes import read_indexes
from quality.gates.metrics import release_metrics, sample_metrics, shard_metrics, unit_metrics
from schemas.pool import Pool
from schemas.release import Release

_NAMES_OF_ROWS: Final = {"units": "unit", "shards": "shard", "samples": "uid", "release": "rows_source"}
_SHOWN: Final = 3  # rows that a failed rule names


@dataclass(frozen=True)
class Outcome:
    """What a rule found. rule: its name in words. observed: number of rows that break it. message: says so, with the first of them."""

    suite: str
    rule: str
    severity: Literal["critical", "warning"]
    passed: bool
    observed: int
    message: str


@dataclass(frozen=True)
class GateResults:
    """Outcomes of all rules, in the order of the suites."""

    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Rules that do not hold, critical ones first."""
        return tuple(sorted((outcome for outcome in self.outcomes if not outcome.passed), key=lambda outcome: outcome.severity))

    @property
    def passed(self) -> bool:
        """Whether every critical rule holds."""
        return all(outcome.passed or outcome.severity != "critical" for outcome in self.outcomes)

    def text(self) -> str:
        """A summary: how many rules hold, and a line for each that does not."""
        held = sum(outcome.passed for outcome in self.outcomes)
        lines = [f"{held} of {len(self.outcomes)} rules hold"]
        lines += [f"  {outcome.severity}: {outcome.rule} ({outcome.suite}): {outcome.message}" for outcome in self.failed]
        return "\n".join(lines)


def run_gates(pool: Pool, release: Release, *, shards: int | None = None, suites: Sequence[Any] | None = None) -> GateResults:
    """Measures a release and checks it. shards: how many there ought to be (None: run.json says; else the highest number).

    suites: quality.gates.suites.Suite; None: all of ours.
    """
    if shards is None:
        shards = (release.run() or {}).get("shards")
    indexes = read_indexes(release, shards=shards)
    units = unit_metrics(pool, release, indexes)
    tables = {
        "units": units[units["state"] != "deferred"],
        "shards": shard_metrics(pool, release, indexes),
        "samples": sample_metrics(release, indexes),
        "release": release_metrics(units, indexes),
    }
    return check(tables, suites)


def check(tables: dict[str, pd.DataFrame], suites: Sequence[Any] | None = None) -> GateResults:
    """Applies suites to tables of metrics."""
    # Seconds of import, and needed by this function alone.
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig

    if suites is None:
        from quality.gates.suites import SUITES

        suites = SUITES
    # Nothing on disk, nothing on the net, nothing on the screen.
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    source = gx.get_context(mode="ephemeral", project_config=config).data_sources.add_pandas("release")
    outcomes = list[Outcome]()
    for suite in suites:
        asset = source.add_dataframe_asset(suite.name)
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": tables[suite.table]})
        named = _NAMES_OF_ROWS[suite.table]
        result = batch.validate(
            gx.ExpectationSuite(name=suite.name, expectations=suite.rules),
            result_format={"result_format": "SUMMARY", "unexpected_index_column_names": [named]},
        )
        place = {rule.expectation_type: number for number, rule in enumerate(suite.rules)}
        found = sorted(result.results, key=lambda one: place[one.expectation_config.type])  # type: ignore[union-attr]
        outcomes += [_outcome(suite.name, named, one) for one in found]
    return GateResults(tuple(outcomes))


def _outcome(suite: str, named: str, result: Any) -> Outcome:
    rule = result.expectation_config.type.replace("_", " ")
    severity = result.expectation_config.severity.value
    told = result.exception_info or {}
    if any(info.get("raised_exception") for info in (told, *told.values()) if isinstance(info, dict)):
        raise RuntimeError(f"gate {rule!r} could not be checked: {told}")
    broken = int(result.result.get("unexpected_count") or 0) or int(not result.success)
    return Outcome(suite, rule, severity, bool(result.success), 0 if result.success else broken, _message(named, result))


def _message(named: str, result: Any) -> str:
    if result.success:
        return "holds"
    rows = result.result.get("partial_unexpected_index_list") or []
    if not rows:
        return f"found {result.result.get('observed_value')}"
    shown = [
        f"{named} {_value(row.get(named))}: " + ", ".join(f"{name} {_value(value)}" for name, value in row.items() if name != named)
        for row in rows[:_SHOWN]
    ]
    count = result.result["unexpected_count"]
    return f"{count} of {result.result['element_count']} rows: " + "; ".join(shown) + ("; ..." if count > _SHOWN else "")


def _value(value: Any) -> str:
    if value is None or value != value:
        return "not measured"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
