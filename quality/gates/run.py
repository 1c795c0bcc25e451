"""Runs the gates of a release: Great Expectations as a library, in memory, over tables of metrics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from quality.gates.tables import TABLES, Table, TableInfo, measure
from schemas.pool import Pool
from schemas.release import Release

_SHOWN: Final = 3  # rows that a failed rule names


@dataclass(frozen=True)
class Outcome:
    """What a rule found. rule: its name in words. passed: None when there was nothing to measure, which is neither.

    observed: number of rows that break it. message: "holds", why it was not measured, or how many rows break it, with the first of them.
    """

    suite: str
    rule: str
    severity: Literal["critical", "warning"]
    passed: bool | None
    observed: int
    message: str


@dataclass(frozen=True)
class GateResults:
    """Outcomes of all rules, in the order of the suites."""

    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Rules that do not hold, critical ones first."""
        return tuple(sorted((outcome for outcome in self.outcomes if outcome.passed is False), key=lambda outcome: outcome.severity))

    @property
    def passed(self) -> bool:
        """Whether no critical rule is broken."""
        return not any(outcome.severity == "critical" for outcome in self.failed)

    def as_dict(self) -> dict[str, Any]:
        """What gates.json holds: {"passed": bool, "outcomes": [an Outcome's fields, ...]}."""
        return {"passed": self.passed, "outcomes": [asdict(outcome) for outcome in self.outcomes]}

    def text(self) -> str:
        """A summary: how many rules hold, a line for each that does not, and a line for each cause of not being measured."""
        held = sum(outcome.passed is True for outcome in self.outcomes)
        lines = [f"{held} of {len(self.outcomes)} rules hold"]
        lines += [f"  {line_of(outcome)}" for outcome in self.failed]
        causes = Counter(outcome.message for outcome in self.outcomes if outcome.passed is None)
        lines += [f"  {count} {'rules' if count > 1 else 'rule'} {cause}" for cause, count in causes.items()]
        return "\n".join(lines)


def line_of(outcome: Outcome) -> str:
    """A failed rule in a line."""
    return f"{outcome.severity}: {outcome.rule} ({outcome.suite}): {outcome.message}"


def run_gates(pool: Pool, release: Release, *, shards: int | None = None, suites: Sequence[Any] | None = None) -> GateResults:
    """Measures a release and checks it. shards: how many there ought to be (None: run.json says; else the highest number).

    suites: quality.gates.suite.Suite; None: all of ours.
    """
    if shards is None:
        shards = (release.run() or {}).get("shards")
    return check(measure(pool, release, shards=shards), suites)


def check(tables: Mapping[str, Table], suites: Sequence[Any] | None = None) -> GateResults:
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
    for number, suite in enumerate(suites):
        table, info = tables[suite.table], TABLES[suite.table]
        if table.rows is None or table.rows.empty:
            why = f"not measured: {table.why or 'there is no ' + info.row.removeprefix('a ')}"
            outcomes += [Outcome(suite.name, rule_name(rule), _severity(rule), None, 0, why) for rule in suite.rules]
            continue
        # Rules come back in another order, and two may be of one class: their place goes along.
        rules = [rule.copy(update={"meta": {"place": place}}) for place, rule in enumerate(suite.rules)]
        batch = source.add_dataframe_asset(str(number)).add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table.rows})
        result = batch.validate(
            gx.ExpectationSuite(name=suite.name, expectations=rules),
            result_format={"result_format": "SUMMARY", "unexpected_index_column_names": list(info.named)},
        )
        found = {one.expectation_config.meta["place"]: one for one in result.results}  # type: ignore[union-attr]
        outcomes += [_outcome(suite.name, info, table, rule, found[place]) for place, rule in enumerate(suite.rules)]
    return GateResults(tuple(outcomes))


def rule_name(rule: Any) -> str:
    """The class's name in words; of an expectation that is none of ours or the user's, the column too, since it alone says little."""
    words = rule.expectation_type.replace("_", " ")
    if type(rule).__module__.startswith("great_expectations."):
        columns = [getattr(rule, name) for name in ("column", "column_A", "column_B") if getattr(rule, name, None)]
        words += f" ({', '.join(columns)})" if columns else ""
    return words


def _severity(rule: Any) -> Literal["critical", "warning"]:
    return "critical" if rule.severity.value == "critical" else "warning"


def _outcome(suite: str, info: TableInfo, table: Table, rule: Any, result: Any) -> Outcome:
    name, severity, found = rule_name(rule), _severity(rule), result.result
    told = result.exception_info or {}
    if any(info.get("raised_exception") for info in (told, *told.values()) if isinstance(info, dict)):
        raise RuntimeError(f"gate {name!r} could not be checked: {told}")
    if result.success:
        if found.get("element_count") and found.get("missing_count") == found["element_count"]:
            column = rule.column
            why = (table.why_null or {}).get(column, f"{column} is null in every row")
            return Outcome(suite, name, severity, None, 0, f"not measured: {why}")
        if info.every and found.get("missing_count"):
            assert table.rows is not None
            without = table.rows.loc[table.rows[rule.column].isna(), info.named[0]]
            return Outcome(suite, name, severity, None, 0, f"not measured: {rule.column} is null for {', '.join(map(str, without))}")
        return Outcome(suite, name, severity, True, 0, "holds")
    return Outcome(suite, name, severity, False, int(found.get("unexpected_count") or 0) or 1, _message(info, found))


def _message(info: TableInfo, found: Mapping[str, Any]) -> str:
    rows = found.get("partial_unexpected_index_list") or []
    if not rows:
        return f"found {_value(found.get('observed_value'))}"
    shown = []
    for row in rows[:_SHOWN]:
        place = ", ".join(
            f"{name} {_value(row[name])}" for name in info.named if row.get(name) == row.get(name) and row.get(name) is not None
        )
        shown.append(f"{place}: " + ", ".join(f"{name} {_value(value)}" for name, value in row.items() if name not in info.named))
    count = found["unexpected_count"]
    return f"{count} of {found['element_count']} rows: " + "; ".join(shown) + ("; ..." if count > _SHOWN else "")


def _value(value: Any) -> str:
    if value is None or value != value:
        return "not measured"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
