"""`--retry_failed` through the main job, as a user types it: what came later is in the next release, and a killed round ends in the same pool."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.follow_ups import follow_up, planned_follow_ups
from schemas.pool import Pool
from schemas.release import Release, latest
from tests.conftest import ROOT, ingest
from tests.pipelines.fetching import Reply, Server, jpeg

FETCH = ("--allow_private_hosts", "--retries", "0", "--unit_size", "20", "--image_timeout", "20")
SCORE = ("--scorers", "embed,clip,image", "--engine", "onnxruntime-f32")
POLICY = 'name = "all"\n[[rule]]\ncolumn = "clip.similarity"\nscorer = "clip:pigment-embedded"\nmin = -1\nreason = "clip:low_similarity"\n'
ROWS = 60


class Web:
    """ROWS pictures. Every third is down, but for every ninth, which is gone; `held`: no answer for the last picture."""

    def __init__(self) -> None:
        self.down, self.held = True, False

    def __call__(self, path: str) -> Reply:
        row = int(path[1:])
        if row % 9 == 0:
            return Reply(404)
        if row == ROWS - 2 and self.held:
            return Reply(hang=True, told=9)
        return Reply(503) if self.down and row % 3 == 1 else Reply(body=jpeg(4 * row))


@pytest.fixture
def web() -> Iterator[Server]:
    with Server(Web()) as server:
        yield server


@pytest.fixture
def source(tmp_path: Path, web: Server) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("url,caption\n" + "".join(f"{web.url(f'/{row}')},a plain colour number {row}\n" for row in range(ROWS)))
    return path


def test_what_came_later_is_in_the_next_release(tmp_path, web, source):
    policy = tmp_path / "all.toml"
    policy.write_text(POLICY)
    flags = (
        "--dataset",
        tmp_path / "data",
        "--source",
        source,
        "--policy",
        policy,
        *FETCH,
        *SCORE,
        "--running_mode",
        "in_memory",
        "--json",
    )
    first = ingest(*flags)
    assert first.returncode == 0, first.stderr
    pool = Pool(tmp_path / "data")
    before = json.loads(first.stdout)["funnel"]
    assert (before["rows"], before["keep"], before["drop"]) == (ROWS, 33, 27)
    plan = ingest(*flags[:-1], "--retry_failed", "--plan")
    assert "retry      20 pairs failed in a way that can pass, and are asked for again\nrequests   about 20," in plan.stdout, plan.stderr
    web.replies.down = False
    second = ingest(*flags, "--retry_failed")
    assert second.returncode == 0, second.stderr
    assert "asked again for 20 pairs that had failed, of 3 units (round 1): 20 came" in second.stderr
    told = json.loads(second.stdout)
    assert (told["funnel"]["rows"], told["funnel"]["keep"], told["funnel"]["drop"]) == (ROWS, 53, 7) and told["balanced"]
    manifest = Release(pool.store, str(latest(pool.store))).manifest()
    assert manifest["counts"] == {"rows": ROWS, "keep": 53, "review": 0, "drop": 7, "deferred": 0}
    assert manifest["funnel"]["statuses"] == {"failed_to_download": 7, "success": 53} and manifest["release"] == told["release"]
    assert sum(unit["retried"] for unit in manifest["units"].values()) == 20
    third = ingest(*flags, "--retry_failed")
    assert "nothing to retry: no pair of a committed unit failed in a way that can pass" in third.stderr
    assert json.loads(third.stdout)["release"] == told["release"] and third.returncode == 0
    story = ingest("--dataset", tmp_path / "data", "--url", web.url("/1"), module="pipelines.explain")
    assert "earlier  failed_to_download: http_503" in story.stdout and "verdict    keep" in story.stdout, story.stderr
    assert "before     drop, because fetch:failed_to_download" in story.stdout
    for command in (("quality.report",), ("quality.report", "--against", json.loads(first.stdout)["release"]), ("quality.review", "tasks")):
        run = ingest(*command[1:], "--dataset", tmp_path / "data", module=command[0])
        assert run.returncode == 0, run.stderr


def test_a_round_that_was_killed_ends_in_the_same_pool(tmp_path, web, source):
    def flags(name: str) -> tuple:
        return (
            "--dataset",
            tmp_path / name,
            "--source",
            source,
            *FETCH,
            "--fetch_workers",
            "1",
            "--units_ahead",
            "1",
            "--stop_after",
            "fetch",
        )

    for name in ("whole", "killed"):
        assert ingest(*flags(name)).returncode == 0
    web.replies.down = False
    assert ingest(*flags("whole"), "--retry_failed").returncode == 0
    web.replies.held = True
    pool = Pool(tmp_path / "killed")
    command = [sys.executable, "-m", "pipelines.ingest", *map(str, flags("killed")), "--retry_failed"]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while len(pool.committed()) < 5 and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert len(pool.committed()) == 5 and len(planned_follow_ups(pool)) == 3, "killed while the last follow-up was being fetched"
    assert pool.settings("retries") == {"round": 1, "ended": False}
    web.replies.held = False
    assert ingest(*flags("killed"), "--retry_failed").returncode == 0
    whole = Pool(tmp_path / "whole")
    plans = [[follow_up(each, name) for name in planned_follow_ups(each)] for each in (whole, pool)]
    assert plans[0] == plans[1] and pool.settings("retries") == whole.settings("retries")
    commits = [{unit: each.raw_commit(unit) for unit in sorted(each.committed())} for each in (whole, pool)]
    assert commits[0] == commits[1] and len(commits[0]) == 6


def test_retrying_is_fetching(tmp_path):
    run = ingest("--dataset", tmp_path / "data", "--start_at", "score", "--retry_failed")
    assert run.returncode == 2 and "--retry_failed fetches again: leave --start_at score out" in run.stderr
