"""The way img2dataset asks for a url in our jobs: a urllib opener that resolves by the guard, keeps to limits, and reads no more than it may.

img2dataset calls urllib.request.urlopen, which follows redirects anywhere, reads bodies without a bound and knows no hosts. Installed in its
place, this opener makes one request and follows nothing: what a redirect points to is looked at before it is asked for, as in our own engine.
"""

import asyncio
import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urljoin
from urllib.request import Request

from yarl import URL

from pipelines.fetch.client import GZIP_OR_ZLIB, REDIRECTS, Answer, Failed, Fetched, Moved, failed_of_status, refused_by, resolver_of
from pipelines.fetch.guard import GuardedResolver, NoContact, PrivateAddress, Unresolved
from pipelines.fetch.img2dataset_turns import Turns
from pipelines.fetch.settings import FetchSettings
from quality.optouts import signals_of_headers

_READ: Final = 1 << 16  # bytes of a body that are read at a time
_LOOK_S: Final = 0.25  # between two looks for requests whose time is up


def turn_url(number: int) -> str:
    """What img2dataset is given for a url."""
    return f"turn:{number}"


def number_of(url: str) -> int:
    return int(url.removeprefix("turn:"))


class NotTaken(Exception):
    """The request gave no image; what it gave is in Opener.answers. img2dataset notes the text."""


@dataclass
class Asked:
    """What a request took: Unix time it began and ended, and its answer. sent: False for an answer that stood without a request."""

    began: float
    ended: float
    answer: Answer
    sent: bool = True


