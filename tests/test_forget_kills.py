"""Kill -9 in mid-forget: the same command goes on, and ends in the same dataset as one that nobody killed."""

import json
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.forgetting.check import check_lines
from schemas.release import releases
from schemas.removals import removals
from tests.conftest import ROOT, SOAK
from tests.forgetting import Dataset, contents, left, make_dataset, write_ids

KILLS = 100 if SOAK else 6


class Driver:
    """Runs the command, and kills it after some seconds."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.forget_driver"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, root: Path, ids: Path, limit_s: float | None) -> tuple[int | None, float]:
        """(exit code, or None for one that was killed; seconds)."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(root), str(ids), limit_s]) + "\n")
        self._process.stdin.flush()
        code, seconds = json.loads(self._process.stdout.readline())
        return code, seconds

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.close()


def step_of(dataset: Dataset) -> str:
    """The step that a run was at, by what it has left."""
    store = dataset.pool.store
    if not (found := removals(store)):
        return "request"
    if found[0].done() is not None:
        return "done"
    there = releases(store)
    if all(release.notice() is not None for release in there if release.name in ("one", "two")):
        return "reviews"
    if len(there) > 2:
        return "releases"
    blocked = [commit for unit in dataset.pool.committed() if (commit := dataset.pool.raw_commit(unit)) and commit.statuses.get("blocked")]
    return "units" if blocked else "logs" if found[0].plan() is not None else "plan"


def rows_of_review(root: Path) -> dict[str, list[tuple]]:
    """All rows of the review's database, without times."""
    with closing(sqlite3.connect(root / "reviews/review.sqlite")) as database:
        tables = ("tasks", "seats", "skips", "journal")
        columns = {name: [f'"{row[1]}"' for row in database.execute(f"PRAGMA table_info({name})") if row[1] != "time"] for name in tables}
        return {name: database.execute(f"SELECT {', '.join(columns[name])} FROM {name} ORDER BY 1").fetchall() for name in tables}


def test_kills_at_any_moment_change_nothing_of_the_end(tmp_path, driver):
    """SIGKILL at seeded moments of what a whole run takes, again and again in one dataset until a run ends by itself."""
    whole = make_dataset(tmp_path / "whole" / "data")
    pair, moments = whole.of(0, 1), random.Random("forget")
    ids = write_ids(tmp_path / "ids.txt", [pair.url])
    ended = whole.copy(tmp_path / "ended")
    driver.run(whole.copy(tmp_path / "warm").root, ids, None)
    code, seconds = driver.run(ended.root, ids, None)
    assert code == 0 and left(ended, pair, whole.of(2, 3)) == [] and check_lines(ended.pool, None)[0] == 0
    end, reviewed = contents(ended.root), rows_of_review(ended.root)
    kills, chains, at = 0, 0, Counter[str]()
    while kills < KILLS:
        chains += 1
        dataset = whole.copy(tmp_path / str(chains))
        code = None
        while code is None:
            code, _ = driver.run(dataset.root, ids, moments.uniform(0, 0.9 * seconds) if kills < KILLS else None)
            if code is None:
                kills += 1
                at[step_of(dataset)] += 1
        assert code == 0
        found = contents(dataset.root)
        assert {name for name in end.keys() | found.keys() if end.get(name) != found.get(name)} == set(), f"chain {chains}, {kills} kills"
        assert rows_of_review(dataset.root) == reviewed
        assert not list(dataset.root.rglob("*#*"))
    print(f"{kills} kills in {chains} chains, at {dict(at)}; a whole run takes {seconds:.2f} s")
