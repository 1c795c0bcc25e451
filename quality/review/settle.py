"""What people decided, from all that they answered; and what it does to a pair.

An adjudicating answer alone counts, else the majority of yes and no. A tie, or nothing but unsure, settles nothing and has no effect.

    question   answer   effect on the pair, under a policy
    a reason   yes      review:rejected, drop; where no rule of the policy can give that reason, nothing
    a reason   no       the reason no longer counts, if a person may overrule it
    keep       yes      no reason that a person may overrule counts
    keep       no       review:rejected, drop

Who rejects wins over who accepts. A kept pair that people decided for has the one reason review:accepted: keep was answered with yes, or a
reason that it would have had does not count. A person may overrule what `Policy.overrulable` says: never a legal rule, a duplicate, a pair
that was not fetched, that is blocked or undecodable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.rules import DROP, Ruled, Rules
from quality.rules import KEEP as KEPT
from schemas.policy import Policy
from schemas.reasons import ACCEPTED, REJECTED
from schemas.reviews import KEEP, SETTLED


@dataclass(frozen=True)
class Settlement:
    """settled: SETTLED. unsettled: pairs and questions that were answered and have no outcome."""

    settled: pa.Table
    unsettled: int


def settle(answers: pa.Table) -> Settlement:
    """What stands for each uid and question of ANSWERS, whatever the order of its rows."""
    adjudicated = answers["adjudicates"].cast(pa.int64())
    votes = {word: pc.equal(answers["answer"], word).cast(pa.int64()) for word in ("yes", "no")}
    table = pa.table(
        {
            "uid": answers["uid"],
            "question": answers["question"],
            "adjudicated": adjudicated,
            **votes,
            **{f"lead_{word}": pc.multiply(vote, adjudicated) for word, vote in votes.items()},
        }
    )
    sums = [name for name in table.column_names if name not in ("uid", "question")]
    counted = table.group_by(["uid", "question"], use_threads=False).aggregate([(name, "sum") for name in sums])
    by_lead = pc.greater(counted["adjudicated_sum"], 0)
    yes, no = (pc.if_else(by_lead, counted[f"lead_{word}_sum"], counted[f"{word}_sum"]) for word in ("yes", "no"))
    answer = pc.if_else(pc.equal(yes, no), pa.scalar(None, pa.string()), pc.if_else(pc.greater(yes, no), "yes", "no"))
    stands = pa.table([counted["uid"], counted["question"], answer], schema=SETTLED).filter(pc.is_valid(answer))
    ordered = stands.sort_by([("uid", "ascending"), ("question", "ascending")]).combine_chunks()
    return Settlement(ordered, counted.num_rows - ordered.num_rows)


def effect_of(policy: Policy, answers: Mapping[str, str]) -> tuple[frozenset[str], bool]:
    """(reasons that do not count, whether the pair is rejected), from what is settled about one pair: question -> yes or no."""
    given = {reason for rule in policy.rules for reason in rule.gives}
    rejected = any(
        answer == ("no" if question == KEEP else "yes") and (question == KEEP or question in given) for question, answer in answers.items()
    )
    if answers.get(KEEP) == "yes":
        return policy.overrulable, rejected
    return frozenset(question for question, answer in answers.items() if answer == "no") & policy.overrulable, rejected


class Settled:
    """Rules, and over them what people decided (SETTLED). Made once per process; `apply` has the arguments of `Rules.apply`."""

    def __init__(self, rules: Rules, settled: pa.Table):
        self.rules = rules
        bit = {reason: 1 << place for place, reason in enumerate(rules.reasons)}
        of_uid = dict[str, dict[str, str]]()
        for row in settled.to_pylist():
            of_uid.setdefault(row["uid"], {})[row["question"]] = row["answer"]
        effects = [effect_of(rules.policy, answers) for answers in of_uid.values()]
        self._uids = pa.array(of_uid, pa.string())
        self._lifted = np.array([sum(bit[reason] for reason in lifted) for lifted, _ in effects], np.uint64)
        self._rejected = np.array([rejected for _, rejected in effects], bool)
        self._wanted = np.array([answers.get(KEEP) == "yes" for answers in of_uid.values()], bool)

    def apply(self, table: pa.Table, cuts: Mapping[int, float] | None = None) -> Ruled:
        """What the rules say where nobody decided otherwise. Accepted pairs have their reason whatever becomes of them: see :func:`kept_alone`."""
        places = pc.index_in(table["uid"], self._uids).combine_chunks()
        rows = np.flatnonzero(np.asarray(pc.is_valid(places)))
        about = np.asarray(places.drop_null())
        lifted = np.zeros(table.num_rows, np.uint64)
        lifted[rows] = self._lifted[about]
        ruled = self.rules.apply(table, cuts, lifted)
        ruled.add(rows[self._rejected[about]], REJECTED, DROP)
        for_it = self._wanted[about] | ruled.spared[rows]
        ruled.add(rows[for_it & (ruled.verdict[rows] == KEPT)], ACCEPTED, KEPT)
        return ruled


def kept_alone(ruled: Ruled) -> None:
    """Takes review:accepted from pairs that are not kept after all: a better pair has taken their place."""
    ruled.mask[ruled.verdict != KEPT] &= ~ruled.bit(ACCEPTED)


def counts_of(reasons: Mapping[str, int]) -> dict[str, Any]:
    """How many rows of a release people accepted and rejected, from its rows by reason."""
    return {"accepted": reasons.get(ACCEPTED, 0), "rejected": reasons.get(REJECTED, 0)}