class _Body(io.BytesIO):
    """A body that has come, as urllib gives a response. img2dataset asks it for nothing else than its bytes."""

    headers = Message()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Opener:
    """For urllib.request.install_opener; for many threads. It is asked for turns, `turn_url(number)`: which url that is, Turns says.

    answers: by number of the turn, the place of its url in the round and what came, None where the url is given back; until `told` takes them.
    Of a body they have no bytes: those img2dataset has.
    """

    def __init__(self, settings: FetchSettings):
        self._settings = settings
        self.answers: dict[int, tuple[int, Asked | None]] = {}
        self._turns = Turns(settings.politeness.share, settings.backoff_s)
        self._lock = threading.Lock()
        self._times: dict[socket.socket, float] = {}  # open sockets, and until when they may be read
        self._loop = asyncio.new_event_loop()
        self._tls = ssl.create_default_context()
        threading.Thread(target=self._loop.run_forever, name="resolve", daemon=True).start()
        self._resolver = asyncio.run_coroutine_threadsafe(self._make_resolver(), self._loop).result()
        threading.Thread(target=self._end_late_ones, name="deadlines", daemon=True).start()

    async def _make_resolver(self) -> GuardedResolver:
        return resolver_of(self._settings)

    def begin(self, urls: Sequence[str], delays: Mapping[str, float], *, seconds: float, others_s: float | None = None) -> None:
        """Before a round, in which a turn is asked for as often as there are urls. The others: see img2dataset_messages.Round."""
        self.answers = {}
        # As quality.urls wrote them: signed urls depend on every escape.
        self._turns.begin([URL(url, encoded=True) for url in urls], delays, seconds, others_s)

    def open(self, request: Request, data: object = None, timeout: object = None) -> _Body:
        """What urllib.request.urlopen calls. Raises NotTaken for all but a whole body."""
        number, turn, body = number_of(request.full_url), self._turns.take(), b""
        if turn.back:
            self.answers[number] = turn.place, None
            raise NotTaken("given back")
        began = time.time()
        if turn.instead is not None:
            self.answers[number] = turn.place, Asked(began, began, turn.instead, sent=False)
            raise NotTaken(turn.instead.message)
        answer: Answer = Failed("connect")
        try:
            answer = self._get(turn.url)
        finally:
            self._turns.done(turn.url, answer)
        if isinstance(answer, Fetched):  # kept without its bytes, or a round's bodies would all stay in memory
            body, answer = answer.data, Fetched(b"", answer.signals, answer.received)
        self.answers[number] = turn.place, Asked(began, time.time(), answer)
        if not isinstance(answer, Fetched):
            raise NotTaken(answer.message if isinstance(answer, Failed) else "a redirect")
        return _Body(body)

    def told(self, number: int) -> tuple[int, Asked | None] | None:
        """Of a turn, its entry in `answers`, which is forgotten here; None where it was not taken."""
        return self.answers.pop(number, None)

    def _end_late_ones(self) -> None:
        """Closes what takes longer than an image may, however slowly its bytes drip."""
        while True:
            time.sleep(_LOOK_S)
            now = time.monotonic()
            with self._lock:
                late = [sock for sock, until in self._times.items() if now >= until]
            for sock in late:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it ended by itself meanwhile

    # ---- one request

    def _get(self, url: URL) -> Answer:
        until = time.monotonic() + self._settings.image_timeout_s
        answered = False
        try:
            with self._connected(url, until) as connection:
                connection.request("GET", url.raw_path_qs, headers=self._headers(url))
                response = connection.getresponse()
                answered = True
                answer = self._take(response, url)
            return Failed("timeout") if time.monotonic() >= until else answer  # a body that was ended by us looks like one that ended
        except PrivateAddress:
            return Failed("private_address", status="refused")
        except NoContact:
            return Failed("no_contact", "say who asks: --contact", status="refused")
        except Unresolved as error:
            return Failed("dns", again=error.passing, unreachable=True)
        except _NotConnected as error:
            return Failed("connect", again=True, unreachable=True) if error.again else Failed("connect", "no valid certificate")
        except TimeoutError:
            return Failed("timeout")
        except http.client.RemoteDisconnected:
            return Failed("timeout") if time.monotonic() >= until else Failed("connect", again=True)
        except http.client.IncompleteRead:
            return Failed("timeout") if time.monotonic() >= until else Failed("truncated", again=True)
        except (http.client.HTTPException, ValueError):
            return Failed("timeout") if time.monotonic() >= until else Failed("connect", "the answer is no HTTP")
        except OSError:
            return Failed("timeout") if time.monotonic() >= until else Failed("truncated" if answered else "connect", again=True)

    def _headers(self, url: URL) -> dict[str, str]:
        return {
            "Host": url.host_port_subcomponent or "",  # http.client names 443 as a port, since it does not know that it speaks TLS
            "User-Agent": self._settings.header,
            "Accept": "image/*,*/*;q=0.8",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }

    @contextmanager
    def _connected(self, url: URL, until: float) -> Iterator[http.client.HTTPConnection]:
        """A connection to a checked address of the url's host. Raises PrivateAddress, NoContact, Unresolved, _NotConnected."""
        sock = self._connect(url)
        with self._lock:
            self._times[sock] = until
        try:
            sock.settimeout(max(0.01, until - time.monotonic()))
            wrapped = sock
            if url.scheme == "https":
                try:
                    wrapped = self._tls.wrap_socket(sock, server_hostname=url.raw_host)
                except ssl.SSLError as error:
                    raise _NotConnected(again=False) from error
                with self._lock:
                    self._times[wrapped] = self._times.pop(sock)  # wrapping took the file over
                sock = wrapped
            connection = http.client.HTTPConnection(url.raw_host or "", url.port)
            connection.sock = wrapped
            yield connection
        finally:
            with self._lock:
                self._times.pop(sock, None)
            sock.close()

    def _connect(self, url: URL) -> socket.socket:
        host, port = url.raw_host or "", url.port or 0
        self._resolver.check_literal(url)
        if _is_address(host):
            places: list[tuple[str, int]] = [(host, port)]
        else:
            found = asyncio.run_coroutine_threadsafe(self._resolver.resolve(host, port), self._loop).result()
            places = [(place["host"], place["port"]) for place in found]
        for place in places:
            try:
                return socket.create_connection(place, timeout=self._settings.connect_timeout_s)
            except OSError:
                continue
        raise _NotConnected(again=True)

    def _take(self, response: http.client.HTTPResponse, url: URL) -> Answer:
        code = response.status
        # Of a page that says that there is no image, the headers say nothing about one.
        signals = {} if code >= 400 else signals_of_headers(response.getheaders(), self._settings.agent)
        if self._settings.optouts == "obey" and not all(signals.values()):
            return refused_by(signals)
        if 200 <= code < 300 and code != 206:
            answer = self._body(response)
            answer.signals = signals
            return answer
        if code in REDIRECTS and (location := response.getheader("Location")):
            try:
                return Moved(urljoin(str(url), location), signals)
            except ValueError:
                return Failed("bad_redirect", status="refused")
        return failed_of_status(code, response.getheader("Retry-After"))

    def _body(self, response: http.client.HTTPResponse) -> Fetched | Failed:
        cap = self._settings.max_bytes
        too_large = Failed("too_large", f"more than {cap:,} bytes")
        if (response.length or 0) > cap:
            return too_large
        encoding = (response.getheader("Content-Encoding") or "").strip().lower()
        inflate: Any = zlib.decompressobj(GZIP_OR_ZLIB) if encoding in ("gzip", "x-gzip", "deflate") else None
        parts, size, received = [], 0, 0
        while part := response.read(_READ):
            received += len(part)
            if inflate is not None:
                try:
                    part = inflate.decompress(part, cap + 1 - size)
                except zlib.error:
                    return Failed("truncated", f"bad {encoding}", again=True, received=received)
            size += len(part)
            parts.append(part)
            if size > cap or received > cap:
                too_large.received = received
                return too_large
            if inflate is not None and inflate.eof:
                break
        else:
            if response.length or (inflate is not None and size and not inflate.eof):  # http.client is silent about a body that ends early
                return Failed("truncated", again=True, received=received)
        return Fetched(b"".join(parts), received=received)


class _NotConnected(Exception):
    def __init__(self, *, again: bool):
        super().__init__(again)
        self.again = again


def _is_address(host: str) -> bool:
    """Whether it is written as an address is; what only the system reads as one (127.1, 2130706433) is resolved, and checked, like a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
