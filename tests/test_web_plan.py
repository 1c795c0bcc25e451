"""The plan of the small web: the same for the same sample, mostly healthy, with reasons that are ours."""

import csv
import hashlib
import shutil
from collections import Counter

import pytest

from schemas.reasons import check_reason
from tests.web import plan
from tests.web.plan import SAMPLE, Plan


@pytest.fixture(scope="module")
def full() -> Plan:
    return plan(SAMPLE)


def test_the_plan_is_the_same_for_the_same_sample_in_any_order(full, tmp_path):
    with (SAMPLE / "metadata.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    with (tmp_path / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(pairs[0]))
        writer.writeheader()
        writer.writerows(reversed(pairs))
    (tmp_path / "images").symlink_to(SAMPLE / "images")
    assert plan(tmp_path) == full


def test_most_of_the_web_is_healthy_and_every_pair_of_the_sample_is_there(full):
    share = {status: count / len(full.rows) for status, count in Counter(row.status for row in full.rows).items()}
    assert share["success"] >= 0.8
    faults = Counter(row.fault for row in full.rows)
    assert faults["slow"] / len(full.rows) == pytest.approx(0.05, abs=0.003)
    assert (faults["refusing_host"] + faults["silent_host"]) / len(full.rows) == pytest.approx(0.01, abs=0.002)
    with (SAMPLE / "metadata.csv").open(encoding="utf-8", newline="") as file:
        files = {pair["file_name"]: hashlib.sha256((SAMPLE / pair["file_name"]).read_bytes()).hexdigest() for pair in csv.DictReader(file)}
    assert files.items() <= {(row.file, row.sha256) for row in full.rows}


def test_every_reason_is_one_of_ours(full):
    reasons = {row.reason for row in full.rows}
    assert {"success", "source:no_url", "source:bad_url", "source:no_caption", "fetch:refused", "fetch:failed_to_resize"} <= reasons
    for reason in reasons - {"success"}:
        check_reason(reason)


def test_the_table_can_be_read(full):
    head, *lines = full.text().splitlines()
    assert head.split() == ["row", "fault", "status", "error", "decodes", "requests", "url", "what", "the", "server", "does"]
    assert len(lines) == len(full.rows)
    assert sum("  http_404  " in line for line in lines) >= 12


def test_a_sample_that_is_too_small_is_refused(tmp_path):
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    lines = (SAMPLE / "metadata.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "metadata.csv").write_text("".join(lines[:20]), encoding="utf-8")
    with pytest.raises(ValueError, match="has 19 pairs; the kinds take"):
        plan(tmp_path)
