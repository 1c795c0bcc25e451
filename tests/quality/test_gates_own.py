"""A user's file of gates: what it adds, what it replaces, and one clear line for each mistake."""

from pathlib import Path

import pandas as pd
import pytest

from quality.gates import GateFileError, suites_with
from quality.gates.__main__ import main
from quality.gates.run import check, rule_name
from quality.gates.suites import SUITES
from quality.gates.tables import RELEASE_COLUMNS, TABLES, Table

HEAD = """
import great_expectations.expectations as gxe
from great_expectations.expectations.metadata_types import FailureSeverity
from quality.gates import bounds
from quality.gates.suite import Stop, Suite, Warn
"""


def written(folder: Path, text: str, name: str = "own.py") -> Path:
    path = folder / name
    path.write_text(HEAD + text, "utf-8")
    return path


def rules(suites) -> dict[str, tuple[str, object]]:
    return {
        f"{suite.name}: {rule_name(rule)}": (rule.severity.value, getattr(rule, "max_value", None))
        for suite in suites
        for rule in suite.rules
    }


def test_the_example_of_the_docstring(tmp_path):
    import quality.gates

    example = quality.gates.__doc__.split("    from great", 1)[1].split("\n`python")[0]
    path = tmp_path / "own.py"
    path.write_text("from great" + "\n".join(line.removeprefix("    ") for line in example.splitlines()), "utf-8")
    ours, theirs = rules(SUITES), rules(suites_with([path]))
    assert theirs.items() - ours.items() == {
        ("our volume: at least a thousand pairs are kept", ("critical", None)),
        ("against the parent: kept share stays near the parents", ("critical", 0.05)),
        ("failure rates: most new units are fetched", ("warning", 0.95)),
    }
    assert len(theirs) == len(ours) + 1 and rules(SUITES) == ours, "ours are as they were"


def test_the_last_of_several_files_decides(tmp_path):
    text = 'SUITES = [Suite("o", "reasons", [bounds.NoReasonTakesAlmostAllPairs(max_value={})])]'
    paths = [written(tmp_path, text.format(bound), f"{bound}.py") for bound in (0.5, 0.4)]
    assert rules(suites_with(paths))["funnel: no reason takes almost all pairs"] == ("warning", 0.4)


def test_expectations_of_great_expectations_may_come_several_times(tmp_path):
    path = written(
        tmp_path,
        """
SUITES = [Suite("plain", "release", [
    gxe.ExpectColumnValuesToBeBetween(column="keep", min_value=10),
    gxe.ExpectColumnValuesToBeBetween(column="drop", max_value=10, severity=FailureSeverity.WARNING),
])]
""",
    )
    row = pd.DataFrame([{**dict.fromkeys(RELEASE_COLUMNS, 0), "keep": 9, "drop": 10}])
    kept, dropped = check({"release": Table(row)}, suites_with([path])[-1:]).outcomes
    assert (kept.rule, kept.passed, kept.message) == (
        "expect column values to be between (keep)",
        False,
        "1 of 1 rows: rows_source 0: keep 9",
    )
    assert (dropped.rule, dropped.passed, dropped.severity) == ("expect column values to be between (drop)", True, "warning")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it must define SUITES, a list of quality.gates.suite.Suite"),
        ("SUITES = []", "it must define SUITES"),
        ("SUITES = 3", "it must define SUITES"),
        ("SUITES = [3]", "SUITES, item 1: must be a quality.gates.suite.Suite, got int"),
        ("SUITES = [", ", line 6: SyntaxError: '[' was never closed; mend the file"),
        ("\nimport no_such_package", ", line 7: ModuleNotFoundError: No module named 'no_such_package'; mend the file"),
        ("raise SystemExit(0)", ", line 6: SystemExit: 0; mend the file"),
        ("raise ValueError", ", line 6: ValueError: no message; mend the file"),
        ('SUITES = [Suite("a", "unit", [])]', "item 1 (a): there is no table 'unit'; there are units, scores of units, "),
        ('SUITES = [Suite("a", "units", [bounds.SomethingIsKept])]', "SomethingIsKept is no rule: write SomethingIsKept() of"),
        (
            'SUITES = [Suite("a", "parent", [bounds.KeptShareStaysNearTheParents(column="keptshare")])]',
            "has no column 'keptshare'; it has parent,",
        ),
        (
            'SUITES = [Suite("a", "release", [bounds.SomethingIsKept(severity=FailureSeverity.INFO)])]',
            "severity info: it must be critical or",
        ),
        ('SUITES = [Suite("a", "release", [bounds.SomethingIsKept(min_value="many")])]', ", line 6: "),
    ],
)
def test_mistakes(tmp_path, text, told):
    path = written(tmp_path, text)
    with pytest.raises(GateFileError) as raised:
        suites_with([path])
    message = str(raised.value)
    assert message.startswith(f"--gates {path}") and told in message and "\n" not in message, message


def test_a_file_that_is_no_python(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("a = 1", "utf-8")
    with pytest.raises(GateFileError, match=r"its name must end in \.py"):
        suites_with([path])


def test_the_list_of_rules(capsys, tmp_path):
    path = written(tmp_path, 'SUITES = [Suite("o", "hosts", [bounds.NoHostGivesMostFailures(max_value=0.7)])]')
    assert main(["--gates", str(path)]) == 0
    told = capsys.readouterr().out
    assert all(f"{name}: a row is {table.row}" in told and ", ".join(table.columns) in told for name, table in TABLES.items())
    assert "  warning  no host gives most failures (failure rates, max_value 0.7)" in told
    assert all(rule_name(rule) in told for suite in SUITES for rule in suite.rules)
