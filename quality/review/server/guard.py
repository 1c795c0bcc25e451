"""What holds for every request, before any page: known hosts, own origin, small bodies; and headers on every answer. Plain ASGI."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from starlette.exceptions import HTTPException

BODY_BYTES: Final = 64 * 1024  # the largest is a note of 2,000 letters
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer browsers send "Origin: null" with our own forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
}
_Message = MutableMapping[str, Any]
_App = Callable[[_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]]


class Guard:
    """hosts: names that a request may be for, or None for any: a page of a stranger whose name was made to mean this server is refused."""

    def __init__(self, app: _App, *, hosts: frozenset[str] | None, secure: bool):
        self.app, self.hosts = app, hosts
        headers = {**_HEADERS, **({"strict-transport-security": "max-age=31536000"} if secure else {})}
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: _Message, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}

        async def answer(message: _Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                extra = [*self.headers, *([] if b"cache-control" in names else [(b"cache-control", b"no-store")])]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await _plain(answer, *refusal)
            return
        left = BODY_BYTES

        async def bounded() -> _Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413)  # told by the application, which has begun
            return message

        await self.app(scope, bounded, answer)

    def _refusal(self, method: str, headers: dict[bytes, str]) -> tuple[int, str] | None:
        host = headers.get(b"host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            return 421, "this server does not go by that name; see --allow_host"
        if not headers.get(b"content-length", "0").isdigit():
            return 400, "bad length"
        if int(headers.get(b"content-length", "0")) > BODY_BYTES:
            return 413, "too large"
        if method not in ("GET", "HEAD", "POST"):
            return 405, "not allowed"
        origin = headers.get(b"origin")
        if method == "POST" and origin is not None and origin.partition("://")[2] != host:
            return 403, "from another site"
        if method == "POST" and headers.get(b"sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "from another site"
        return None


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].lower()


async def _plain(send: Callable, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
