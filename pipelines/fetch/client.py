"""One request: what came, where it points to, or why nothing came. Redirects and retries are the caller's."""

import asyncio
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from pipelines.fetch.guard import GuardedResolver, NoContact, PrivateAddress, Unresolved, parse_resolver, read_host_map
from pipelines.fetch.protocol import Flood, NoHttp, Reader
from pipelines.fetch.settings import FetchSettings
from quality.optouts import signals_of_headers, text_of

NETWORK_WORDS: Final = frozenset({"connect", "dns", "timeout"})  # of failures that may be our own network's
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PASSING: Final = frozenset({408, 425, 429})  # and all of 5xx: the same request may succeed later
GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS  # zlib finds out which of the two
_BUFFER: Final = 1 << 18  # bytes of a body that may wait to be taken: fewer pauses of the socket


@dataclass(slots=True)
class Fetched:
    """The body, with Content-Encoding undone. signals: what the headers say of mining (quality.optouts). received: bytes on the wire."""

    data: bytes
    signals: dict[str, bool] = field(default_factory=dict)
    received: int = 0


@dataclass(slots=True)
class Moved:
    """A redirect to `target`, an absolute url as the server wrote it."""

    target: str
    signals: dict[str, bool] = field(default_factory=dict)
    received: int = 0


@dataclass(slots=True)
class Failed:
    """status, word, detail: for the row. again: another attempt may succeed. wait_s: what the server asked for by Retry-After.

    unreachable: no connection could be made, which says something about the host and not about the url. signals, received: as of Fetched.
    """

    word: str
    detail: str = ""
    status: str = "failed_to_download"
    again: bool = False
    wait_s: float | None = None
    unreachable: bool = False
    signals: dict[str, bool] = field(default_factory=dict)
    received: int = 0

    @property
    def message(self) -> str:
        return f"{self.word}: {self.detail}" if self.detail else self.word


Answer = Fetched | Moved | Failed
LATE: Final = Failed("deadline", status="postponed")  # the unit's time was up


class Client:
    """Keep-alive connections of one event loop. Make it inside the loop."""

    def __init__(self, settings: FetchSettings):
        self._max_bytes = settings.max_bytes
        self._agent = settings.agent
        self._obeys = settings.optouts == "obey"
        self._resolver = resolver_of(settings)
        connector = aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, limit=0, limit_per_host=0)  # the caller limits
        connector._factory = partial(Reader, loop=asyncio.get_running_loop(), most=2 * settings.max_bytes)  # type: ignore[assignment]  # aiohttp offers no public way
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": settings.header, "Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout_s),
            auto_decompress=False,
            read_bufsize=_BUFFER,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()

    async def get(self, url: URL, *, deadline: float, first: int | None = None) -> Answer:
        """Asks once, until `deadline` of the loop's clock. first: only so many bytes of the body are read, and no opt-out of it is heeded."""
        answered = False
        try:
            self._resolver.check_literal(url)
            async with asyncio.timeout_at(deadline):
                response = await self._session.get(url, allow_redirects=False)
                answered = True
                try:
                    return await self._take(response, url, first)
                finally:
                    response.release()  # keeps the connection only if the whole body has come
        except PrivateAddress:
            return Failed("private_address", status="refused")
        except NoContact:
            return Failed("no_contact", "say who asks: --contact", status="refused")
        except Unresolved as error:
            return Failed("dns", again=error.passing, unreachable=True)
        except aiohttp.ConnectionTimeoutError:
            return Failed("connect", again=True, unreachable=True)
        except TimeoutError:
            return Failed("timeout")
        except (aiohttp.ClientConnectorSSLError, aiohttp.ClientConnectorCertificateError):
            return Failed("connect", "no valid certificate")
        except aiohttp.ClientConnectorError:
            return Failed("connect", again=True, unreachable=True)
        except Flood:
            return Failed("too_large", f"more than {2 * self._max_bytes:,} bytes with what frames them")
        except aiohttp.ClientPayloadError:
            return Failed("truncated", again=True)
        except aiohttp.ClientConnectionError:  # reset, or closed without an answer
            return Failed("truncated" if answered else "connect", again=True)
        except (aiohttp.ClientResponseError, NoHttp):
            return Failed("connect", "the answer is no HTTP")
        except aiohttp.InvalidURL:
            return Failed("bad_url", status="invalid")

    async def _take(self, response: aiohttp.ClientResponse, url: URL, first: int | None) -> Answer:
        code = response.status
        # Of a page that says that there is no image, the headers say nothing about one.
        signals = {} if first is not None or code >= 400 else signals_of_headers(response.headers.items(), self._agent)
        if self._obeys and not all(signals.values()):
            return refused_by(signals)
        if 200 <= code < 300 and code != 206:  # nobody asked for a part
            answer = await self._body(response, first)
            answer.signals = signals
            return answer
        if code in REDIRECTS and (location := response.headers.get("Location")):
            try:
                return Moved(urljoin(str(url), location), signals)
            except ValueError:
                return Failed("bad_redirect", status="refused")
        return failed_of_status(code, response.headers.get("Retry-After"))

    async def _body(self, response: aiohttp.ClientResponse, first: int | None) -> Fetched | Failed:
        cap = self._max_bytes if first is None else first
        too_large = Failed("too_large", f"more than {cap:,} bytes")
        if first is None and (response.content_length or 0) > cap:
            return too_large
        encoded = response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate")
        inflate = zlib.decompressobj(GZIP_OR_ZLIB) if encoded else None
        content, parts, size, received = response.content, [], 0, 0
        while True:
            part = await content.readany()
            if not part and content.at_eof():
                break
            received += len(part)
            if inflate is not None:
                try:
                    part = inflate.decompress(part, cap + 1 - size)
                except zlib.error:
                    bad = f"bad {response.headers['Content-Encoding'].strip().lower()}"
                    return Failed("truncated", bad, again=True, received=received)
            size += len(part)
            parts.append(part)
            if size > cap and first is not None:
                return Fetched(b"".join(parts)[:cap], received=received)
            if size > cap or (first is None and received > cap):  # the latter where little or nothing comes out of much
                too_large.received = received
                return too_large
            if content.at_eof() or (inflate is not None and inflate.eof):
                break
        if inflate is not None and size and not inflate.eof:
            return Failed("truncated", again=True, received=received)
        return Fetched(parts[0] if len(parts) == 1 else b"".join(parts), received=received)


def resolver_of(settings: FetchSettings) -> GuardedResolver:
    """Who may be asked, by the settings. Inside the loop."""
    return GuardedResolver(
        host_map={} if settings.host_map is None else read_host_map(settings.host_map),
        allow_private=settings.allow_private_hosts,
        timeout_s=settings.connect_timeout_s,
        resolver=None if settings.resolver is None else parse_resolver(settings.resolver),
        contact=settings.contact is not None,
    )


def refused_by(signals: Mapping[str, bool]) -> Failed:
    """The answer for a url that may not be mined: it is not asked for, or its body is not read."""
    return Failed("optout", text_of({signal: allows for signal, allows in signals.items() if not allows}) or "", status="refused",
                  signals=dict(signals))  # fmt: skip


def failed_of_status(code: int, retry_after: str | None) -> Failed:
    """The answer for a status that brings no body. retry_after: the header as it came."""
    again = code in _PASSING or code >= 500
    return Failed(f"http_{code}", again=again, wait_s=_retry_after(retry_after) if again else None)


def _retry_after(text: str | None) -> float | None:
    """Seconds from now that a Retry-After header asks for (RFC 9110, 10.2.3): a number or a date; None for anything else."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
