"""`make test-runners`: the main job on every engine, then kills, crashes and errors; the last line is `N passed, N failed`.

python -m tests.infra [--keep] [more for pytest]     --keep: the table goes to infra/RUNNERS.md, too
"""

import os
import sys
from collections import Counter

os.environ["PIGMENT_RUNNER_TESTS"] = "1"

import pytest

from tests.infra import figures

TESTS = [f"tests/infra/test_{name}.py" for name in ("same_bytes", "engine", "engine_kills")]


class Counting:
    """Each test by how it ended."""

    def __init__(self) -> None:
        self.ended = Counter[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.when == "call" and report.passed) or report.skipped:
            self.ended[report.outcome] += 1


def main(argv: list[str]) -> int:
    counting = Counting()
    keeps = "--keep" in argv
    code = pytest.main(["-v", *TESTS, *[word for word in argv if word != "--keep"]], plugins=[counting])
    failed = counting.ended["failed"] + counting.ended["skipped"]  # here an engine that is not there is a failure
    lines = [*(["", figures.table(), ""] if figures.taken else []), f"{counting.ended['passed']} passed, {failed} failed"]
    if keeps and code == 0 and not failed:
        figures.keep()
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if code == 0 and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
