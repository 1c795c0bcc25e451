"""One signal is a text and what it says; several make a state (as in IETF AIPREF, the most restrictive wins)."""

from collections.abc import Mapping
from typing import Final

ALLOWED: Final = "allowed"
DISALLOWED: Final = "disallowed"
_MOST: Final = 32  # signals that are kept as text; all of them decide


def state_of(signals: Mapping[str, bool]) -> str | None:
    """Signal to whether it allows mining, as a state: None where nobody says anything."""
    return None if not signals else ALLOWED if all(signals.values()) else DISALLOWED


def text_of(signals: Mapping[str, bool]) -> str | None:
    """The signals, those that forbid first, joined by |; None where there are none."""
    ordered = sorted(signals, key=lambda signal: (signals[signal], signal))
    return "|".join(signal.replace("|", " ") for signal in ordered[:_MOST]) or None
