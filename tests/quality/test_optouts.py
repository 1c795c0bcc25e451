"""Opt-outs of sites: the examples of RFC 9309 and of the TDMRep report, and what X-Robots-Tag is seen to say."""

import time

import pytest

from quality.optouts import AI_AGENTS, Reservations, Robots, signals_of_headers, state_of, text_of

# RFC 9309, 5.1, with our agent in the place of those that the example names.
SIMPLE = b"""
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""
# RFC 9309, 5.2
LONGEST = b"""
User-Agent: foobot
Allow: /example/page/
Disallow: /example/page/disallowed.gif
"""
# RFC 9309, 2.2.1: groups of one agent are one group, whatever the case of its name
MERGED = b"""
User-Agent: ExampleBot
Disallow: /foo
Disallow: /bar

User-Agent: examplebot
Disallow: /baz
"""
# RFC 9309, 2.2.3
SPECIAL = b"""
User-Agent: foobot
Disallow: /comment # on this line
Disallow: /this/path/exactly$
Allow: /
Disallow: /this/*/exactly
Disallow: /path/file-with-a-%2A.html
Disallow: /path/foo-%24
"""
# RFC 9309, 2.2.2: octets are compared in one encoding
ENCODED = "User-agent: *\nDisallow: /foo/bar?baz=quz\nDisallow: /ツ\nDisallow: /a/%7Bx%7D\nDisallow: /bar/%62%61%7A\n".encode()


@pytest.mark.parametrize(
    ("robots", "agent", "path", "signal"),
    [
        (SIMPLE, "ourbot", "/cat.gif", "robots:*"),
        (SIMPLE, "ourbot", "/cat.gif?x", None),
        (SIMPLE, "ourbot", "/example/page.html", "robots:*"),
        (SIMPLE, "ourbot", "/publications/cat.png", None),
        (SIMPLE, "ourbot", "/", None),
        (SIMPLE, "foobot", "/", "robots:foobot"),
        (SIMPLE, "foobot", "/example/page.html", None),
        (SIMPLE, "foobot", "/example/allowed.gif", None),
        (SIMPLE, "FooBot", "/example/other.gif", "robots:FooBot"),
        (SIMPLE, "barbot", "/example/page.html", "robots:barbot"),
        (SIMPLE, "bazbot", "/example/page.html", "robots:bazbot"),
        (SIMPLE, "bazbot", "/cat.gif", None),
        (SIMPLE, "quxbot", "/example/page.html", None),
        (LONGEST, "foobot", "/example/page/", None),
        (LONGEST, "foobot", "/example/page/disallowed.gif", "robots:foobot"),
        (LONGEST, "otherbot", "/example/page/disallowed.gif", None),
        (MERGED, "examplebot", "/foo", "robots:examplebot"),
        (MERGED, "examplebot", "/baz", "robots:examplebot"),
        (MERGED, "examplebot", "/qux", None),
        (SPECIAL, "foobot", "/comment", "robots:foobot"),
        (SPECIAL, "foobot", "/this/path/exactly", "robots:foobot"),
        (SPECIAL, "foobot", "/this/path/exactly/not", "robots:foobot"),
        (SPECIAL, "foobot", "/this/way", None),
        (SPECIAL, "foobot", "/path/file-with-a-*.html", "robots:foobot"),
        (SPECIAL, "foobot", "/path/file-with-a-x.html", None),
        (SPECIAL, "foobot", "/path/foo-$", "robots:foobot"),
        (ENCODED, "ourbot", "/foo/bar?baz=quz", "robots:*"),
        (ENCODED, "ourbot", "/foo/bar?baz=quz2", "robots:*"),
        (ENCODED, "ourbot", "/foo/bar", None),
        (ENCODED, "ourbot", "/%E3%83%84", "robots:*"),
        (ENCODED, "ourbot", "/bar/baz", "robots:*"),
        (b"User-agent: *\nAllow: /p\nDisallow: /p", "ourbot", "/p", None),  # 2.2.2: of equal rules the allowing one
        (b"User-agent: *\nDisallow:\n", "ourbot", "/p", None),
        (b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /\r\n", "ourbot", "/p", "robots:*"),
        (b"user-agent:ourbot\nuser-agent:otherbot\ndisallow:/\n", "ourbot", "/p", "robots:ourbot"),
        (b"User-agent: *\nDisallow: /\n\nUser-agent: ourbot\nAllow: /\n", "ourbot", "/p", None),
        (b"<html><body>not found</body></html>", "ourbot", "/p", None),
        (b"", "ourbot", "/p", None),
        (b"\xff\xfe\0\0garbage\0", "ourbot", "/p", None),
        (b"Disallow: /\n", "ourbot", "/p", None),  # a rule that no agent is named for
        # ---- agents that stand for training
        (b"User-agent: GPTBot\nDisallow: /\n", "ourbot", "/p", "robots:GPTBot"),
        (b"User-agent: gptbot\nUser-agent: CCBot\nDisallow: /photos/\n", "ourbot", "/photos/p", "robots:CCBot"),
        (b"User-agent: GPTBot\nDisallow: /photos/\n", "ourbot", "/p", None),
        (b"User-agent: Google-Extended\nDisallow: /\n\nUser-agent: ourbot\nAllow: /\n", "ourbot", "/p", "robots:Google-Extended"),
        (b"User-agent: *\nDisallow: /\n\nUser-agent: GPTBot\nAllow: /\n", "ourbot", "/p", "robots:*"),
        (b"User-agent: CCBot/2.0\nDisallow: /\n", "ourbot", "/p", "robots:CCBot"),  # of a name the product token counts
        (b"User-agent: ourbot/0.1 (x)\nDisallow: /\n", "ourbot", "/p", "robots:ourbot"),
        (b"User-agent: *\rDisallow: /x\r\rUser-agent: GPTBot\rDisallow: /\r", "ourbot", "/p", "robots:GPTBot"),  # 2.2: CR ends a line
        (b"User-agent: *\nDisallow: /private/\n", "ourbot", "/x/../private/a.jpg", "robots:*"),
        (b"User-agent: *\nDisallow: /private/\n", "ourbot", "/x/%2e%2E/private/a.jpg?x", "robots:*"),
        (b"User-agent: *\nDisallow: /x/\n", "ourbot", "/x/../public/a.jpg", "robots:*"),  # a server may take it as it stands
        (b"User-agent: GPTBot\nDisallow: /a\n\nUser-agent: GPTBot\nUser-agent: CCBot\nDisallow: /b\n", "ourbot", "/a", "robots:GPTBot"),
        (b"User-agent: Googlebot\nDisallow: /\n\nUser-agent: ChatGPT-User\nDisallow: /\n", "ourbot", "/p", None),
    ],
)  # fmt: skip
def test_robots(robots, agent, path, signal):
    assert Robots(robots, agent).forbids("http://www.example.com" + path) == signal


def test_robots_is_read_to_its_limit():
    padding = b"#" * (500 * 1024 - 40) + b"\n"
    assert Robots(padding + b"User-agent: *\nDisallow: /a\n", "ourbot").forbids("http://e.test/a") == "robots:*"
    assert Robots(padding + b"#" * 100 + b"\nUser-agent: *\nDisallow: /a\n", "ourbot").forbids("http://e.test/a") is None


def test_rules_without_end_are_not_read_to_their_end():
    """467 KB of patterns that match late took a second a url."""
    rules = "".join(f"Disallow: /*a*b*c*d*{number}z$\n" for number in range(17_000))
    robots = Robots("".join(f"User-agent: {name}\n" for name in AI_AGENTS).encode() + rules.encode(), "ourbot")
    began = time.monotonic()
    for number in range(20):
        robots.forbids(f"http://e.test/{'abcd' * 200}{number}")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("robots", "delay"),
    [
        (b"User-agent: *\nCrawl-delay: 2.5\n", 2.5),
        (b"User-agent: *\nCrawl-delay: 9\n\nUser-agent: ourbot\nCrawl-delay: 1\n", 1.0),
        (b"User-agent: *\nRequest-rate: 10/1m\n", 6.0),
        (b"User-agent: *\nCrawl-delay: soon\n", None),
        (b"User-agent: otherbot\nCrawl-delay: 9\n", None),
    ],
)
def test_crawl_delay(robots, delay):
    assert Robots(robots, "ourbot").crawl_delay == delay


def test_agents_are_named_once():
    assert len({name.lower() for name in AI_AGENTS}) == len(AI_AGENTS)


EVERYTHING = b'[{"location": "/", "tdm-reservation": 1}]'
# the report's second example
THREE_GROUPS = b"""[
  {"location": "/directory-a/", "tdm-reservation": 1},
  {"location": "/directory-b/html/", "tdm-reservation": 1, "tdm-policy": "https://provider.com/policies/policy.json"},
  {"location": "/directory-b/images/*.jpg", "tdm-reservation": 0}
]"""
FIRST_COUNTS = b'[{"location": "/free/", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}]'


@pytest.mark.parametrize(
    ("content", "path", "signal"),
    [
        (EVERYTHING, "/", ("tdmrep-file:/=1", False)),
        (EVERYTHING, "/a/b.jpg?size=1", ("tdmrep-file:/=1", False)),
        (THREE_GROUPS, "/directory-a/cat.pdf", ("tdmrep-file:/directory-a/=1", False)),
        (THREE_GROUPS, "/Directory-A/cat.pdf", None),  # matching is case sensitive
        (THREE_GROUPS, "/directory-b/html/cat.html", ("tdmrep-file:/directory-b/html/=1", False)),
        (THREE_GROUPS, "/directory-b/images/cat.jpg", ("tdmrep-file:/directory-b/images/*.jpg=0", True)),
        (THREE_GROUPS, "/directory-b/images/cat.png", None),
        (THREE_GROUPS, "/", None),
        (FIRST_COUNTS, "/free/cat.jpg", ("tdmrep-file:/free/=0", True)),
        (FIRST_COUNTS, "/other/cat.jpg", ("tdmrep-file:/=1", False)),
        (
            b'[{"location": "/this/path/exactly$", "tdm-reservation": 1}]',
            "/this/path/exactly",
            ("tdmrep-file:/this/path/exactly$=1", False),
        ),
        (b'[{"location": "/this/path/exactly$", "tdm-reservation": 1}]', "/this/path/exactly/not", None),
        (b'[{"location": "/this/*/then", "tdm-reservation": 1}]', "/this/is/it/then/too", ("tdmrep-file:/this/*/then=1", False)),
        (b'[{"location": "/path/foo-%24", "tdm-reservation": 1}]', "/path/foo-$", ("tdmrep-file:/path/foo-%24=1", False)),
        (b'[{"location": "photos/", "tdm-reservation": "1"}]', "/photos/cat.jpg", ("tdmrep-file:/photos/=1", False)),
        (b'\xef\xbb\xbf[{"location": "*", "tdm-reservation": 1}]', "/a", ("tdmrep-file:*=1", False)),
        (b'[{"location": "/", "tdm-reservation": 2}]', "/a", None),
        (b'[{"location": "/", "tdm-reservation": true}]', "/a", None),
        (b'[{"location": 1, "tdm-reservation": 1}, "x", {"tdm-reservation": 1}]', "/a", None),
        (b'[{"location": "/\\nAllow: /", "tdm-reservation": 1}]', "/a", None),
        (b'{"location": "/", "tdm-reservation": 1}', "/a", None),  # the brackets are mandatory, says the report
        (b"<!DOCTYPE html><html></html>", "/a", None),
        (b"[" * 100_000, "/a", None),
        (b"", "/a", None),
    ],
)
def test_tdmrep_file(content, path, signal):
    assert Reservations(content).signal("http://provider.com" + path) == signal


@pytest.mark.parametrize(
    ("headers", "signals"),
    [
        ([("tdm-reservation", "1")], {"tdmrep-header:1": False}),  # the report's two examples of headers
        ([("tdm-reservation", "1"), ("tdm-policy", "https://provider.com/policies/policy.json")], {"tdmrep-header:1": False}),
        ([("TDM-Reservation", " 0 ")], {"tdmrep-header:0": True}),
        ([("tdm-reservation", "yes")], {}),
        ([("X-Robots-Tag", "noai")], {"x-robots-tag:noai": False}),
        ([("x-robots-tag", "NoImageAI, nofollow")], {"x-robots-tag:noimageai": False}),
        ([("X-Robots-Tag", "noarchive"), ("X-Robots-Tag", "all, noimageindex")], {"x-robots-tag:noimageindex": False}),
        ([("X-Robots-Tag", "noindex")], {"x-robots-tag:noindex": False}),
        ([("X-Robots-Tag", "none")], {"x-robots-tag:none": False}),
        ([("X-Robots-Tag", "all")], {}),
        ([("X-Robots-Tag", "googlebot: noindex, noai")], {}),  # both are for that agent
        ([("X-Robots-Tag", "BadBot: noindex, nofollow, ourbot: noai")], {"x-robots-tag:ourbot:noai": False}),
        ([("X-Robots-Tag", "GPTBot: noindex")], {"x-robots-tag:gptbot:noindex": False}),
        ([("X-Robots-Tag", "unavailable_after: 25 Jun 2010 15:00:00 PST, noai")], {"x-robots-tag:noai": False}),
        ([("X-Robots-Tag", "unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT, noai")], {"x-robots-tag:noai": False}),
        ([("X-Robots-Tag", "max-image-preview: large")], {}),
        ([("X-Robots-Tag", "noaisle, foo noai")], {}),
        ([("X-Robots-Tag", "")], {}),
        ([("Content-Type", "noai")], {}),
    ],
)  # fmt: skip
def test_headers(headers, signals):
    assert signals_of_headers(headers, "ourbot") == signals


def test_the_most_restrictive_word_counts():
    assert state_of({}) is None and text_of({}) is None
    assert state_of({"tdmrep-header:0": True}) == "allowed"
    both = {"tdmrep-header:0": True, "robots:GPTBot": False}
    assert state_of(both) == "disallowed" and text_of(both) == "robots:GPTBot|tdmrep-header:0"
    assert text_of({"a|b": False}) == "a b"


def test_a_long_location_is_told_short():
    found = Reservations(b'[{"location": "/' + b"*" * 400_000 + b'", "tdm-reservation": 1}]').signal("http://provider.com/a")
    assert found == ("tdmrep-file:/" + "*" * 99 + "=1", False)
