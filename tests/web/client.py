"""A plain client of the small web, for the tests of the web itself: one attempt at a time, redirects followed by hand, nothing decoded."""

import gzip
import http.client
import io
import ipaddress
import json
import socket
import warnings
from urllib.parse import urljoin, urlsplit

import pytest
from PIL import Image

from tests.web import SmallWeb
from tests.web.plan import Row, address

CAP = 10_000_000  # bytes
PIXELS = 100_000_000
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF")


def rows(web: SmallWeb, fault: str) -> list[Row]:
    return [row for row in web.table if row.fault == fault]


def connect(web: SmallWeb, url: str, timeout: float = 5) -> socket.socket:
    ip, port = json.loads(web.host_map.read_text())[address(url)[0]].split(":")
    return socket.create_connection((ip, int(port)), timeout)


def request(url: str, *fields: str, method: str = "GET") -> bytes:
    host, target = address(url)
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


def get(web: SmallWeb, url: str, timeout: float = 5) -> http.client.HTTPResponse:
    """The answer to one GET on a connection of its own; its body is not read."""
    with connect(web, url, timeout) as sock:
        sock.sendall(request(url))
        response = http.client.HTTPResponse(sock, method="GET")
        response.begin()
        return response


class Failed(Exception):
    """Its text is the error word."""


def public(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host.endswith(".test"):
        return True
    return not any(ipaddress.ip_address(info[4][0]).is_private or "." not in info[4][0] for info in socket.getaddrinfo(host, 80))


def once(web: SmallWeb, url: str) -> bytes:
    """The body behind a URL by one attempt, or Failed. A plain client that follows redirects by hand and decodes nothing."""
    for _ in range(6):
        if urlsplit(url).scheme not in ("http", "https"):
            raise Failed("bad_redirect")
        if not public(url):
            raise Failed("private_address")
        if address(url)[0] not in json.loads(web.host_map.read_text()):
            raise Failed("dns")
        try:
            response = get(web, url, timeout=1)
            if response.status in (301, 302, 303, 307, 308) and (location := response.getheader("Location")):
                url = urljoin(url, location)
                continue
            if response.status != 200:
                raise Failed(f"http_{response.status}")
            if (response.length or 0) > CAP:
                raise Failed("too_large")
            body = response.read(CAP + 1) if response.length is None else response.read()
        except TimeoutError:
            raise Failed("timeout") from None
        except ConnectionError:  # RemoteDisconnected is one too
            raise Failed("connect") from None
        except http.client.IncompleteRead:
            raise Failed("truncated") from None
        if response.getheader("Content-Encoding") == "gzip":
            body = gzip.GzipFile(fileobj=io.BytesIO(body)).read(CAP + 1)
        if len(body) > CAP:
            raise Failed("too_large")
        if not body.startswith(MAGIC):
            raise Failed("not_image")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            width, height = Image.open(io.BytesIO(body)).size
            Image.MAX_IMAGE_PIXELS = limit
        if width * height > PIXELS:
            raise Failed("pixels")
        return body
    raise Failed("redirects")


def stored(web: SmallWeb, row: Row) -> bytes:
    """The body behind a row that ends in success, at the attempt that the table names."""
    assert row.requests is not None
    for _ in range(row.requests - 1):
        with pytest.raises(Failed):
            once(web, row.url)
    return once(web, row.url)


def decodes(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, SyntaxError):  # Pillow's words for broken images
        return False
    return True
