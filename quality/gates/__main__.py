"""Lists the tables that gates look at, and the rules about each. `python -m quality.gates --help`."""

import sys
from collections.abc import Sequence

from quality.command import Parser, UsageError, command, say
from quality.gates.own import GateFileError, suites_with
from quality.gates.run import rule_name
from quality.gates.tables import TABLES


def main(argv: Sequence[str] | None = None) -> int:
    p = Parser(prog="python -m quality.gates", description="List the tables that gates look at, their columns, and the rules about them.")
    p.add_argument("--gates", metavar="FILE.py", action="append", default=[], help="your own rules, as pipelines.publish takes them")
    args = p.parse_args(argv)
    try:
        suites = suites_with(args.gates)
    except GateFileError as error:
        raise UsageError(str(error)) from error
    for name, table in TABLES.items():
        say(f"{name}: a row is {table.row}\n  columns: {', '.join(table.columns)}")
        for suite in suites:
            for rule in suite.rules if suite.table == name else ():
                bounds = [f"{word} {value}" for word in ("min_value", "max_value", "mostly") if (value := _bound(rule, word)) is not None]
                say(f"  {rule.severity.value:<9}{rule_name(rule)} ({', '.join([suite.name, *bounds])})")
    return 0


def _bound(rule: object, word: str) -> object:
    value = getattr(rule, word, None)
    return None if word == "mostly" and value == 1 else value


if __name__ == "__main__":
    sys.exit(command(main))
