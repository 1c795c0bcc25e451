"""How urls are written: as a request sends them, and in the one form that all spellings of an address share."""

import ipaddress
import re
import socket
from typing import Final
from urllib.parse import quote, urlsplit

from yarl import URL

_SENT_AS_IS: Final = "/?%:@!$&'()*+,;=~"  # all that a request target may hold besides letters, digits and -._
_PLAIN_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NUMERIC_HOST: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}\.?")
_ESCAPE: Final = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3


class BadUrl(Exception):
    """The text is no url of http or https that can be asked for."""


def url_of(text: str) -> URL:
    """The url as it is sent: ASCII host in lower case, target percent-encoded where it must be, no fragment. Raises BadUrl.

    Percent escapes stay as they are (signed urls depend on them). A number that a socket takes for an IPv4 address becomes that address.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
        host = parts.hostname
    except ValueError as error:  # unbalanced brackets, a port that is no number or too large
        raise BadUrl from error
    if parts.scheme not in ("http", "https") or not host or port == 0 or "@" in parts.netloc:
        raise BadUrl
    where = _written_host(host) + ("" if port is None else f":{port}")
    try:
        target = _escaped(parts.path or "/") + ("?" + _escaped(parts.query) if parts.query else "")
    except UnicodeEncodeError as error:  # half a pair of surrogates
        raise BadUrl from error
    return URL(f"{parts.scheme}://{where}{target}", encoded=True)


def _escaped(part: str) -> str:
    """Bytes of a header that are no UTF-8 stand for themselves."""
    return quote(part, safe=_SENT_AS_IS, errors="surrogateescape")


def _written_host(host: str) -> str:
    if ":" in host:
        if "%" in host:  # a zone means something on one machine only
            raise BadUrl
        try:
            return f"[{ipaddress.IPv6Address(host)}]"
        except ValueError as error:
            raise BadUrl from error
    if not host.isascii():
        try:
            host = URL.build(scheme="http", host=host).raw_host or ""
        except ValueError as error:  # UnicodeError is one
            raise BadUrl from error
    host = host.lower()
    if _NUMERIC_HOST.fullmatch(host):
        try:
            return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
        except OSError as error:
            raise BadUrl from error
    if not _PLAIN_HOST.fullmatch(host):
        raise BadUrl
    return host


def canonical(url: URL) -> str:
    """`//host[:port]/path[?query]` of what :func:`url_of` gave, without the scheme: http and https name one resource.

    RFC 3986, 6.2.2 and 6.2.3: default port left out, escapes in upper case, those of unreserved characters undone, dot segments resolved.
    A dot at the end of the host, which changes nothing, is left out too.
    """
    host = (url.raw_host or "").rstrip(".")
    port = f":{url.explicit_port}" if url.explicit_port not in (None, 80 if url.scheme == "http" else 443) else ""
    query = f"?{_ESCAPE.sub(_escape, url.raw_query_string)}" if url.raw_query_string else ""
    return f"//{f'[{host}]' if ':' in host else host}{port}{_without_dots(_ESCAPE.sub(_escape, url.raw_path))}{query}"


def _escape(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def spellings(url: str) -> tuple[str, ...]:
    """The url as it is sent, and with its dot segments resolved where it has any: servers differ in which of the two they look at."""
    if "/." not in url and "%2" not in url:
        return (url,)
    scheme, _, rest = url.partition("://")
    host, _, target = rest.partition("/")
    path, mark, query = target.partition("?")
    resolved = f"{scheme}://{host}{_without_dots('/' + re.sub('%2[eE]', '.', path))}{mark}{query}"
    return (url,) if resolved == url else (url, resolved)


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    kept = list[str]()
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if parts[-1:] in (["."], [".."]):
        kept.append("")
    return "/" + "/".join(kept)
