"""What img2dataset's process sends for a url, and what it makes of the answer; without img2dataset."""

import contextlib
from urllib.request import Request

from pipelines.fetch.client import Failed, Fetched
from pipelines.fetch.img2dataset_opener import NotTaken, Opener
from tests.pipelines.fetching import Reply, Server, settings
from tests.tars import shot


def ask(opener: Opener, *urls: str) -> list[bytes | None]:
    """The bodies that img2dataset is given, one after the other."""
    opener.begin({})
    bodies: list[bytes | None] = []
    for number, url in enumerate(urls):
        body = None
        with contextlib.suppress(NotTaken), opener.open(Request(f"{url}#{number}")) as response:
            body = response.read()
        bodies.append(body)
    return bodies


def test_a_url_is_sent_as_it_is_written():
    path = "/a%7Eb/%2e%2e/c.jpg?sig=a%2Bb%2Fc%3D&x=%41"
    with Server({path: Reply(body=shot(1))}) as server:
        assert ask(Opener(settings()), server.url(path)) == [shot(1)]
        assert [asked for _, asked, _ in server.log] == [path]


def test_of_an_error_page_the_headers_say_nothing_of_an_image():
    with Server({"/gone": Reply(404, headers={"X-Robots-Tag": "noai"}), "/busy": Reply(503, headers={"tdm-reservation": "1"})}) as server:
        opener = Opener(settings())
        assert ask(opener, server.url("/gone"), server.url("/busy")) == [None, None]
    assert [opener.answers[number].answer for number in range(2)] == [Failed("http_404"), Failed("http_503", again=True)]


def test_bodies_are_not_kept_beside_img2datasets_own():
    with Server(lambda path: Reply(body=shot(int(path[1:])), headers={"tdm-reservation": "0"})) as server:
        opener = Opener(settings())
        assert ask(opener, server.url("/0"), server.url("/1")) == [shot(0), shot(1)]
    for number in range(2):
        told = opener.told(number)
        assert told is not None and told.answer == Fetched(b"", {"tdmrep-header:0": True}, len(shot(number)))
    assert opener.answers == {} and opener.told(0) is None
