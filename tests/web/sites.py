"""What stands at the URLs of the small web: makers of the answers that the kinds of fault need."""

import gzip
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from urllib.parse import urlsplit

from tests.web import hosts
from tests.web.answers import ENDLESS, Answer, inflating
from tests.web.images import PNG_SIGNATURE, Picture

Site = dict[str, tuple[Answer, ...]]  # URL → its answers at attempt 1, 2, 3…; the last one holds for ever
Serve = Callable[[str, Picture], Site]  # from the URL and its picture


def good(picture: Picture, **changes: object) -> Answer:
    """The picture under its media type; `changes` are fields of Answer."""
    return Answer(**({"headers": (("Content-Type", picture.media_type),), "body": picture.data} | changes))  # type: ignore[arg-type]


def image(url: str, picture: Picture) -> Site:
    return {url: (good(picture),)}


def nothing(url: str, picture: Picture) -> Site:
    return {}


def always(**changes: object) -> Serve:
    return lambda url, picture: {url: (good(picture, **changes),)}


def labelled(label: str | None) -> Serve:
    return always(headers=(("Content-Type", label),) if label else ())


def _says(status: int, *headers: tuple[str, str]) -> Answer:
    return Answer(status, (("Content-Type", "text/plain"), *headers), b"%d\n" % status)


def code(status: int, *headers: tuple[str, str]) -> Serve:
    return lambda url, picture: {url: (_says(status, *headers),)}


def code_then_image(status: int, *headers: tuple[str, str]) -> Serve:
    return lambda url, picture: {url: (_says(status, *headers), good(picture))}


def _truncated(picture: Picture) -> Answer:
    return good(picture, body=picture.data[: len(picture.data) // 2], told=len(picture.data), after="close")


def _moved(status: int, location: str) -> Answer:
    return _says(status, ("Location", location))


def _hop(url: str, step: int | str) -> str:
    """The same path on the CDN, below a folder for the step."""
    return f"http://{hosts.CDN}/{step}{urlsplit(url).path}"


def moved_to(status: int, scheme: str = "http:") -> Serve:
    def site(url: str, picture: Picture) -> Site:
        target = _hop(url, status)
        return {url: (_moved(status, scheme + target.removeprefix("http:")),), target: (good(picture),)}

    return site


def moved_relative(url: str, picture: Picture) -> Site:
    folder, _, name = url.rpartition("/")
    return {url: (_moved(302, f"../moved/{name}"),), f"{folder.rpartition('/')[0]}/moved/{name}": (good(picture),)}


def chain(hops: int) -> Serve:
    def site(url: str, picture: Picture) -> Site:
        stops = [url, *(_hop(url, f"{hops}-{step}") for step in range(hops))]
        moves: Site = {here: (_moved(302, there),) for here, there in pairwise(stops)}
        return moves | {stops[-1]: (good(picture),)}

    return site


def loop(url: str, picture: Picture) -> Site:
    return {url: (_moved(302, _hop(url, "loop")),), _hop(url, "loop"): (_moved(302, url),)}


def to_dead_host(url: str, picture: Picture) -> Site:
    return {url: (_moved(302, f"http://{hosts.REFUSING[0]}{urlsplit(url).path}"),)}


@cache
def _bomb() -> bytes:
    return inflating(PNG_SIGNATURE, ENDLESS)


def gzip_bomb(url: str, picture: Picture) -> Site:
    return {url: (Answer(headers=(("Content-Type", "image/png"), ("Content-Encoding", "gzip")), body=_bomb()),)}


def gzipped(url: str, picture: Picture) -> Site:
    headers = (("Content-Type", picture.media_type), ("Content-Encoding", "gzip"))
    return {url: (Answer(headers=headers, body=gzip.compress(picture.data, mtime=0)),)}


def wrong_case(url: str, picture: Picture) -> Site:
    headers = (("content-TYPE", picture.media_type.upper()), ("CONTENT-length", str(len(picture.data))))
    return {url: (Answer(headers=headers, body=picture.data),)}


def mislabelled(url: str, picture: Picture) -> Site:
    return labelled(picture.mislabelled())(url, picture)


def closed(url: str, picture: Picture) -> Site:
    return {url: (Answer(None),)}


def once_closed(url: str, picture: Picture) -> Site:
    return {url: (Answer(None), good(picture))}


def truncated(url: str, picture: Picture) -> Site:
    return {url: (_truncated(picture),)}


def once_truncated(url: str, picture: Picture) -> Site:
    return {url: (_truncated(picture), good(picture))}


def truncated_chunks(url: str, picture: Picture) -> Site:
    chunk = b"400\r\n" + picture.data[:512]  # a chunk of 1,024 bytes is announced
    return {url: (Answer(headers=(("Transfer-Encoding", "chunked"),), body=chunk, framing="close", after="close"),)}
