"""People's decisions through the main command: what the new release says, what it changes, and what stays as it was."""

import json

import pyarrow.compute as pc
import pytest

from quality.review.files import put_table, read_tasks
from schemas.pool import Pool
from schemas.release import Release
from schemas.reviews import ANSWERS_PATH, TASKS_PATH, task_of
from tests.answers import answers
from tests.browser import chromium
from tests.conftest import QUICK, digests, ingest, manifest_of
from tests.judging import at, judge, log_in, press, ready
from tests.reviews import PASSWORD, command, serving


def select(root, *flags):
    run = ingest("--dataset", root, "--start_at", "select", *QUICK[-2:], *flags)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def ledger(pool, release):
    return [
        row for of in Release(pool.store, release).decided() for row in Release(pool.store, release).read_decisions(of.unit).to_pylist()
    ]


@pytest.fixture
def decided(copied):
    """(dataset, its first release, a kept pair that has an exact twin, the twin, a pair that only its similarity drops)."""
    pool, parent = Pool(copied), manifest_of(copied)["release"]
    rows = ledger(pool, parent)
    twin = next(row for row in rows if row["reasons"] == ["duplicate:exact"])
    low = next(row["uid"] for row in rows if row["verdict"] == "drop" and row["reasons"] == ["clip:low_similarity"])
    put_table(
        pool.store,
        ANSWERS_PATH,
        answers((twin["duplicate_of"], "keep", "no"), (low, "clip:low_similarity", "no"), ("f" * 32, "keep", "no")),
    )
    return copied, parent, twin["duplicate_of"], twin["uid"], low


def test_a_release_with_decisions_differs_from_its_parent_by_them_and_their_twins(decided):
    root, parent, rejected, twin, low = decided
    pool, before = Pool(root), digests(root)
    said = select(root)
    manifest = manifest_of(root)
    assert manifest["parent"] == parent != manifest["release"]
    assert {key: manifest["reviews"][key] for key in ("settled", "pairs", "accepted")} == {"settled": 2, "pairs": 2, "accepted": 1}
    assert "people decided about 2 pairs: 1 rows accepted, " in said and "decisions about pairs that this pool does not have: 1" in said
    old, new = ledger(pool, parent), ledger(pool, manifest["release"])
    changed = {row["uid"]: (row["verdict"], row["reasons"]) for row, was in zip(new, old, strict=True) if row != was}
    assert changed.pop(rejected) == ("drop", ["review:rejected"]) and changed.pop(low) == ("keep", ["review:accepted"])
    same_as_rejected = {row["uid"] for row in old if row["duplicate_of"] == rejected}
    assert changed[twin] == ("keep", []) and set(changed) <= same_as_rejected
    assert "(already published: no gate was run again)" in select(root), "the same decisions, the same release"
    assert "already published" in select(root, "--reviews", "none") and f"Release {parent} " in select(root, "--reviews", "none")
    after = digests(root)
    assert select(root, "--release", "again", "--running_mode", "in_memory") and digests(root) == after != before


def test_from_log_in_in_a_browser_to_a_new_release(copied):
    """Log in, judge, undo, reveal, adjudicate, export, calibrate, select again: the release differs by just those pairs and their twins."""
    pool, parent = Pool(copied), manifest_of(copied)["release"]
    before = ledger(pool, parent)
    twin = next(row for row in before if row["reasons"] == ["duplicate:exact"])
    rejected = twin["duplicate_of"]
    low = next(row["uid"] for row in before if row["verdict"] == "drop" and row["reasons"] == ["clip:low_similarity"])
    run = command("tasks", "--dataset", copied, "--kept", "1", "--dropped", "1", "--overlap", "0")
    assert run.returncode == 0, run.stdout + run.stderr
    asked = read_tasks(pool.store)
    two = (task_of(rejected, "keep"), task_of(low, "clip:low_similarity"))
    others = [one for one in asked["task"].to_pylist() if one not in two][:6]
    asked = asked.filter(pc.is_in(asked["task"], pc.cast([*two, *others], "string")))
    put_table(pool.store, TASKS_PATH, asked.set_column(asked.schema.get_field_index("overlap"), "overlap", pc.add(asked["overlap"], 1)))
    rows = {row["task"]: row for row in asked.to_pylist()}
    assert set(two) <= set(rows) and len(rows) == 8
    for name, role in (("ann", "annotator"), ("ben", "annotator"), ("lead", "lead")):
        assert command("users", "add", name, "--role", role, "--dataset", copied, stdin=PASSWORD).returncode == 0

    def key(one, rejects):
        """Both say yes to all, but no to the reason of the second of the two; about the first they disagree."""
        return "n" if one == two[1] or (one == two[0] and rejects) else "y"

    with chromium() as browser, serving(copied, "--overlap_share", "0") as server:
        ann, ben, lead = (log_in(browser, server, name) for name in ("ann", "ben", "lead"))
        ready(ann)
        first = at(ann)
        judge(ann, "u", rows)
        press(ann, "z")  # what was answered wrongly is taken back
        assert at(ann) == first
        ready(ann)
        ann.keyboard.down(" ")
        ann.wait_for_selector("#image[data-sharp='1']")
        ann.keyboard.up(" ")
        for person, rejects in ((ann, False), (ben, True)):
            for _ in rows:
                ready(person)
                judge(person, key(at(person), rejects), rows)
        lead.goto(f"{server.url}/lead/conflicts")
        assert lead.locator("tbody tr").count() == 1
        lead.click("tbody tr:first-child a")
        lead.check("input[name=answer][value=no]")
        lead.check("input[name=reasons][value='image:blurred']")
        lead.click("button.main")
        lead.wait_for_url("**/lead/conflicts")
        lead.goto(f"{server.url}/lead")
        lead.click("text=Export decisions")
        lead.wait_for_selector(".notice")
        assert ann.problems == ben.problems == lead.problems == []
    run = command("calibrate", "--dataset", copied, "--column", "clip.similarity", "--rule", "15", "--target_precision", "0.1", "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    select(copied)
    manifest = manifest_of(copied)
    assert manifest["parent"] == parent != manifest["release"] and json.loads(run.stdout)["labels"]["direct"] > 0
    after = ledger(pool, manifest["release"])
    changed = {row["uid"]: (row["verdict"], row["reasons"]) for row, was in zip(after, before, strict=True) if row != was}
    assert changed.pop(rejected) == ("drop", ["review:rejected"]) and changed.pop(low) == ("keep", ["review:accepted"])
    assert changed[twin["uid"]] == ("keep", [])
    kept = {rows[one]["uid"]: rows[one]["question"] == "keep" for one in others}  # yes to a reason of theirs: not to be kept
    for uid, wanted in kept.items():
        verdict, reasons = changed.pop(uid)
        assert verdict == ("keep" if wanted else "drop") and ("review:accepted" if wanted else "review:rejected") in reasons
    judged = {row["uid"] for row in rows.values()}
    assert set(changed) <= {row["uid"] for row in (*before, *after) if row["duplicate_of"] in judged}, "the twins, and nobody else"


def test_what_if_takes_decisions_and_writes_nothing(decided):
    root, parent, *_ = decided
    files = {path: path.stat().st_mtime_ns for path in root.rglob("*") if "logs" not in path.parts}
    said = select(root, "--what_if")
    assert "review:accepted" in said and "review:rejected" in said and f"now: release {parent}" in said
    assert "review:accepted" not in select(root, "--what_if", "--reviews", "none")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if "logs" not in path.parts} == files


def test_kept_ids_follow_the_decisions(decided, tmp_path):
    root, _, rejected, twin, low = decided
    select(root)
    run = ingest("--dataset", root, "--out", tmp_path / "kept.txt", module="pipelines.export_ids")
    assert run.returncode == 0, run.stderr
    kept = set((tmp_path / "kept.txt").read_text().split())
    assert {twin, low} <= kept and rejected not in kept
