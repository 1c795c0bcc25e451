"""A bound on failures: a worker that has seen enough pairs, too many of which failed, stops the job before it has spoilt the rest."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pipelines.fetch.job import NetworkUp
from pipelines.fetch.store import Outcome
from quality.gates.shares import FAILED
from schemas.reasons import FETCH_ERRORS, error_word
from schemas.units import number_of

ENOUGH: Final = 1_000  # pairs that a worker has asked for in a run before their share of failures says anything
_NAMED: Final = 3  # of the commonest reasons

Finish = Callable[[Sequence[Outcome], tuple[Path, str] | None, NetworkUp], bool]


class TooManyFailures(Exception):
    """More of the pairs that a worker asked for failed than the user allows; the message names the commonest reasons and what to do."""


class FailureLimit:
    """The largest share (0 excluded, 1 included) of pairs asked for that may fail; None: any. One a run; its pickles count together in a process.

    Asked for are pairs that came or failed (quality.gates.shares.FAILED); not those that were refused, blocked or invalid. Follow-ups do not
    count: all of their pairs had failed before.
    """

    def __init__(self, most: float | None):
        if most is not None and not 0 < most <= 1:
            raise ValueError(f"max_failure_rate is {most}; it must be above 0 and at most 1, or None for no bound")
        self._most, self._run = most, uuid.uuid4().hex

    def counting(self, unit: str, finish: Finish) -> Finish:
        """`finish` of a unit, which counts its outcomes too: those of a deferred unit as well."""
        if self._most is None or number_of(unit):
            return finish

        def counted(outcomes: Sequence[Outcome], tar: tuple[Path, str] | None, network_up: NetworkUp) -> bool:
            done = finish(outcomes, tar, network_up)
            with _lock:
                _asked.setdefault(self._run, Counter()).update(
                    (error_word(outcome.error_message) or outcome.status) if outcome.status in FAILED else "success"
                    for outcome in outcomes
                    if outcome.status in ("success", *FAILED)
                )
            return done

        return counted

    def check(self) -> None:
        """Raises TooManyFailures when this process has seen too many in this run; a bundle that is tried again too."""
        with _lock:
            words = Counter(_asked.get(self._run, ()))
        asked = words.total()
        failed = asked - words.pop("success", 0)
        if self._most is None or asked < ENOUGH or failed <= self._most * asked:
            return
        commonest = ", ".join(f"{word} {count:,}{_meaning(word)}" for word, count in words.most_common(_NAMED))
        raise TooManyFailures(
            f"{failed:,} of the {asked:,} pairs that a worker asked for failed, more than --max_failure_rate {self._most:g} allows: {commonest}. "
            "What is committed stays. Mend the network or the source and run the same command again, or with a higher --max_failure_rate; "
            "--retry_failed asks again for those whose failure can pass"
        )


def _meaning(word: str) -> str:
    text = FETCH_ERRORS.get(word)
    return "" if text is None else f" ({text})"


_asked: dict[str, Counter[str]] = {}  # by run: pairs by what failed, or "success"
_lock = threading.Lock()
