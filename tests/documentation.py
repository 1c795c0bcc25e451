"""The pages beside the code, and the commands in them."""

import argparse
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from pipelines.options import Parser
from tests.conftest import ROOT
from tests.follower import module_of

COMMANDS = ("bash", "sh", "console")
PYTHON = (".venv/bin/python", "python", "python3")
OTHERS = (
    "cd",
    "cp",
    "export",
    "gcloud",
    "terraform",
    "java",
    "docker",
    "kubectl",
    "cat",
    "git",
    "printf",
    "REPOSITORY",
    "img2dataset",
    "out()",
)

_SUBSTITUTED = re.compile(r"\$\([^)]*\)")  # a value that another command gives
_FLAGS = re.compile(r"(?<!\S)\$\([^)]*\)(?!\S)")  # unquoted and alone: flags that another command gives


@dataclass(frozen=True)
class Block:
    """A fenced block: language, the file it is to be written to (```toml red.toml), text, and the first line's number."""

    page: Path
    line: int
    language: str
    file: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line of a block of commands: `words` without assignments before it, and without its comment."""

    page: Path
    line: int
    text: str
    words: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def module(self) -> str | None:
        """Of `python -m module`, also behind `accelerate launch`."""
        ours = self.words[0] in PYTHON or self.words[0].endswith("accelerate")
        return self.words[self.words.index("-m") + 1] if ours and "-m" in self.words else None

    @property
    def arguments(self) -> list[str]:
        return [word for word in self.words[self.words.index("-m") + 2 :] if word != "…"]

    def value(self, flag: str) -> str | None:
        return self.words[self.words.index(flag) + 1] if flag in self.words else None


def pages() -> list[Path]:
    """Every page that git knows or will, but for papers of models and of data."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(ROOT / name for name in names)


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = page.read_text("utf-8").splitlines()
    number = 0
    while number < len(lines):
        if lines[number].startswith("```"):
            language, _, file = lines[number].removeprefix("```").partition(" ")
            end = lines.index("```", number + 1)
            yield Block(page, number + 2, language, file, "\n".join(lines[number + 1 : end]) + "\n")
            number = end
        number += 1


def commands(block: Block) -> Iterator[Command]:
    """Of a block of commands, each with its lines joined; what stands between <<'EOF' and EOF is a file's text."""
    lines, number = block.text.splitlines(), 0
    while number < len(lines):
        first, text = number, lines[number]
        while text.endswith("\\"):
            number += 1
            text = text[:-1] + lines[number]
        if "<<'EOF'" in text:
            number = lines.index("EOF", number)
        number += 1
        for part in re.split(r" && ", text.removeprefix("$ ")):
            words = shlex.split(_SUBSTITUTED.sub("VALUE", _FLAGS.sub("", part)), comments=True)
            environment = {}
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                name, _, value = words.pop(0).partition("=")
                environment[name] = value
            if words:
                yield Command(block.page, block.line + first, part, tuple(words), environment)


class Parsed(Exception):
    """The real parser took the arguments."""


def check_flags(command: Command) -> None:
    """Gives a command's arguments to the parser of its module, which ends there. Raises what the parser raises of an unknown flag or a bad value."""
    assert command.module is not None
    check_arguments(command.module, command.arguments)


def check_arguments(module: str, arguments: Sequence[str]) -> None:
    source = ROOT / (module_of(module).replace(".", "/") + ".py")
    if not re.search(r"(?m)^(def main\(|from .* import .*\bmain\b)", source.read_text("utf-8")):
        assert not arguments, f"{module} takes no arguments"
        return
    loaded = importlib.import_module(module_of(module))
    if module == "training.compare":  # what it does not know goes to training.finetune
        _, arguments = loaded.parser().parse_known_args(list(arguments))
        module, loaded = "training.finetune", importlib.import_module("training.finetune")
    real, beams = argparse.ArgumentParser.parse_args, Parser.parse_with_beam

    def stopping(self, args=None, namespace=None):
        real(self, args, namespace)
        raise Parsed

    def stopping_with_beam(self, argv):
        beams(self, argv)
        raise Parsed

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", stopping),
        mock.patch.object(Parser, "parse_with_beam", stopping_with_beam),
    ):
        try:
            loaded.main(list(arguments))
        except Parsed:
            return
        raise AssertionError(f"{module} does not read its arguments by a parser")
