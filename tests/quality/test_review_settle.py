"""From answers to what stands, and what it does to a pair under a policy."""

import random

import pyarrow as pa
import pytest

from quality.review.settle import Settled, effect_of, kept_alone, settle
from quality.rules import Rules
from schemas.policy import Policy, parse_policy
from schemas.reasons import VERDICTS
from schemas.reviews import SETTLED
from tests.answers import answers

LOW, UNSAFE = "clip:low_similarity", "nsfw:possible"
A, B = "a" * 32, "b" * 32
POLICY = """
name = "test"
[[rule]]
column = "license.class"
not_in = ["proprietary"]
missing = "keep"
reason = "license:not_allowed"
overrule = false
[[rule]]
column = "clip.similarity"
min = 0.1
reason = "clip:low_similarity"
[[rule]]
column = "clip.similarity"
min = 0.3
do = "review"
missing = "review"
reason = "clip:low_similarity"
[[rule]]
column = "nsfw.open_nsfw"
max = 0.5
do = "review"
missing = "keep"
reason = "nsfw:possible"
"""


def policy(text: str = POLICY) -> Policy:
    return parse_policy(text, where="test.toml")


def stands(*given):
    found = settle(answers(*given))
    return {(row["uid"], row["question"]): row["answer"] for row in found.settled.to_pylist()}, found.unsettled


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (["yes"], "yes"),
        (["no", "no", "yes"], "no"),
        (["yes", "unsure", "unsure", "unsure"], "yes"),
        (["yes", "no"], None),
        (["yes", "no", "unsure"], None),
        (["unsure"], None),
        (["unsure", "unsure"], None),
    ],
)
def test_the_majority_of_yes_and_no_stands(given, answer):
    found, unsettled = stands(*((A, LOW, word) for word in given))
    assert found == ({} if answer is None else {(A, LOW): answer}) and unsettled == (answer is None)


def test_who_adjudicates_counts_alone():
    many = [(A, LOW, "yes"), (A, LOW, "yes"), (A, LOW, "yes")]
    assert stands(*many, (A, LOW, "no", "lead", True))[0] == {(A, LOW): "no"}
    assert stands(*many, (A, LOW, "unsure", "lead", True)) == ({}, 1), "a lead who is unsure leaves it open"
    assert stands(*many, (A, UNSAFE, "no", "lead", True), (B, LOW, "no"))[0] == {(A, LOW): "yes", (A, UNSAFE): "no", (B, LOW): "no"}


def test_the_order_of_answers_changes_nothing():
    given = [(uid, question, word) for uid in (B, A) for question in (UNSAFE, LOW, "keep") for word in ("yes", "no", "no", "unsure")]
    first = settle(answers(*given)).settled
    random.Random(1).shuffle(given)
    assert settle(answers(*given)).settled.equals(first) and first["uid"].to_pylist() == [A] * 3 + [B] * 3


def test_what_a_person_may_overrule():
    assert policy().overrulable == {LOW, "clip:missing", UNSAFE}
    legal = POLICY.replace('do = "review"\nmissing = "review"', 'do = "review"\nmissing = "review"\noverrule = false')
    assert policy(legal).overrulable == {UNSAFE}, "one rule that may not be overruled is enough"
    facts = 'name = "f"\n' + "".join(
        f'[[rule]]\ncolumn = "image.width"\nmin = 1\nmissing = "keep"\nreason = "{reason}"\n'
        for reason in ("duplicate:near", "list:blocked", "fetch:crashed", "source:bad_row", "image:undecodable", "image:too_small")
    )
    assert policy(facts).overrulable == {"image:too_small"}


@pytest.mark.parametrize(
    ("given", "lifted", "rejected"),
    [
        ({LOW: "no"}, {LOW}, False),
        ({LOW: "yes"}, set(), True),
        ({LOW: "no", UNSAFE: "yes"}, {LOW}, True),
        ({"keep": "yes"}, {LOW, UNSAFE, "clip:missing"}, False),
        ({"keep": "no"}, set(), True),
        ({"keep": "yes", LOW: "yes"}, {LOW, UNSAFE, "clip:missing"}, True),
        ({"license:not_allowed": "no"}, set(), False),
        ({"license:not_allowed": "yes"}, set(), True),
        ({"nsfw:high": "yes"}, set(), False),  # no rule of this policy gives it
        ({"nsfw:high": "no"}, set(), False),
    ],
)
def test_effect(given, lifted, rejected):
    assert effect_of(policy(), given) == (lifted, rejected)


def judged(rows, *settled):
    """(verdict, reasons...) of rows of (similarity, nsfw, license class), with uids aaa…, bbb…, and so on."""
    n = len(rows)
    table = pa.table(
        {
            "row": pa.array(range(n), pa.int32()),
            "uid": [chr(ord("a") + row) * 32 for row in range(n)],
            "status": ["success"] * n,
            "error_message": pa.nulls(n, pa.string()),
            "image.error": pa.nulls(n, pa.string()),
            "clip.similarity": pa.array([row[0] for row in rows], pa.float32()),
            "nsfw.open_nsfw": pa.array([row[1] for row in rows], pa.float32()),
            "license.class": [row[2] for row in rows],
        }
    )
    rules = Rules(policy())
    ruled = Settled(rules, pa.Table.from_pylist([dict(zip(SETTLED.names, row, strict=True)) for row in settled], SETTLED)).apply(table)
    kept_alone(ruled)
    return [(VERDICTS[code], *reasons) for code, reasons in zip(ruled.verdict, ruled.reason_lists().to_pylist(), strict=True)]


FREE = "permissive"


def test_no_takes_one_reason_away_by_whatever_rule():
    found = judged([(0.05, 0.1, FREE), (0.2, 0.1, FREE), (0.05, 0.9, FREE)], (A, LOW, "no"), (B, LOW, "no"), ("c" * 32, LOW, "no"))
    assert found == [("keep", "review:accepted"), ("keep", "review:accepted"), ("review", UNSAFE)]


def test_legal_reasons_and_missing_values_stand():
    found = judged(
        [(0.05, 0.9, "proprietary"), (None, 0.1, FREE), (None, 0.1, FREE)], (A, "keep", "yes"), (B, LOW, "no"), ("c" * 32, "keep", "yes")
    )
    assert found == [("drop", "license:not_allowed"), ("drop", "clip:missing"), ("keep", "review:accepted")]


def test_rejected_wins_and_keeps_the_rules_reasons():
    found = judged([(0.9, 0.9, FREE), (0.9, 0.1, FREE)], (A, "keep", "yes"), (A, UNSAFE, "yes"), (B, "keep", "no"))
    assert found == [("drop", "review:rejected"), ("drop", "review:rejected")]
    assert judged([(0.05, 0.9, FREE)], (A, UNSAFE, "yes")) == [("drop", LOW, UNSAFE, "review:rejected")]


def test_who_is_kept_anyway_is_accepted_only_by_a_yes_to_keep():
    assert judged([(0.9, 0.1, FREE)] * 2, (A, "keep", "yes"), (B, LOW, "no")) == [("keep", "review:accepted"), ("keep",)]


def test_pairs_without_decisions_and_without_uid_are_the_rules():
    rows = [(0.05, 0.1, FREE), (0.2, 0.6, FREE)]
    assert judged(rows, ("z" * 32, "keep", "no")) == judged(rows) == [("drop", LOW), ("review", LOW, UNSAFE)]
