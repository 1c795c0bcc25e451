"""aiohttp's reader of answers, made to stop where Content-Length says that the body ends."""

import re
from typing import Any, Final

from aiohttp.client_proto import ResponseHandler

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*(?=\r\n)", re.IGNORECASE)
_OTHER_END: Final = re.compile(rb"\A\S+ (1\d\d|204|304)|\r\ntransfer-encoding:", re.IGNORECASE)  # a body that ends in another way


class Reader(ResponseHandler):
    """Keeps bytes beyond the announced body from the parser, which would refuse the whole answer for them; the connection is then closed.

    Servers that count characters or forget to count a trailer send such answers, and browsers show their images.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._head = b""
        self._left: float | None = None  # bytes of the body to come; None before the end of the head

    def set_response_params(self, **kwargs: Any) -> None:
        """Called before each request."""
        self._head, self._left = b"", None
        super().set_response_params(**kwargs)

    def data_received(self, data: bytes) -> None:
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
        if self.transport is not None:
            self.transport.close()

    def _split(self, data: bytes) -> tuple[float | None, int]:
        """(bytes of the body in all, how many of them `data` holds) once the head is whole; (None, 0) before."""
        head = self._head + data
        end = head.find(b"\r\n\r\n")
        if end < 0:
            self._head = head
            return None, 0
        length = None if _OTHER_END.search(head, 0, end) else _LENGTH.search(head, 0, end + 2)
        return float("inf") if length is None else int(length[1]), len(head) - end - 4
