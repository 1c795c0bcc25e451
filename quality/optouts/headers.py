"""What the headers of an answer say of mining: X-Robots-Tag and TDMRep's tdm-reservation."""

import re
from collections.abc import Iterable
from typing import Final

from quality.optouts.robots import AI_AGENTS

# Of X-Robots-Tag: noai and noimageai as DeviantArt coined them (2022), and what keeps pictures out of indexes, as img2dataset reads them.
FORBIDDING: Final = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_AGENTS: Final = frozenset(agent.lower() for agent in AI_AGENTS)
_AGENT: Final = re.compile(r"[a-z_*][\w-]*")  # not the hour of a date
_WITH_VALUE: Final = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)  # "name: value", no agent's name


def signals_of_headers(headers: Iterable[tuple[str, str]], agent: str) -> dict[str, bool]:
    """{signal: whether it allows mining} of the (name, value) pairs of an answer, in order. agent: our product token.

    `X-Robots-Tag: googlebot: noindex` binds the agent that it names, until another is named or the field ends; it counts where that is ours
    or one of AI_AGENTS.
    """
    signals: dict[str, bool] = {}
    for name, value in headers:
        name = name.lower()
        if name == "x-robots-tag":
            signals |= dict.fromkeys(_of_robots_tag(value, agent.lower()), False)
        elif name == "tdm-reservation" and value.strip() in ("0", "1"):
            signals[f"tdmrep-header:{value.strip()}"] = value.strip() == "0"
    return signals


def _of_robots_tag(value: str, agent: str) -> Iterable[str]:
    bound = ""  # the agent that directives are for; "" for everybody
    for part in value.lower().split(","):
        head, colon, rest = part.partition(":")
        if colon and head.strip() not in _WITH_VALUE and _AGENT.fullmatch(head.strip()):
            bound, part = head.strip(), rest
        directive = part.strip()
        if directive in FORBIDDING and (not bound or bound == agent or bound in _AGENTS):
            yield f"x-robots-tag:{bound}:{directive}" if bound else f"x-robots-tag:{directive}"
