"""The kinds of fault and oddity in the small web: what the server does, and what a careful client must make of it.

A kind that ends in an image is met on the pair's own URL; one that does not is met on an additional row for the same
image, so that no pair of the sample is lost. Every behaviour follows from the URL and the number of the attempt alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from tests.web import hosts, images, sites
from tests.web.answers import ENDLESS, LATE
from tests.web.images import Picture
from tests.web.sites import Serve

Decodes = Literal["whole", "partly", "no"]


def plain(url: str) -> str:
    return url


@dataclass(frozen=True)
class Fault:
    """One kind.

    rows: how many there are in the list. does: attempt by attempt, for people. serve: what stands at the URL (and at
    further ones). make: the picture from the sample's. url: how the list writes the URL. host: None is the collection's own.
    status, error, decodes: what a careful client notes; decodes is None where no bytes are stored. requests: how many of
    them the URL gets; None where that is the client's choice.
    """

    word: str
    rows: int
    does: str
    serve: Serve = sites.image
    make: Callable[[Picture], Picture] | None = None
    url: Callable[[str], str] = plain
    host: tuple[str, ...] | None = None
    status: str = "success"
    error: str | None = None
    decodes: Decodes | None = "whole"
    requests: int | None = 1


def _failing(
    word: str,
    rows: int,
    does: str,
    error: str,
    serve: Serve = sites.image,
    *,
    status: str = "failed_to_download",
    **more: object,
) -> Fault:
    return Fault(word, rows, does, serve, status=status, error=error, decodes=None, **more)  # type: ignore[arg-type]


def _redirecting(word: str, rows: int, location: str, error: str, status: str = "refused", requests: int | None = 1) -> Fault:
    site = sites.code(302, ("Location", location))
    return _failing(word, rows, f"302 to {location}", error, site, status=status, requests=requests)


def _after_host(change: Callable[[str], str]) -> Callable[[str], str]:
    """A way to write a URL that changes what stands behind the host."""

    def written(url: str) -> str:
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        return f"{scheme}://{host}/{change(path)}"

    return written


SLOW = Fault("slow", 0, f"the image {LATE} s late, in four pieces", sites.always(late=LATE, pieces=4))
COPY = Fault("copy", 0, "the bytes of another row, on another host", host=(hosts.MIRROR, hosts.CDN))
PLAIN = Fault("plain", 0, "the image")

# Each ends in the sample's own bytes, on the pair's own URL.
MENDING: tuple[Fault, ...] = (
    Fault("moved_301", 3, "301 to another host, the image there", sites.moved_to(301)),
    Fault("moved_302", 3, "302 to another host, the image there", sites.moved_to(302)),
    Fault("moved_303", 2, "303 to another host, the image there", sites.moved_to(303)),
    Fault("moved_307", 3, "307 to another host, the image there", sites.moved_to(307, scheme="")),
    Fault("moved_308", 3, "308 to another host, the image there", sites.moved_to(308)),
    Fault("moved_relative", 3, "302 to ../moved/, the image there", sites.moved_relative),
    Fault("chain_3", 3, "three redirects, then the image", sites.chain(3)),
    Fault("chain_5", 2, "five redirects, then the image", sites.chain(5)),
    Fault("once_429", 4, "429 with Retry-After: 1; then the image", sites.code_then_image(429, ("Retry-After", "1")), requests=2),
    Fault(
        "once_429_date",
        2,
        "429 with a Retry-After date that has passed; then the image",
        sites.code_then_image(429, ("Retry-After", "Wed, 01 Jan 2020 00:00:00 GMT")),
        requests=2,
    ),
    Fault("once_500", 5, "500; then the image", sites.code_then_image(500), requests=2),
    Fault("once_503", 3, "503 with Retry-After: 1; then the image", sites.code_then_image(503, ("Retry-After", "1")), requests=2),
    Fault("once_408", 2, "408; then the image", sites.code_then_image(408), requests=2),
    Fault("once_closed", 3, "closes without an answer; then the image", sites.once_closed, requests=2),
    Fault("once_truncated", 3, "half of the body, then closes; then the image", sites.once_truncated, requests=2),
    Fault("mislabelled", 8, "the image as image/jpeg, or a JPEG as image/png", sites.mislabelled),
    Fault("labelled_bytes", 4, "the image as application/octet-stream", sites.labelled("application/octet-stream")),
    Fault("labelled_text", 3, "the image as text/plain", sites.labelled("text/plain; charset=utf-8")),
    Fault("unlabelled", 4, "the image without Content-Type", sites.labelled(None)),
    Fault("gzipped", 4, "the image under Content-Encoding: gzip", sites.gzipped),
    Fault("chunked", 6, "the image in chunks, without Content-Length", sites.always(framing="chunked", pieces=3)),
    Fault("no_length", 4, "the image without Content-Length, then closes", sites.always(framing="close", after="close")),
    Fault("not_kept", 4, "the image under Connection: close", sites.always(after="close")),
    Fault("wrong_case", 4, "the image under content-TYPE: IMAGE/PNG and CONTENT-length", sites.wrong_case),
    Fault("url_query", 3, "the image; the URL has a query", url=lambda url: url + "?size=full&of=1"),
    Fault("url_fragment", 3, "the image; the URL has a fragment, which is not sent", url=lambda url: url + "#layer1"),
    Fault("url_space", 3, "the image; the URL has a space", url=_after_host(lambda path: "my images/" + path)),
    Fault("url_percent", 3, "the image; the path is Korean in %XX", url=_after_host(lambda path: quote("그림/") + path)),
    Fault("url_unicode", 3, "the image; the path is Korean as it is", url=_after_host(lambda path: "그림/" + path)),
    Fault("url_slash", 2, "the image; the path has a %2F that is no folder", url=_after_host(lambda path: "a%2Fb/" + path)),
    Fault("url_host_unicode", 3, "the image; the host is Korean", host=(hosts.UNICODE,)),
    Fault(
        "url_host_case",
        2,
        "the image; scheme and host in capitals",
        url=lambda url: url.replace("http", "HTTP", 1).replace("pigment", "Pigment", 1),
    ),
)

# Each ends in other bytes than the sample's, on an additional row.
ODD: tuple[Fault, ...] = (
    Fault("card_orientation_6", 1, "a card of four colours, EXIF orientation 6", make=images.card_orientation_6),
    Fault("card_orientation_8", 1, "a card of four colours, EXIF orientation 8", make=images.card_orientation_8),
    Fault("cmyk_jpeg", 3, "a CMYK JPEG with Adobe marker", make=images.cmyk_jpeg),
    Fault("grey_jpeg", 2, "a JPEG of one channel", make=images.grey_jpeg),
    Fault("progressive_jpeg", 2, "a progressive JPEG", make=images.progressive_jpeg),
    Fault("grey16_png", 2, "a PNG of 16 bits, grey", make=images.grey16_png),
    Fault("rgb16_png", 2, "a PNG of 16 bits, RGB", make=images.rgb16_png),
    Fault("palette_png", 3, "a PNG with palette and a transparent colour", make=images.palette_png),
    Fault("animated_gif", 2, "a GIF of three frames", make=images.animated_gif),
    Fault("animated_webp", 2, "a WebP of three frames", make=images.animated_webp),
    Fault("dot_gif", 2, "a GIF of one pixel", make=images.dot_gif),
    Fault("tiny_png", 2, "a PNG of two by two pixels", make=images.tiny_png),
    Fault("placeholder", 6, "one and the same picture for all", make=images.placeholder),
    Fault("cut_jpeg", 3, "a JPEG that lacks its last 40 %, with its right length", make=images.cut_jpeg, decodes="partly"),
    Fault("cut_png", 3, "a PNG that lacks its last 40 %, with its right length", make=images.cut_png, decodes="partly"),
    Fault("corrupt_png", 2, "a PNG whose pixels do not inflate", make=images.corrupt_png, decodes="no"),
)

# Each ends without a stored image, on an additional row.
FAILING: tuple[Fault, ...] = (
    _failing("http_404", 12, "404 for ever", "http_404", sites.code(404)),
    _failing("http_410", 4, "410 for ever", "http_410", sites.code(410)),
    _failing("http_403", 4, "403 for ever", "http_403", sites.code(403)),
    _failing("http_451", 2, "451 for ever", "http_451", sites.code(451)),
    _failing(
        "http_429",
        2,
        "429 with Retry-After: 1 for ever",
        "http_429",
        sites.code(429, ("Retry-After", "1")),
        host=(hosts.LIMITED,),
        requests=None,
    ),
    _failing("http_500", 3, "500 for ever", "http_500", sites.code(500), requests=None),
    _failing("http_503", 2, "503 for ever", "http_503", sites.code(503), requests=None),
    _failing("closed", 2, "closes without an answer, for ever", "connect", sites.closed, requests=None),
    _failing("truncated", 4, "half of the body, then closes, for ever", "truncated", sites.truncated, requests=None),
    _failing(
        "truncated_chunks",
        2,
        "chunks without the last one, then closes, for ever",
        "truncated",
        sites.truncated_chunks,
        requests=None,
    ),
    _failing(
        "stalled",
        1,
        "the image under a larger Content-Length, then nothing",
        "timeout",
        sites.always(told=1 << 20, after="stall"),
        requests=None,
    ),
    _failing("refusing_host", 6, "nothing listens at the host", "connect", sites.nothing, host=hosts.REFUSING, requests=0),
    _failing(
        "silent_host", 4, "the host accepts the connection and never answers", "timeout", sites.nothing, host=hosts.SILENT, requests=0
    ),
    _failing("unknown_host", 2, "the host does not resolve", "dns", sites.nothing, host=(hosts.UNKNOWN,), requests=0),
    _failing(
        "endless", 2, f"the image and zeros for ever ({ENDLESS:,} bytes)", "too_large", sites.always(framing="close", after="endless")
    ),
    _failing("told_more", 2, "a Content-Length of a terabyte, then closes", "too_large", sites.always(told=10**12, after="close")),
    _failing("gzip_bomb", 1, "300 KB under Content-Encoding: gzip that inflate to 60 MB", "too_large", sites.gzip_bomb),
    _failing("html", 4, "a page with status 200", "not_image", make=images.html),
    _failing("html_as_jpeg", 4, "a page with status 200 as image/jpeg", "not_image", sites.labelled("image/jpeg"), make=images.html),
    _failing("empty", 3, "status 200 and no byte", "not_image", make=images.empty),
    _failing("svg", 3, "a drawing in SVG", "not_image", make=images.svg),
    _failing("zip", 2, "a zip archive with the image in it", "not_image", make=images.zipped),
    _failing("pdf", 2, "a PDF", "not_image", make=images.pdf),
    _failing("huge_png", 2, "a PNG header of 200 megapixels", "pixels", status="failed_to_resize", make=images.huge_png),
    _failing("huge_jpeg", 1, "a JPEG header of 200 megapixels", "pixels", status="failed_to_resize", make=images.huge_jpeg),
    _failing("loop", 2, "302 to a URL that redirects back", "redirects", sites.loop, requests=None),
    _failing("chain_6", 2, "six redirects, then the image", "redirects", sites.chain(6)),
    _failing("moved_nowhere", 1, "302 without Location", "http_302", sites.code(302)),
    _failing("moved_to_dead_host", 2, "302 to a host where nothing listens", "connect", sites.to_dead_host, requests=None),
    _redirecting("moved_to_private", 2, "http://10.0.0.1/", "private_address"),
    _redirecting("moved_to_metadata", 1, "http://169.254.169.254/latest/meta-data/", "private_address"),
    _redirecting("moved_to_loopback", 1, "http://127.0.0.1/", "private_address"),
    _redirecting("moved_to_loopback_6", 1, "http://[::1]/", "private_address"),
    _redirecting("moved_to_localhost", 1, "http://localhost/", "private_address"),
    _redirecting("moved_to_file", 2, "file:///etc/passwd", "bad_redirect"),
)
