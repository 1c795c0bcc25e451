"""Pages of which a part is generated: what stands between two marks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

BEGIN: Final = "<!-- generated: begin -->\n"
END: Final = "<!-- generated: end -->\n"


class PageError(Exception):
    """The page has no place for what is generated; the message says which and why."""


def with_generated(page: str, text: str, *, where: str) -> str:
    """The page with `text` between its marks; `where` begins the message. Raises PageError."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PageError(f"{where}: no place for what is generated; put the lines {BEGIN.strip()} and {END.strip()} where it belongs")
    return f"{before}{BEGIN}\n{text.strip()}\n\n{END}{after}"


def write_generated(path: str | Path, text: str) -> None:
    """Puts `text` between the marks of a file. Raises PageError."""
    path = Path(path)
    try:
        page = path.read_text("utf-8")
    except OSError as error:
        raise PageError(f"{path}: {error.strerror}") from error
    path.write_text(with_generated(page, text, where=str(path)), "utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; a bar within a cell is escaped."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
