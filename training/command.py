"""What the commands of training share: mistakes that a user can mend, numbers on a command line, and silence of the libraries below."""

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Final

from schemas.release import ReleaseError
from schemas.store import StoreError

EXIT_DONE, EXIT_USAGE, EXIT_INTERRUPTED = 0, 2, 130


class Mistake(Exception):
    """Something that the user can mend; the message says what was wrong, where, and what to do."""


MISTAKES: Final = (Mistake, ReleaseError, StoreError, OSError)  # become one line and exit code 2; anything else is a bug and shows where


def say(text: str, code: int = EXIT_DONE) -> int:
    """A line on standard error; returns `code`."""
    sys.stderr.write(f"pigment: {text}\n")
    sys.stderr.flush()
    return code


def count(text: str) -> int:
    """argparse's type of a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def quieten() -> None:
    """Leaves away bars, warnings and news of diffusers and transformers, which are for those who wrote a checkpoint's configuration."""
    import diffusers
    import transformers

    warnings.filterwarnings("ignore", category=FutureWarning, module="diffusers")  # of a parameter's new name, which older ones lack
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def replace(path: Path, data: bytes | str) -> None:
    """Writes the file whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(data.encode() if isinstance(data, str) else data)
    os.replace(partial, path)
