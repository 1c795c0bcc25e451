"""The web application, put together."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from quality.review.server import judge_pages, lead_pages, login_pages
from quality.review.server.answers import Refused
from quality.review.server.database import THREADS, Database
from quality.review.server.guard import Guard
from quality.review.server.sessions import person_of
from quality.review.server.web import Stop, Web
from quality.review.server.words import WORDS
from schemas.store import Store

_log = logging.getLogger(__name__)
_SWITCH_S: Final = 0.0005  # after which a thread lets another have it (Python's default of 5 ms is as long as a whole request)


def make_app(database: Database, store: Store, *, secure: bool, hosts: frozenset[str] | None) -> Guard:
    """The application over an open database and a dataset. secure: served over https, so that cookies are for https alone. hosts: names
    that it may be asked by; None: any."""
    web = Web(database, store, secure=secure)
    app = FastAPI(title="Pigment review", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_threads)
    for pages in (login_pages, judge_pages, lead_pages):
        app.include_router(pages.routes(web))

    def error(request: Request, status: int) -> Response:
        if request.url.path.startswith(("/api/", "/image/")):
            return JSONResponse({"refused": "login" if status == 303 else "error"}, 401 if status == 303 else status)
        if status == 303:
            return web.to("/login")
        known = status if f"error_{status}" in WORDS else 400
        person = person_of(web.database, web.cookies.get(request, "session"))
        return web.page(request, "error", person, status=status, text=web.texts(request)(f"error_{known}"))

    @app.exception_handler(Stop)
    def stopped(request: Request, stop: Stop) -> Response:
        return error(request, stop.status)

    @app.exception_handler(Refused)
    def refused(request: Request, refusal: Refused) -> Response:
        return JSONResponse({"refused": refusal.word}, 400 if refusal.word == "bad" else 409)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, found: RequestValidationError) -> Response:
        return error(request, 404 if any(each["loc"][0] == "path" for each in found.errors()) else 400)  # what was sent is not sent back

    @app.exception_handler(HTTPException)
    def http(request: Request, found: HTTPException) -> Response:
        return error(request, found.status_code)

    @app.exception_handler(Exception)
    def bug(request: Request, found: Exception) -> Response:
        _log.error("%s %s", request.method, request.url.path, exc_info=found)
        return error(request, 500)

    return Guard(app, hosts=hosts, secure=secure)


@asynccontextmanager
async def _threads(_: FastAPI) -> AsyncIterator[None]:
    sys.setswitchinterval(_SWITCH_S)
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield
