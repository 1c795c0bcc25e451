"""robots.txt (RFC 9309), parsed by Protego: whether our agent, or one that gathers training data for models, may ask for a url."""

import logging
import re
from typing import Final

from protego import Protego

LIMIT: Final = 500 * 1024  # bytes that are read (RFC 9309, 2.5)

# Product tokens of crawlers and switches that stand for training data, as their operators document them: a site that shuts one of these out
# of a picture says that the picture is not for training, whoever asks. Assistants that fetch a page for a person who waits are not among them.
AI_AGENTS: Final = (
    "AI2Bot", "Ai2Bot-Dolma", "Amazonbot", "anthropic-ai", "Applebot-Extended", "Bytespider", "CCBot", "ClaudeBot", "cohere-ai",
    "cohere-training-data-crawler", "Diffbot", "FacebookBot", "Google-Extended", "GPTBot", "ICC-Crawler", "ImagesiftBot", "img2dataset",
    "LAION-HuggingFace-Processor", "LAIONDownloader", "meta-externalagent", "omgili", "omgilibot", "PanguBot", "Timpibot", "VelenPublicWebCrawler",
    "Webzio-Extended",
)  # fmt: skip
_NAMED: Final = re.compile(r"^[ \t]*user-?agent[ \t]*:[ \t]*([^\s#]+)", re.IGNORECASE | re.MULTILINE)
logging.getLogger("protego").setLevel(logging.WARNING)  # it tells every odd line of other people's files


class Robots:
    """The rules of one origin. agent: our product token, as in "pigment"."""

    def __init__(self, content: bytes, agent: str):
        text = content[:LIMIT].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        self._rules = Protego.parse(text)
        self._agent = agent
        named = {name.lower().strip("*") for name in _NAMED.findall(text)}
        self._named = agent.lower() in named
        # An agent that no group names falls under `*`, as ours does, and says nothing more.
        self._agents = [name for name in AI_AGENTS if name.lower() in named and name.lower() != agent.lower()]

    def forbids(self, url: str) -> str | None:
        """The signal, as in "robots:GPTBot", "robots:*" or "robots:pigment", of the first agent that may not ask for the url; else None."""
        if not self._rules.can_fetch(url, self._agent):
            return f"robots:{self._agent if self._named else '*'}"
        return next((f"robots:{name}" for name in self._agents if not self._rules.can_fetch(url, name)), None)

    @property
    def crawl_delay(self) -> float | None:
        """Seconds between two requests that the site asks of our agent; None where it does not. No part of RFC 9309, and in wide use."""
        delay = self._rules.crawl_delay(self._agent)
        rate = self._rules.request_rate(self._agent)
        return delay if delay is not None else None if rate is None else rate.seconds / rate.requests
