"""The command line of a job: our flags, Beam's flags, and nothing else. An unknown flag is refused, never dropped."""

import argparse
import difflib
import re
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.resources import MinRamHint

from quality.command import EXIT_BUG, EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, UsageError
from quality.command import Parser as CommandParser

__all__ = [
    "DIRECT_RUNNER", "EXIT_BUG", "EXIT_CODES", "EXIT_DEFERRED", "EXIT_DONE", "EXIT_FAILURES", "EXIT_GATE", "EXIT_INTERRUPTED", "EXIT_USAGE",
    "GATES_HELP", "Parser", "UsageError", "accelerator", "mapping", "memory", "pairs", "positive", "share", "size_in_bytes",
]  # fmt: skip

DIRECT_RUNNER = "DirectRunner"  # Beam's own, within this machine's processes
EXIT_GATE, EXIT_DEFERRED, EXIT_FAILURES = 1, 3, 4
GATES_HELP = "your own gates, a Python file that defines SUITES; can be given again (python -m quality.gates lists ours)"
EXIT_CODES = """exit codes:
  0 done   1 a critical gate failed   2 wrong use   3 units deferred: run the same command again
  4 more failed than --max_failure_rate allows   70 a bug   130 interrupted"""


class Parser(CommandParser):
    """A parser of our flags and Beam's."""

    def parse_with_beam(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """(our flags, flags for Beam); what follows a bare `--` goes to the runner unseen. Raises UsageError for an unknown flag."""
        argv, extra = list(argv), []
        if "--" in argv:
            place = argv.index("--")
            argv, extra = argv[:place], argv[place + 1 :]
        ours, rest = self.parse_known_args(argv)
        beams = _beam_parser()
        _, unknown = beams.parse_known_args(rest)
        if unknown:
            flag = unknown[0].partition("=")[0]
            known = [name for parser in (self, beams) for action in parser._actions for name in action.option_strings]
            near = difflib.get_close_matches(flag, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            if not flag.startswith("-"):
                hint = "; put values behind their flag, and quote patterns and names with spaces"
            raise UsageError(f"unknown flag {flag}{hint} (flags of a runner that Beam's Python SDK does not know go after a bare --)")
        return ours, rest + extra


def _beam_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="beam", add_help=False, conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)  # type: ignore[arg-type]  # any ArgumentParser will do
    return parser


def positive(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1")
    return value


def share(text: str) -> float:
    """A number above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def size_in_bytes(text: str) -> int:
    """Bytes, from "256MB", "1.5 GB", "50000"."""
    units = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
    number = text.strip().rstrip("BbKkMmGgIi ")
    unit = text.strip()[len(number) :].strip().lower()
    if unit not in units:
        raise argparse.ArgumentTypeError(f"{text} is no size; write 256MB or 1GB")
    return int(float(number) * units[unit])


def mapping(text: str) -> dict[str, str]:
    """`caption=TEXT,url=URL` as {"caption": "TEXT", "url": "URL"}."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not pairs or any(not name.strip() or not value.strip() for name, _, value in pairs):
        raise argparse.ArgumentTypeError(f"{text} is not like caption=TEXT,url=URL (ours=yours)")
    return {name.strip(): value.strip() for name, _, value in pairs}


def pairs(text: str) -> int:
    """A whole number from 1, also as 5e9."""
    value = float(text)
    if value < 1 or not value.is_integer():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1; write 1000000 or 5e9")
    return int(value)


ACCELERATOR = r"type:[a-z0-9-]+;count:[1-9][0-9]*(;install-nvidia-driver(:[0-9A-Za-z_.-]+)?)?"


def accelerator(text: str) -> str:
    """A resource hint of Beam, as Dataflow reads it: `type:NAME;count:N`, then perhaps `;install-nvidia-driver`."""
    if re.fullmatch(ACCELERATOR, text) is None:
        raise argparse.ArgumentTypeError(f"{text} is not like type:nvidia-tesla-t4;count:1;install-nvidia-driver")
    return text


def memory(text: str) -> str:
    """A size as Beam's resource hints take it: 16GB, 15GiB."""
    try:
        MinRamHint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no size; write 16GB or 15GiB") from error
    return text
