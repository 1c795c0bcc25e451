"""Log in and out, language and theme, our own files."""

import hmac
import re
from typing import Annotated, Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request, Response

from quality.review.server import audit, sessions
from quality.review.server.auth import Throttled, log_in
from quality.review.server.sessions import person_of
from quality.review.server.texts import LANGUAGES
from quality.review.server.web import THEMES, Stop, Web, address_of, form

_OWN_PATH: Final = re.compile(r"/(?:[a-z0-9]+/)*[a-z0-9]*")  # one way to match: a stranger must not make it search
_OWN_LETTERS: Final = 200
Form = Annotated[dict[str, str], Depends(form)]


def routes(web: Web) -> APIRouter:
    router = APIRouter()

    @router.get("/")
    def start(request: Request) -> Response:
        return web.to("/lead" if web.person(request).is_lead else "/judge")

    @router.get("/login")
    def login_page(request: Request) -> Response:
        if person_of(web.database, web.cookies.get(request, "session")) is not None:
            return web.to("/")
        return web.page(request, "login", None, problem=None, name="")

    turns = CapacityLimiter(2)  # a password takes 64 MiB and a tenth of a second: threads that judge are not to wait for it

    @router.post("/login")
    async def login(request: Request, fields: Form) -> Response:
        return await to_thread.run_sync(attempt, request, fields, limiter=turns)

    def attempt(request: Request, fields: dict[str, str]) -> Response:
        _same_form(web, request, fields)
        t = web.texts(request)
        try:
            account = log_in(web.database, fields.get("name", ""), fields.get("password", ""), address_of(request))
        except Throttled as error:
            problem = t("throttled", minutes=error.minutes)
            return web.page(request, "login", None, status=429, problem=problem, name=fields.get("name", "")[:64])
        if account is None:
            return web.page(request, "login", None, status=403, problem=t("wrong_login"), name=fields.get("name", "")[:64])
        old = web.cookies.get(request, "session")
        with web.database.write() as connection:
            if old:
                sessions.end(connection, old)
            token = sessions.start(connection, account)
        response = web.to("/")
        web.cookies.set(response, "session", token)
        web.cookies.drop(response, "form")
        return response

    @router.post("/logout")
    def logout(request: Request, fields: Form) -> Response:
        _, who = web.poster(request, fields.get("csrf"))
        with web.database.write() as connection:
            sessions.end(connection, web.cookies.get(request, "session") or "")
            audit.record(connection, who, "logout")
        response = web.to("/login")
        web.cookies.drop(response, "session")
        return response

    @router.post("/display")
    def display(request: Request, fields: Form) -> Response:
        """Language and theme, kept in cookies of this browser."""
        person = person_of(web.database, web.cookies.get(request, "session"))
        if person is None:
            _same_form(web, request, fields)
        else:
            web.poster(request, fields.get("csrf"))
        back = fields.get("back", "/")
        response = web.to(back if len(back) <= _OWN_LETTERS and _OWN_PATH.fullmatch(back) else "/")
        if fields.get("language") in LANGUAGES:
            web.cookies.set(response, "language", fields["language"], days=365)
        if fields.get("theme") in THEMES:
            web.cookies.set(response, "theme", fields["theme"], days=365)
        return response

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        return web.asset(name)

    return router


def _same_form(web: Web, request: Request, fields: dict[str, str]) -> None:
    """Whether a form of somebody who is not logged in is ours: its token is the cookie's. Raises Stop(400)."""
    cookie = web.cookies.get(request, "form")
    if not cookie or not hmac.compare_digest(fields.get("csrf", "").encode(), cookie.encode()):
        raise Stop(400)
