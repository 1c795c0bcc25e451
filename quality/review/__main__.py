"""`python -m quality.review COMMAND`: people's part of the decisions. Each command has its own --help."""

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from quality.command import EXIT_DONE, UsageError, command, say

# Name: module with main(argv) -> exit code, and what the command does. A module is imported when it is asked for.
COMMANDS: Final = {
    "tasks": ("quality.review.tasks", "make reviews/tasks.parquet: which pairs people are asked about"),
    "users": ("quality.review.users", "add, list and change accounts"),
    "serve": ("quality.review.serve", "the web application"),
    "export": ("quality.review.export", "write the standing answers to reviews/decisions.parquet"),
    "calibrate": ("quality.review.calibrate", "precision and recall of a rule from the answers; proposes a threshold"),
    "exchange": ("quality.review.exchange", "tasks out and answers in as CSV or for Label Studio"),
}
_EXTRA: Final = ("argon2", "fastapi", "jinja2", "pydantic", "sqlalchemy", "starlette", "uvicorn", "pg8000")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the named command with the rest of the arguments; returns its exit code."""
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        lines = [f"  {each:<12}{text}" for each, (_, text) in COMMANDS.items()]
        say("usage: python -m quality.review COMMAND …\n\n" + "\n".join(lines) + "\n\nTry: python -m quality.review COMMAND --help")
        return EXIT_DONE
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}; there are {', '.join(COMMANDS)}")
    try:
        module = importlib.import_module(COMMANDS[name][0])
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise UsageError(f"{name} needs {error.name}, which is not installed; pip install 'pigment[review]'") from error
    return module.main(rest)


if __name__ == "__main__":
    sys.exit(command(main))
