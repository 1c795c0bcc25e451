"""The progress line, from what stands in the pool."""

import io
import time
from pathlib import Path

from pipelines.progress import PairsTold, Progress, Took, duration
from schemas.follow_ups import FollowUp, put_follow_up
from schemas.pool import Pool
from schemas.units import SourceFile
from tests.pools import FILE, PASS, make_pool, unit


def progress(pool: Pool, *, pass_name: str | None = PASS.name) -> Progress:
    return Progress(pool, pass_name=pass_name, release=None, out=io.StringIO())


def planned(root: Path, units: int) -> Pool:
    """A pool of units of two pairs, of which make_pool's are done."""
    pool = make_pool(root, [[{}, {"status": "failed_to_download"}], [{}, {}]])
    pool.store.delete(f"pool/files/{FILE}.json")
    starts = tuple(range(0, 2 * units, 2))
    pool.put_file(SourceFile(FILE, str(root), "pairs.csv", "rows", 1, "digest", 2 * units, 2, starts, starts))
    return pool


def test_fetching_names_what_is_scored_meanwhile_and_what_failed(tmp_path):
    pool = planned(tmp_path, 3)
    assert progress(pool).line() == "fetch   2/3 units  2 scored  4/6 pairs  failed_to_download 25.0%"
    pool.store.delete(f"pool/scores/{PASS.name}/{unit(1)}.parquet")
    assert progress(pool).line() == "fetch   2/3 units  1 scored  4/6 pairs  failed_to_download 25.0%"
    assert progress(pool, pass_name=None).line() == "fetch   2/3 units  4/6 pairs  failed_to_download 25.0%"


def test_scoring_goes_on_when_all_is_fetched(tmp_path):
    pool = planned(tmp_path, 2)
    pool.store.delete(f"pool/scores/{PASS.name}/{unit(0)}.parquet")
    assert progress(pool).line() == "score   1/2 units  2/4 pairs  failed_to_download 25.0%"


def test_follow_ups_count_and_their_plans_are_read_once(tmp_path):
    pool = planned(tmp_path, 2)
    shown = progress(pool)
    put_follow_up(pool, FollowUp(f"{unit(0)}.r1", unit(0), 1, (1,)))
    assert shown.line() == "fetch   2/3 units  2 scored  4/5 pairs  failed_to_download 25.0%"
    pool.store.put(f"pool/retries/{unit(0)}.r1.json", b"not read again")
    put_follow_up(pool, FollowUp(f"{unit(1)}.r1", unit(1), 1, (0, 1)))
    assert shown.line() == "fetch   2/4 units  2 scored  4/7 pairs  failed_to_download 25.0%"


def test_nothing_is_planned_yet(tmp_path):
    assert progress(Pool(tmp_path)).line() == "read    counting the source's rows"


def test_what_a_step_took_is_told_unless_it_did_nothing():
    took = Took()
    for name, pairs in (("fetch and score", 120), ("select", 0)):
        with took.step(name, lambda pairs=pairs: pairs):
            pass
    assert took.steps == {"fetch and score": {"seconds": 0.0, "pairs": 120}}


def test_durations_read_as_people_say_them():
    assert [duration(seconds) for seconds in (0.4, 59.4, 60, 185, 7800)] == ["0 s", "59 s", "1 min 00 s", "3 min 05 s", "2 h 10 min"]


def test_pairs_of_one_process_are_told_now_and_then(monkeypatch):
    out, clock = io.StringIO(), iter([0.0, 4.0, 15.0, 16.0, 40.0])
    monkeypatch.setattr("pipelines.progress.say", lambda text: out.write(text + "\n"))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    told = PairsTold("export", 1_000)
    for _ in range(3):
        told(250)
    assert out.getvalue() == "export  500/1,000 pairs  33 pairs/s  15 s left\n"
    told(250)
    assert out.getvalue().count("\n") == 1, "the end is told by the summary"
