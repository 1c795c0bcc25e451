"""Rules with a bound: each is broken by an accident that is really in the files, says which unit, shard or column, and stops or warns."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.publish import publish
from quality.gates import GateResults, Outcome
from quality.gates.kept import LEGAL_COLUMNS
from quality.gates.run import check, rule_name, run_gates
from quality.gates.suites import SUITES
from quality.gates.tables import TABLES, Table, measure
from schemas.policy import parse_policy
from schemas.pool import Pool
from schemas.release import Release
from tests.damage import put, put_all, rewrite_decisions, rewrite_index, rewrite_raw, rewrite_scores
from tests.pools import PASS, unit
from tests.releases import SHARDS, make_release

UNITS, ROWS = 9, 48  # of 48 pairs of a unit 24 are kept, 4 for review, 4 dropped, 16 not found
POLICY = parse_policy(
    """
name = "test"
[[rule]]
column = "clip.similarity"
min = 0.1
reason = "clip:low_similarity"
overrule = false
""",
    where="test",
)
Damage = Callable[[Pool, Release], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with a published release `one` and its child `two`: the same pairs by the same policy, not yet published."""
    folder = tmp_path_factory.mktemp("sound")
    pool, parent = make_release(folder, units=UNITS, rows=ROWS)
    run = {**(parent.run() or {}), "policy": POLICY.as_dict(), "policy_digest": POLICY.digest}
    parent.put_run(run)
    publish(pool, parent, gates=lambda *_: GateResults(()))
    root = Path(pool.store.root)
    for part in ("decisions", "shards"):
        shutil.copytree(root / parent.path / part, root / "releases" / "two" / part)
    Release(pool.store, "two").put_run({**run, "parent": "one"})
    return root


@pytest.fixture
def child(sound: Path, tmp_path: Path) -> tuple[Pool, Release]:
    pool = Pool(shutil.copytree(sound, tmp_path / "data"))
    return pool, Release(pool.store, "two")


def outcomes(pool: Pool, release: Release, *rules: str) -> list[Outcome]:
    """What these rules found, each in its suite."""
    suites = [suite for suite in SUITES if {rule_name(rule) for rule in suite.rules} & {*rules}]
    found = {outcome.rule: outcome for outcome in check(measure(pool, release, shards=SHARDS), suites).outcomes}
    return [found[rule] for rule in rules]


def test_a_sound_child_breaks_no_rule_and_leaves_few_unmeasured(child):
    results = run_gates(*child)
    assert results.failed == ()
    assert {outcome.message for outcome in results.outcomes if outcome.passed is None} == {
        "not measured: no pair lacks a measure of a scorer",
        "not measured: no host failed 30 times and more often than not",
        "not measured: no new unit has 30 pairs",
    }


def no_parent(release: Release) -> None:
    release.put_run({**(release.run() or {}), "parent": None})


# ---- accidents of a night


def not_fetched(pool: Pool, units: range, rows: int = ROWS) -> None:
    for chunk in units:
        rewrite_raw(
            pool,
            unit(chunk),
            lambda table: put_all(table, "status", ["failed_to_download"] * rows + table["status"].to_pylist()[rows:]),
        )


def half_the_units(pool: Pool, release: Release) -> None:
    no_parent(release)
    not_fetched(pool, range(4, 9))


def one_unit(pool: Pool, release: Release) -> None:
    no_parent(release)
    not_fetched(pool, range(4, 5))


def all_units(pool: Pool, release: Release) -> None:
    not_fetched(pool, range(9))


def most_of_every_unit(pool: Pool, release: Release) -> None:
    not_fetched(pool, range(9), rows=30)


def one_host(pool: Pool, release: Release) -> None:
    """All failures of the other hosts come back; unit 4's host is dead."""
    for chunk in range(9):
        status, host = ("failed_to_download", "Dead.test") if chunk == 4 else ("success", "up.test")
        rewrite_raw(
            pool,
            unit(chunk),
            lambda table, status=status, host=host: put_all(
                put_all(table, "status", [status] * ROWS), "url", [f"https://me@{host}:8080/{row}?a=b" for row in range(ROWS)]
            ),
        )


def scores_of(chunk: int, value: float | None, rows: int = 2) -> Damage:
    def damage(pool: Pool, release: Release) -> None:
        rewrite_scores(
            pool,
            unit(chunk),
            lambda table: put_all(table, "clip.similarity", [value] * rows + table["clip.similarity"].to_pylist()[rows:]),
        )

    return damage


