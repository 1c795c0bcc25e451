"""Which pairs people are asked about, and how likely each was to be chosen. Draws come from hashes of uids, never from `random`.

A pair has one draw, uniform in 0..1, for every sample that is ever taken: it is in a sample when its draw is below the sample's share there.
So samples nest: a larger share adds pairs to those of a smaller one, and the probability that any of several samples has a pair is the
largest of their shares (permanent random numbers: Ohlsson, 1995).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.policy import Policy
from schemas.reasons import REJECTED
from schemas.release import Release
from schemas.reviews import KEEP, task_of

QUEUE_OF: Final = {"keep": "kept", "review": "review", "drop": "dropped"}


@dataclass(frozen=True)
class Asked:
    """One question about a pair, and the probability with which it is asked. gold: the known answer, or None."""

    uid: str
    question: str
    queue: str
    unit: str
    row: int
    probability: float
    gold: str | None = None

    @property
    def task(self) -> str:
        return task_of(self.uid, self.question)


def draw(uid: str) -> float:
    """The pair's own number, uniform in 0..1 (1 excluded)."""
    return int.from_bytes(hashlib.sha256(f"review:{uid}".encode()).digest()[:8]) / 2**64


def questions(policy: Policy, verdict: str, reasons: Sequence[str]) -> tuple[str, ...]:
    """What a person is asked about a pair: its reasons, or whether to keep it where it is kept or was not measured.

    Nothing where people decided against it, or where a reason stands whatever they say.
    """
    if verdict == "keep":
        return (KEEP,)
    if REJECTED in reasons or not set(reasons) <= policy.overrulable:
        return ()
    return tuple(dict.fromkeys(KEEP if reason.endswith(":missing") else reason for reason in reasons))


def sample(release: Release, policy: Policy, *, kept: float, dropped: float) -> Iterator[Asked]:
    """All pairs for review, and the shares (0..1) of those kept and dropped whose draw is below them. The same uid twice is asked about twice."""
    share = {"keep": kept, "review": 1.0, "drop": dropped}
    for decided in release.decided():
        table = release.read_decisions(decided.unit, ["row", "uid", "verdict", "reasons"])
        for verdict, reasons, rows in groups(table):
            asked = questions(policy, verdict, reasons)
            if not asked or not share[verdict]:
                continue
            found = table.take(pa.array(rows))
            for row, uid in zip(found["row"].to_pylist(), found["uid"].to_pylist(), strict=True):
                if uid is not None and draw(uid) < share[verdict]:
                    for question in asked:
                        yield Asked(uid, question, QUEUE_OF[verdict], decided.unit, row, share[verdict])


def groups(table: pa.Table) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """(verdict, reasons, their rows) for each of the few combinations that there are; not of rows that a follow-up of the unit decides."""
    joined = pc.binary_join(table["reasons"], "|").combine_chunks()
    key = pc.binary_join_element_wise(pc.fill_null(table["verdict"], "").combine_chunks(), joined, "|").dictionary_encode()
    codes = key.indices.to_numpy()
    for code, text in enumerate(key.dictionary.to_pylist()):
        verdict, _, reasons = text.partition("|")
        if not verdict:
            continue
        yield verdict, [reason for reason in reasons.split("|") if reason], np.flatnonzero(codes == code)
