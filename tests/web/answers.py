"""What the server sends to one request, fixed before it starts."""

import zlib
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Literal

LATE = 0.3  # seconds before the first byte of a slow answer
ENDLESS = 60_000_000  # bytes after which even an endless body ends, so that a client without a cap ends too

Header = tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """One answer, byte for byte.

    status: None closes the connection where the answer should begin.
    framing: how the client learns where the body ends: by `length`, in `chunked` pieces, by the `close` of the connection.
    told: the Content-Length that the header gives where it is not the length of the body.
    late: seconds before the first byte. pieces: number of writes that the body goes out in, 10 ms apart.
    after: what follows the body. `keep` the connection, `close` it, `stall` without another byte until the client leaves,
    or `endless`: zeros until the client leaves, at most ENDLESS bytes.
    """

    status: int | None = 200
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    framing: Literal["length", "chunked", "close"] = "length"
    told: int | None = None
    late: float = 0.0
    pieces: int = 1
    after: Literal["keep", "close", "stall", "endless"] = "keep"

    @property
    def at_once(self) -> bool:
        """True where one write is the whole answer."""
        return self.status is not None and not self.late and self.pieces == 1 and self.after == "keep"

    @cached_property
    def head(self) -> bytes:
        assert self.status is not None
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        names = {name.lower() for name, _ in self.headers}
        if self.framing == "length" and "content-length" not in names:
            lines.append(f"Content-Length: {len(self.body) if self.told is None else self.told}")
        if self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        if self.after == "close" or self.framing == "close":
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @cached_property
    def parts(self) -> tuple[bytes, ...]:
        """The body in `pieces` writes; at least two chunks where it is chunked."""
        chunked = self.framing == "chunked"
        size = max(1, -(-len(self.body) // max(self.pieces, 2 if chunked else 1)))
        parts = [self.body[start : start + size] for start in range(0, len(self.body), size)]
        if chunked:
            parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]
        return tuple(parts)

    @property
    def wire(self) -> bytes:
        return self.head + b"".join(self.parts)


def inflating(start: bytes, size: int) -> bytes:
    """`start` and `size` bytes of zeros, gzipped to half a percent: a bomb for clients that cap only what they receive."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)  # level 1, since all zeros are small; 31: a gzip header around it
    block = bytes(1 << 20)
    return b"".join([packer.compress(start), *(packer.compress(block) for _ in range(-(-size // len(block)))), packer.flush()])