def one_score(pool: Pool, release: Release) -> None:
    for chunk in range(9):
        scores_of(chunk, 0.25, ROWS)(pool, release)


def cut_scores(pool: Pool, release: Release) -> None:
    os.truncate(pool.store.path_of(f"pool/scores/{PASS.name}/{unit(3)}.parquet"), 700)


def fewer_columns_of_scores(pool: Pool, release: Release) -> None:
    rewrite_scores(pool, unit(3), lambda table: table.drop_columns("nsfw.open_nsfw"))


def fewer_rows_of_scores(pool: Pool, release: Release) -> None:
    rewrite_scores(pool, unit(3), lambda table: table.slice(1))


def cut_commit(pool: Pool, release: Release) -> None:
    os.truncate(pool.store.path_of(f"pool/raw/{unit(3)}.parquet"), 700)


def captions(count: int, caption: str | None) -> Damage:
    def damage(pool: Pool, release: Release) -> None:
        rewrite_index(
            release,
            lambda table: put_all(table, "caption", [caption] * count + table["caption"].to_pylist()[count:]),
            shard=1,
        )

    return damage


def same_captions(pool: Pool, release: Release) -> None:
    rewrite_index(release, lambda table: put_all(table, "caption", ["image"] * table.num_rows), shard=1)


def dropped_for(reason: str, units: range, rows: int) -> Damage:
    """The first pairs of units are dropped, those that were not fetched left as they are."""

    def damage(pool: Pool, release: Release) -> None:
        for chunk in units:
            old = release.read_decisions(unit(chunk))
            hit = [row < rows and not str(why).startswith("['fetch:") for row, why in enumerate(old["reasons"].to_pylist())]
            verdicts = ["drop" if new else was for new, was in zip(hit, old["verdict"].to_pylist(), strict=True)]
            reasons = [[reason] if new else was for new, was in zip(hit, old["reasons"].to_pylist(), strict=True)]
            rewrite_decisions(
                release,
                lambda table, verdicts=verdicts, reasons=reasons: put_all(put_all(table, "verdict", verdicts), "reasons", reasons),
                name=unit(chunk),
                footer={verdict: verdicts.count(verdict) for verdict in ("keep", "review", "drop")},
            )

    return damage


def illegal_sample(pool: Pool, release: Release) -> None:
    rewrite_index(release, lambda table: put(table, "clip.similarity", 2, 0.05), shard=1)


ACCIDENTS: list[tuple[Damage, str, str, str]] = [
    (half_the_units, "most new units are fetched", "critical", f"5 of 9 rows: unit {unit(4)}: failed_share_new 1"),
    (one_unit, "every unit is fetched", "warning", f"1 of 9 rows: unit {unit(4)}: failed_share 1"),
    (one_unit, "no unit fails unlike the others", "warning", f"unit {unit(4)}: failed_deviation "),
    (all_units, "something is fetched", "critical", "failed_share 1"),
    (most_of_every_unit, "failures are those of age", "warning", "failed_share 0."),
    (most_of_every_unit, "failures stay near the parents", "warning", "parent one: failed_share_rise 0."),
    (one_host, "no host gives most failures", "warning", "1 of 2 rows: host dead.test: share_of_failures 1"),
    (scores_of(3, float("nan")), "scores are numbers", "critical", f"1 of 9 rows: unit {unit(3)}, column clip.similarity: not_finite 2"),
    (scores_of(3, float("-inf")), "scores are numbers", "critical", f"unit {unit(3)}, column clip.similarity: not_finite 2"),
    (scores_of(3, 1.01), "scores lie in their declared range", "critical", f"unit {unit(3)}, column clip.similarity: out_of_range 2"),
    (one_score, "scores that decide are not all equal", "warning", "column clip.similarity: one_value 1"),
    (cut_scores, "scores can be read", "critical", f"1 of 9 rows: unit {unit(3)}: unreadable 1"),
    (fewer_columns_of_scores, "scores have the columns of their pass", "critical", f"unit {unit(3)}: missing_columns 1"),
    (fewer_rows_of_scores, "scores have a row for every pair", "critical", f"unit {unit(3)}: other_rows 1"),
    (cut_commit, "commits and decisions can be read", "critical", f"unit {unit(3)}: unreadable 1"),
    (same_captions, "captions are not all the same", "critical", "1 of 3 rows: shard 1: caption_share 1"),
    (captions(20, "image"), "no caption is everywhere", "warning", "1 of 3 rows: shard 1: caption_share 0."),
    (captions(1, None), "captions of samples are never empty", "critical", "shard 1: empty_captions 1"),
    (captions(2, ""), "captions of samples are never empty", "critical", "shard 1: empty_captions 2"),
    (dropped_for("clip:missing", range(9), 36), "most pairs are measured", "critical", "reason clip:missing: missing_share 0.75"),
    (dropped_for("clip:missing", range(2), 12), "few pairs lack a measure", "warning", "reason clip:missing: missing_share 0.0"),
    (dropped_for("clip:low_similarity", range(9), 48), "no reason takes almost all pairs", "warning", "reason clip:low_similarity: share 1"),
    (dropped_for("clip:low_similarity", range(4, 5), 48), "no unit drops unlike the others", "warning", f"unit {unit(4)}: drop_deviation "),
    (illegal_sample, "legal rules hold for every sample", "critical", "1 of 1 rows: rule clip:low_similarity, shard 1, uid "),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "rule", "severity", "told"), ACCIDENTS, ids=[f"{one[1]} {n}" for n, one in enumerate(ACCIDENTS)])
