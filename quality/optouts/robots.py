"""robots.txt (RFC 9309), parsed by Protego: whether our agent, or one that gathers training data for models, may ask for a url."""

import logging
import re
from collections.abc import Iterable
from typing import Final

from protego import Protego

from quality.urls import spellings

LIMIT: Final = 500 * 1024  # bytes that are read (RFC 9309, 2.5)

# Product tokens of crawlers and switches that stand for training data, as their operators document them: a site that shuts one of these out
# of a picture says that the picture is not for training, whoever asks. Assistants that fetch a page for a person who waits are not among them.
AI_AGENTS: Final = (
    "AI2Bot", "Ai2Bot-Dolma", "Amazonbot", "anthropic-ai", "Applebot-Extended", "Bytespider", "CCBot", "ClaudeBot", "cohere-ai",
    "cohere-training-data-crawler", "Diffbot", "FacebookBot", "Google-Extended", "GPTBot", "ICC-Crawler", "ImagesiftBot", "img2dataset",
    "LAION-HuggingFace-Processor", "LAIONDownloader", "meta-externalagent", "omgili", "omgilibot", "PanguBot", "Timpibot", "VelenPublicWebCrawler",
    "Webzio-Extended",
)  # fmt: skip
_GROUP: Final = re.compile(
    r"[ \t]*(user-?agent)[ \t]*:[ \t]*([\w-]+|\*)?.*", re.IGNORECASE
)  # of the name only the product token counts: CCBot/2.0
_RULES: Final = 2_000  # lines that allow or disallow, of all groups together: more are read by nobody, and cost seconds a url
_RULE: Final = re.compile(r"[ \t]*(dis)?allow[ \t]*:", re.IGNORECASE)
logging.getLogger("protego").setLevel(logging.WARNING)  # it tells every odd line of other people's files


class Robots:
    """The rules of one origin. agent: our product token, as in "pigment"."""

    def __init__(self, content: bytes, agent: str):
        lines, named = _lines(content[:LIMIT].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace"))
        self._rules = Protego.parse("\n".join(lines))
        self._agent = agent
        self._named = agent.lower() in named
        # An agent that no group names falls under `*`, as ours does, and says nothing more. Of a group that names several, the first is asked.
        groups = {named[name.lower()]: name for name in reversed(AI_AGENTS) if name.lower() in named and name.lower() != agent.lower()}
        self._agents = sorted(groups.values(), key=str.lower)

    def forbids(self, url: str) -> str | None:
        """The signal, as in "robots:GPTBot", "robots:*" or "robots:pigment", of the first agent that may not ask for the url; else None."""
        urls = spellings(url)
        if not self._allows(urls, self._agent):
            return f"robots:{self._agent if self._named else '*'}"
        return next((f"robots:{name}" for name in self._agents if not self._allows(urls, name)), None)

    def _allows(self, urls: Iterable[str], agent: str) -> bool:
        return all(self._rules.can_fetch(url, agent) for url in urls)

    @property
    def crawl_delay(self) -> float | None:
        """Seconds between two requests that the site asks of our agent; None where it does not. No part of RFC 9309, and in wide use."""
        delay = self._rules.crawl_delay(self._agent)
        rate = self._rules.request_rate(self._agent)
        return delay if delay is not None else None if rate is None else rate.seconds / rate.requests


def _lines(text: str) -> tuple[list[str], dict[str, frozenset[int]]]:
    """(lines with names of agents cut to their product tokens, at most _RULES rules; by agent's name in small letters, its groups' numbers)."""
    lines, groups = list[str](), dict[str, set[int]]()
    rules = group = 0
    naming = False
    for line in text.splitlines():  # CR, LF and both end a line (RFC 9309, 2.2)
        found = _GROUP.fullmatch(line.partition("#")[0])
        if found is not None:
            group += not naming
            naming = True
            line = f"User-agent: {found[2] or ''}"
            if found[2]:
                groups.setdefault(found[2].lower(), set()).add(group)
        elif line.strip():
            naming = naming and _RULE.match(line) is None
            rules += _RULE.match(line) is not None
            if rules > _RULES:
                break
        lines.append(line)
    return lines, {name: frozenset(numbers) for name, numbers in groups.items()}
