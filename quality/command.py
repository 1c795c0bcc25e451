"""Manners of our command lines: defaults shown, nothing guessed, one clear line for a mistake."""

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from schemas.policy import PolicyError
from schemas.pool import Pool
from schemas.release import ReleaseError
from schemas.store import StoreError
from schemas.units import PoolError

EXIT_DONE, EXIT_USAGE, EXIT_BUG, EXIT_INTERRUPTED = 0, 2, 70, 130


class UsageError(Exception):
    """The command cannot be done as given; the message says what, where and what to do."""


class Parser(argparse.ArgumentParser):
    """An argparse parser that shows every default, never guesses abbreviations, and raises UsageError."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=Help, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\nTry: {self.prog} --help")


class Help(argparse.RawDescriptionHelpFormatter):
    """Text as it is written, and each default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        if action.default not in (None, argparse.SUPPRESS, False) and action.option_strings:
            text += " (default: %(default)s)"
        return text

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30, width=110)


def command(main: Callable[[], int]) -> int:
    """Runs a command line: a user's mistake becomes one line on stderr and exit code 2."""
    try:
        return main()
    except KeyboardInterrupt:
        complain("interrupted")
        return EXIT_INTERRUPTED
    except (UsageError, PolicyError, PoolError, ReleaseError, StoreError) as error:
        complain(f"error: {error}")
        return EXIT_USAGE
    except Exception:
        traceback.print_exc()
        complain("this is a bug of pigment")
        return EXIT_BUG


def pool_at(dataset: str) -> Pool:
    """The pool of a dataset that has something. Raises UsageError for any other folder, and makes none."""
    pool = Pool(dataset)
    if not pool.committed():
        raise UsageError(f"{dataset}: no dataset here; give the folder that python -m pipelines.ingest wrote as --dataset")
    return pool


def say(text: str) -> None:
    """A line for the screen."""
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> None:
    sys.stderr.write(f"pigment: {text}\n")
    sys.stderr.flush()


def this_python() -> str:
    """This interpreter as a person would type it here: below this folder by its path, else by its name."""
    path = Path(sys.executable)
    return as_typed(str(path)) if path.is_relative_to(Path.cwd()) else "python"


def as_typed(place: str) -> str:
    """A path, or URL, as a person would type it here."""
    return str(Path(place).relative_to(Path.cwd())) if Path(place).is_relative_to(Path.cwd()) else place