def test_accident(child, damage, rule, severity, told):
    damage(*child)
    (outcome,) = outcomes(*child, rule)
    assert (outcome.passed, outcome.severity) == (False, severity) and told in outcome.message, outcome


def test_one_dead_unit_of_nine_is_no_reason_to_stop(child):
    one_unit(*child)
    assert run_gates(*child).passed


def test_the_sample_that_breaks_a_legal_rule_is_named(child):
    illegal_sample(*child)
    (outcome,) = outcomes(*child, "legal rules hold for every sample")
    assert f"uid {child[1].read_index(1)['uid'][2].as_py()}: broken 1" in outcome.message


@pytest.mark.parametrize(("broken", "passed", "told"), [((0, None), None, "broken is null for license:forbidden"), ((0, 0), True, "holds"),
    ((1, None), False, "1 of 2 rows: rule clip:low_similarity"), ((None, None), None, "not in the shards")])  # fmt: skip
def test_a_legal_rule_that_was_not_measured_does_not_hold(broken, passed, told):
    rows = pd.DataFrame({"rule": ["clip:low_similarity", "license:forbidden"], "broken": broken}, columns=LEGAL_COLUMNS, dtype=object)
    rows["broken"] = rows["broken"].astype(float)
    suites = [suite for suite in SUITES if suite.table == "legal rules"]
    (outcome,) = check({"legal rules": Table(rows, why_null={"broken": "not in the shards"})}, suites).outcomes
    assert outcome.passed is passed and outcome.severity == "critical" and told in outcome.message, outcome


def test_a_score_at_the_ends_of_its_range_or_a_rounding_beyond_is_in_it(child):
    for value in (1.0, -1.0, 1.00009):
        scores_of(3, value)(*child)
        assert outcomes(*child, "scores lie in their declared range")[0].passed


# ---- against the parent


def few_kept(pool: Pool, release: Release) -> None:
    """Of the parent's 24 pairs of a unit 1 stays."""
    dropped_for("clip:low_similarity", range(9), 41)(pool, release)


def lost_column(pool: Pool, release: Release) -> None:
    for shard in range(SHARDS):
        rewrite_index(release, lambda table: table.drop_columns("clip.similarity"), shard=shard)


def other_scores(pool: Pool, release: Release) -> None:
    for shard in range(SHARDS):
        rewrite_index(
            release, lambda table: put_all(table, "clip.similarity", np.linspace(-0.9, 0.4, table.num_rows).astype(np.float32)), shard=shard
        )


def other_licenses(pool: Pool, release: Release) -> None:
    for shard in range(SHARDS):
        rewrite_index(
            release,
            lambda table: put_all(
                table, "license_url", ["https://creativecommons.org/licenses/by-nc/4.0/" if row % 2 else None for row in range(table.num_rows)]
            ),
            shard=shard,
        )  # fmt: skip


