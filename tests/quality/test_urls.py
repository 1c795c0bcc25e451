"""How urls are written, and which spellings are one address."""

import pytest

from quality.urls import BadUrl, canonical, url_of


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("http://a.test", "http://a.test/"),
        ("HTTP://A.Test/B?c=D#e", "http://a.test/B?c=D"),
        ("http://a.test/my images/a%2Fb/%7e?x=1%20+2", "http://a.test/my%20images/a%2Fb/%7e?x=1%20+2"),
        ("http://a.test/그림", "http://a.test/%EA%B7%B8%EB%A6%BC"),
        ("http://그림.test/", "http://xn--2i0b46t.test/"),
        ("https://a_b.test:8443/", "https://a_b.test:8443/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://[::0001]:81/", "http://[::1]:81/"),
        (" http://a.test/ ", "http://a.test/"),
        (b"http://a.test/\xff?\xe4".decode("utf-8", "surrogateescape"), "http://a.test/%FF?%E4"),  # bytes of a Location
    ],
)
def test_urls_as_they_are_sent(text, sent):
    assert str(url_of(text)) == sent


@pytest.mark.parametrize(
    "text",
    [
        "", "cat.png", "//a.test/x", "ftp://a.test/", "file:///etc/passwd", "http://", "http:///x", "http://[a/x", "http://a.test:port/",
        "http://a.test:0/", "http://a.test:99999/", "http://user@a.test/", "http://u:p@a.test/", "http://a b.test/", "http://a..test/",
        "http://.test/", "http://999.1.1.1/", "http://[::1%25eth0]/", "http://a.test%00/", "javascript:alert(1)",
        "http://a.test/\ud800", "http://\udcff.test/",
    ],
)  # fmt: skip
def test_urls_that_cannot_be_asked_for(text):
    with pytest.raises(BadUrl):
        url_of(text)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("http://a.test", "//a.test/"),
        ("https://A.TEST.:443/b/../c/./%7Ed/%2f?q=%c3%a9#f", "//a.test/c/~d/%2F?q=%C3%A9"),
        ("http://a.test:80/x", "//a.test/x"),
        ("http://a.test:443/x", "//a.test:443/x"),
        ("http://a.test/../..", "//a.test/"),
        ("http://a.test/a//b/.", "//a.test/a//b/"),
        ("http://[::1]:8080/", "//[::1]:8080/"),
        ("http://그림.test/그", "//xn--2i0b46t.test/%EA%B7%B8"),
    ],
)
def test_spellings_of_one_address(text, form):
    assert canonical(url_of(text)) == form
