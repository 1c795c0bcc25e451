"""The table of what the main job took on each engine, kept in infra/RUNNERS.md between two marks."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conftest import ROOT

PAGE: Final = ROOT / "infra" / "RUNNERS.md"
_BEGIN, _END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclass(frozen=True)
class Row:
    """One run. digest: SHA-256 over the names and bytes of all decisions and shards; it is the same in all rows, or a test has failed."""

    engine: str
    digest: str
    seconds: float
    peak_mb: float


taken: Final[list[Row]] = []


def table() -> str:
    """The table of what was taken, in Markdown."""
    lines = ["| engine | SHA-256 of decisions and shards | wall time | peak memory, all processes (PSS) |", "|---|---|---|---|"]
    lines += [f"| {row.engine} | `{row.digest[:16]}…` | {row.seconds:.0f} s | {row.peak_mb:,.0f} MB |" for row in taken]
    load = f"{os.cpu_count()} cores, {platform.machine()}; load average at the end {os.getloadavg()[1]:.1f}"
    return "\n".join([*lines, "", load])


def keep() -> None:
    """Puts the table in the place of the one before."""
    text = Path(PAGE).read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n{table()}\n{_END}{after}", "utf-8")
