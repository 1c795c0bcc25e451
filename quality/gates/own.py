"""A user's own gates: Python files that define SUITES, read and checked before any work is done."""

import importlib.util
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quality.gates.tables import TABLES


class GateFileError(Exception):
    """The file of gates cannot be used; the message says which file, what, where and what to do."""


def suites_with(paths: Sequence[str | Path]) -> list[Any]:
    """Our suites, then those of the files, in order; a rule with the class name of an earlier one about the same table takes its place.

    Imports Great Expectations (seconds). Raises GateFileError.
    """
    from quality.gates.suites import SUITES

    suites = list(SUITES)
    for path in paths:
        for suite in _read(Path(path)):
            added = []
            for rule in suite.rules:
                if not _put_in_place(suites, suite.table, rule):
                    added.append(rule)
            if added:
                suites.append(type(suite)(suite.name, suite.table, added))
    return suites


def _put_in_place(suites: Sequence[Any], table: str, rule: Any) -> bool:
    """Whether there was a rule of that name about that table. Lists of rules are replaced, not changed: ours are shared."""
    if type(rule).__module__.startswith("great_expectations."):
        return False
    for number, suite in enumerate(suites):
        names = [type(other).__name__ for other in suite.rules]
        if suite.table == table and type(rule).__name__ in names:
            rules = [rule if name == type(rule).__name__ else other for name, other in zip(names, suite.rules, strict=True)]
            suites[number] = type(suite)(suite.name, table, rules)  # type: ignore[index]
            return True
    return False


def _read(path: Path) -> list[Any]:
    if not path.is_file():
        raise GateFileError(f"--gates {path}: no such file; give the path of a Python file that defines SUITES")
    spec = importlib.util.spec_from_file_location(f"pigment_gates_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise GateFileError(f"--gates {path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise GateFileError(
            f"--gates {path}{_line_in(path, error)}: {type(error).__name__}: {_first_line(error)}; mend the file"
        ) from error
    suites = getattr(module, "SUITES", None)
    if not isinstance(suites, list | tuple) or not suites:
        raise GateFileError(f"--gates {path}: it must define SUITES, a list of quality.gates.suite.Suite")
    for number, suite in enumerate(suites, 1):
        _check(suite, f"--gates {path}: SUITES, item {number}")
    return list(suites)


def _first_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    return (str(error).strip().splitlines() or ["no message"])[0]


def _line_in(path: Path, error: BaseException) -> str:
    """`, line 7`: of the file itself, however deep the error arose."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return f", line {lines[-1]}" if lines else ""


def _check(suite: Any, where: str) -> None:
    from great_expectations.expectations.expectation import Expectation

    from quality.gates.suite import Suite

    if not isinstance(suite, Suite):
        raise GateFileError(f"{where}: must be a quality.gates.suite.Suite, got {type(suite).__name__}")
    if suite.table not in TABLES:
        raise GateFileError(f"{where} ({suite.name}): there is no table {suite.table!r}; there are {', '.join(TABLES)}")
    for rule in suite.rules:
        if not isinstance(rule, Expectation):
            shown = getattr(rule, "__name__", type(rule).__name__)
            raise GateFileError(f"{where} ({suite.name}): {shown} is no rule: write {shown}() of an expectation's class")
        if rule.severity.value not in ("critical", "warning"):
            raise GateFileError(f"{where}: {type(rule).__name__}: severity {rule.severity.value}: it must be critical or warning")
        for column in (getattr(rule, name, None) for name in ("column", "column_A", "column_B")):
            if column is not None and column not in TABLES[suite.table].columns:
                there = ", ".join(TABLES[suite.table].columns)
                raise GateFileError(f"{where}: {type(rule).__name__}: table {suite.table!r} has no column {column!r}; it has {there}")