def lost_unit(pool: Pool, release: Release) -> None:
    pool.store.delete(f"{release.path}/decisions/{unit(3)}.parquet")
    pool.store.delete(f"pool/raw/{unit(3)}.parquet")


HALF_KEPT = "the same policy keeps at least half of the parents pairs in the same units"
AGAINST: list[tuple[Damage, str, str, str]] = [
    (few_kept, HALF_KEPT, "critical", "parent one: common_keep_ratio 0."),
    (few_kept, "keep is at least half of the parents", "warning", "parent one: keep_ratio 0."),
    (few_kept, "keep is at least a tenth of the parents", "warning", "parent one: keep_ratio 0.0"),
    (few_kept, "kept share stays near the parents", "warning", "parent one: kept_share_fall 0."),
    (lost_column, "the same policy gives the parents columns", "critical", "column clip.similarity: state_same_policy missing"),
    (lost_column, "columns of the parent are there", "warning", "column clip.similarity: state missing"),
    (other_scores, "scores look like the parents", "warning", "column clip.similarity, pairs kept: psi_beyond_chance "),
    (other_licenses, "licence mix stays near the parents", "warning", "class non-commercial: share_change 0."),
    (lost_unit, "units of the parent are still there", "critical", "parent one: lost_units 1"),
]


@pytest.mark.parametrize(("damage", "rule", "severity", "told"), AGAINST, ids=[one[1] for one in AGAINST])
def test_against_the_parent(child, damage, rule, severity, told):
    damage(*child)
    (outcome,) = outcomes(*child, rule)
    assert (outcome.passed, outcome.severity) == (False, severity) and told in outcome.message, outcome


def test_another_policy_may_keep_less_and_read_other_scores(child):
    """What was damage under the same policy is told as a warning, and the stops say that they do not apply."""
    pool, release = child
    release.put_run({**(release.run() or {}), "policy_digest": "another"})
    few_kept(pool, release)
    lost_column(pool, release)
    rules = (HALF_KEPT, "the same policy gives the parents columns")
    assert [(one.passed, one.message) for one in outcomes(pool, release, *rules)] == [
        (None, "not measured: the parent was selected by another policy")
    ] * 2
    warned = outcomes(pool, release, "keep is at least half of the parents", "columns of the parent are there")
    assert [(one.passed, one.severity) for one in warned] == [(False, "warning")] * 2


def test_new_units_are_measured_beside_the_parents(child):
    """The parent has units 0 to 4; the scores of 5 to 8 were written by another model."""
    pool, release = child
    path = Path(pool.store.path_of("releases/one/manifest.json"))
    manifest = json.loads(path.read_text("utf-8"))
    manifest["units"] = {name: told for name, told in manifest["units"].items() if name <= unit(4)}
    path.write_text(json.dumps(manifest), "utf-8")
    assert outcomes(pool, release, "scores look like the parents")[0].passed
    for chunk in range(5, 9):
        rewrite_scores(
            pool, unit(chunk), lambda table: put_all(table, "clip.similarity", np.linspace(-0.9, 0.4, table.num_rows).astype(np.float32))
        )
    (outcome,) = outcomes(pool, release, "scores look like the parents")
    assert outcome.passed is False and "column clip.similarity, pairs fetched, in new units: psi_beyond_chance" in outcome.message
    not_fetched(pool, range(5, 9))
    (outcome,) = outcomes(pool, release, "most new units are fetched")
    assert outcome.passed is False and outcome.observed == 4 and unit(5) in outcome.message


@pytest.mark.parametrize("name", ["nowhere", None])
def test_without_a_parent_nothing_about_it_counts_as_passed(child, name):
    pool, release = child
    release.put_run({**(release.run() or {}), "parent": name})
    why = "the release has no parent" if name is None else "the parent, nowhere, is not there any more"
    tables = measure(pool, release, shards=SHARDS)
    suites = [suite for suite in SUITES if suite.table in ("parent", "columns", "drift")]
    found = check(tables, suites).outcomes
    assert len(found) == sum(len(suite.rules) for suite in suites) > 5
    assert {(one.passed, one.message) for one in found} == {(None, f"not measured: {why}")}


def test_tables_have_the_columns_that_they_say(child):
    tables = measure(*child, shards=SHARDS)
    assert tables.keys() == TABLES.keys()
    for name, table in tables.items():
        assert table.rows is not None and tuple(table.rows.columns) == TABLES[name].columns, name
