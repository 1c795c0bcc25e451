"""Keeps a page's tables true: each block that begins with a command of ours holds what that command prints now.

python -m infra.page infra/SIZING.md
"""

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from infra import measured, sizing

COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], int]]] = {
    "python -m infra.sizing": sizing.main,
    "python -m infra.measured": measured.main,
}
_BLOCK: Final = re.compile(r"(?<=^```text\n)\$ (python -m \S+)([^\n]*)\n.*?(?=^```$)", re.MULTILINE | re.DOTALL)


def refreshed(page: str) -> str:
    """The page with the output of its commands of today. Raises KeyError for a command that is none of COMMANDS."""

    def block(found: re.Match[str]) -> str:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            COMMANDS[found[1]](shlex.split(found[2]))
        return f"$ {found[1]}{found[2]}\n{output.getvalue()}"

    return _BLOCK.sub(block, page)


def main() -> None:
    for path in map(Path, sys.argv[1:]):
        path.write_text(refreshed(path.read_text()))


if __name__ == "__main__":
    main()
