"""TDMRep (W3C Community Group report, 10 May 2024): the file /.well-known/tdmrep.json of an origin."""

import json
from typing import Any, Final

from protego import Protego

from quality.urls import spellings

LIMIT: Final = 500 * 1024  # bytes that are read; as of robots.txt, the report names none
_RULES: Final = 1_000  # that are read
_TOLD: Final = 100  # characters of a location that a signal tells


class Reservations:
    """The rules of one origin: `location` patterns in sequence, of which the first that matches a url counts."""

    def __init__(self, content: bytes):
        """Content that is no array of rules has none: the origin then does not take part (section "TDM File on the Origin Server")."""
        try:
            found = json.loads(content[:LIMIT].decode("utf-8-sig"))
        except (ValueError, RecursionError):
            found = []
        rules = [rule for rule in found if isinstance(rule, dict)] if isinstance(found, list) else []
        self._rules = [(location, _pattern(location), reserves) for location, reserves in map(_read, rules[:_RULES]) if location]

    def signal(self, url: str) -> tuple[str, bool] | None:
        """("tdmrep-file:<location>=<0 or 1>", whether mining is allowed) by the first location that matches the url; None where none does."""
        found = [signal for spelling in spellings(url) if (signal := self._first(spelling)) is not None]
        return min(found, key=lambda signal: signal[1], default=None)  # of two spellings the one that is reserved

    def _first(self, url: str) -> tuple[str, bool] | None:
        for location, pattern, reserves in self._rules:
            if not pattern.can_fetch(url, "tdm"):
                return f"tdmrep-file:{location[:_TOLD]}={int(reserves)}", not reserves
        return None


def _read(rule: dict[str, Any]) -> tuple[str, bool]:
    """(location, whether rights are reserved) of a rule; location "" where it is none. What is neither 0 nor 1 is not a rule."""
    location, value = rule.get("location"), rule.get("tdm-reservation")
    if not isinstance(location, str) or str(value).strip() not in ("0", "1") or isinstance(value, bool):
        return "", False
    location = location.strip()
    if not location.isprintable() or "#" in location:
        return "", False
    return location if location.startswith(("/", "*")) else "/" + location, str(value).strip() == "1"


def _pattern(location: str) -> Protego:
    """A location is matched as a path of robots.txt is, says the report."""
    return Protego.parse(f"User-agent: *\nDisallow: {location}\n")
