"""aiohttp's reader of answers, made to stop where Content-Length says that the body ends, and to take one answer for one request."""

import re
from typing import Any, Final

from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception
from aiohttp.http_exceptions import HttpProcessingError

_END: Final = re.compile(rb"\r?\n\r?\n")  # of a head; the parser takes lines that end in LF alone
_LENGTH: Final = re.compile(
    rb"\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r?(?=\n)", re.IGNORECASE
)  # longer ones are the parser's to refuse
_OTHER_END: Final = re.compile(rb"\A\S+ (204|304)|\ntransfer-encoding:", re.IGNORECASE)  # a body that ends in another way
_INTERIM: Final = re.compile(rb"\A\S+ 1(?!01)\d\d")  # status 1xx: the answer is still to come
_LONGEST_HEAD: Final = 1 << 21  # bytes; the parser refuses long before: 128 fields of 8 KiB
_MOST_INTERIM: Final = 16


class Flood(Exception):
    """An answer that is longer than any that is read."""


class NoHttp(Exception):
    """The body breaks the rules of HTTP."""


class Reader(ResponseHandler):
    """Keeps bytes beyond the announced body from the parser, which would refuse the whole answer for them; the connection is then closed.

    Servers that count characters or forget to count a trailer send such answers, and browsers show their images. What comes while nothing
    is asked, or behind an answer, is never taken for the answer to another request. A request that has 16 interim answers gets no other.
    most: bytes of an answer, chunk extensions and trailers included, before reading its body raises Flood.
    """

    def __init__(self, *args: Any, most: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._most = max(most, _LONGEST_HEAD)
        self._begin()

    def _begin(self) -> None:
        self._head = bytearray()
        self._left: float | None = None  # bytes of the body to come; None before the end of the head
        self._came = self._interim = 0
        self._answered = False

    def set_response_params(self, **kwargs: Any) -> None:
        """Called before each request."""
        self._begin()
        super().set_response_params(**kwargs)

    def data_received(self, data: bytes) -> None:
        if not data:  # the parser goes on with what it has
            super().data_received(data)
            return
        if self._answered and (self._payload is None or self._payload.is_eof()):
            self._leave()
            return
        self._came += len(data)
        if self._came > self._most:
            if self._payload is not None:
                set_exception(self._payload, Flood())
            self._leave()
            return
        if self._left is None:
            self._left, body = self._split(data)
        else:
            body = len(data)
        beyond = body - self._left if self._left is not None else 0
        if beyond <= 0:
            if self._left is not None:
                self._left -= body
            super().data_received(data)
            return
        self._left = 0
        self.force_close()
        if beyond < len(data):
            super().data_received(data[: len(data) - int(beyond)])
        self._leave()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Called by the parser with each (head, body) that it finds."""
        if self._answered:
            self._leave()
            return
        if 100 <= data[0].code < 200 and data[0].code != 101:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                self.set_exception(HttpProcessingError(message="interim answers without end"))
                self._leave()
                return
        else:
            self._answered = True
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Ends the body too, which would be waited for: aiohttp tells whoever reads it of a lost connection only."""
        super().set_exception(exc, *cause)
        if isinstance(exc, HttpProcessingError) and self._payload is not None and not self._payload.is_eof():
            set_exception(self._payload, NoHttp())

    def _leave(self) -> None:
        """Nothing more is read from here, and no further request sent."""
        self.force_close()
        if self.transport is not None:
            self.transport.close()

    def _split(self, data: bytes) -> tuple[float | None, int]:
        """(bytes of the body in all, how many of them `data` holds) once the head is whole; (None, 0) before."""
        looked = max(0, len(self._head) - 3)
        self._head += data
        while (end := _END.search(self._head, looked)) is not None:
            if _INTERIM.match(self._head) is None:
                head = bytes(self._head[: end.end()])
                length = None if _OTHER_END.search(head) else _LENGTH.search(head)
                return float("inf") if length is None else int(length[1]), len(self._head) - end.end()
            del self._head[: end.end()]
            looked = 0
        return (None, 0) if len(self._head) <= _LONGEST_HEAD else (float("inf"), 0)
