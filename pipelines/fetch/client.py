"""One request: what came, where it points to, or why nothing came. Redirects and retries are the caller's."""

import asyncio
import time
import zlib
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from pipelines.fetch.guard import GuardedResolver, PrivateAddress, Unresolved, read_host_map
from pipelines.fetch.protocol import Reader
from pipelines.fetch.settings import FetchSettings

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PASSING: Final = frozenset({408, 425, 429})  # and all of 5xx: the same request may succeed later
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS  # zlib finds out which of the two
_BUFFER: Final = 1 << 18  # bytes of a body that may wait to be taken: fewer pauses of the socket


@dataclass(slots=True)
class Fetched:
    """The body, with Content-Encoding undone."""

    data: bytes


@dataclass(slots=True)
class Moved:
    """A redirect to `target`, an absolute url as the server wrote it."""

    target: str


@dataclass(slots=True)
class Failed:
    """status, word, detail: for the row. again: another attempt may succeed. wait_s: what the server asked for by Retry-After.

    unreachable: no connection could be made, which says something about the host and not about the url.
    """

    word: str
    detail: str = ""
    status: str = "failed_to_download"
    again: bool = False
    wait_s: float | None = None
    unreachable: bool = False

    @property
    def message(self) -> str:
        return f"{self.word}: {self.detail}" if self.detail else self.word


Answer = Fetched | Moved | Failed


class Client:
    """Keep-alive connections of one event loop. Make it inside the loop."""

    def __init__(self, settings: FetchSettings):
        self._max_bytes = settings.max_bytes
        host_map = {} if settings.host_map is None else read_host_map(settings.host_map)
        self._resolver = GuardedResolver(
            host_map=host_map, allow_private=settings.allow_private_hosts, timeout_s=settings.connect_timeout_s
        )
        connector = aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, limit=0, limit_per_host=0)  # the caller limits
        connector._factory = partial(Reader, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # aiohttp offers no public way
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": settings.user_agent, "Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout_s),
            auto_decompress=False,
            read_bufsize=_BUFFER,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()

    async def get(self, url: URL, *, deadline: float) -> Answer:
        """Asks once, until `deadline` of the loop's clock."""
        answered = False
        try:
            self._resolver.check_literal(url)
            async with asyncio.timeout_at(deadline):
                response = await self._session.get(url, allow_redirects=False)
                answered = True
                try:
                    return await self._take(response, url)
                finally:
                    response.release()  # keeps the connection only if the whole body has come
        except PrivateAddress:
            return Failed("private_address", status="refused")
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
        except aiohttp.ClientPayloadError:
            return Failed("truncated", again=True)
        except aiohttp.ClientConnectionError:  # reset, or closed without an answer
            return Failed("truncated" if answered else "connect", again=True)
        except aiohttp.ClientResponseError:
            return Failed("connect", "the answer is no HTTP")
        except aiohttp.InvalidURL:
            return Failed("bad_url", status="invalid")

    async def _take(self, response: aiohttp.ClientResponse, url: URL) -> Answer:
        code = response.status
        if 200 <= code < 300:
            return await self._body(response)
        if code in _REDIRECTS and (location := response.headers.get("Location")):
            try:
                return Moved(urljoin(str(url), location))
            except ValueError:
                return Failed("bad_redirect", status="refused")
        again = code in _PASSING or code >= 500
        return Failed(f"http_{code}", again=again, wait_s=_retry_after(response.headers.get("Retry-After")) if again else None)

    async def _body(self, response: aiohttp.ClientResponse) -> Answer:
        cap = self._max_bytes
        too_large = Failed("too_large", f"more than {cap:,} bytes")
        if (response.content_length or 0) > cap:
            return too_large
        encoded = response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate")
        inflate = zlib.decompressobj(_GZIP_OR_ZLIB) if encoded else None
        content, parts, size = response.content, [], 0
        while True:
            part = await content.readany()
            if not part and content.at_eof():
                break
            if inflate is not None:
                try:
                    part = inflate.decompress(part, cap + 1 - size)
                except zlib.error:
                    return Failed("truncated", f"bad {response.headers['Content-Encoding'].strip().lower()}", again=True)
            size += len(part)
            if size > cap:
                return too_large
            parts.append(part)
            if content.at_eof():
                break
        if inflate is not None and size and not inflate.eof:
            return Failed("truncated", again=True)
        return Fetched(parts[0] if len(parts) == 1 else b"".join(parts))


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
