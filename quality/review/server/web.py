"""What the pages share: who asks, from where, in which language; forms and their tokens; templates."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from quality.review.server.audit import Actor
from quality.review.server.database import Database
from quality.review.server.sessions import Person, person_of
from quality.review.server.texts import LANGUAGES, Texts, language_of, shown, storable
from schemas.store import Store

THEMES: Final = ("auto", "light", "dark")
_FIELDS: Final = 64  # of a form


class Stop(Exception):
    """The request ends here. status: of HTTP; 303 sends to the log-in page."""

    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Cookies:
    """Names and manners of our cookies. The prefix __Host- holds only over https."""

    secure: bool

    def name(self, word: str) -> str:
        return f"__Host-pigment-{word}" if self.secure else f"pigment-{word}"

    def set(self, response: Response, word: str, value: str, *, days: int | None = None) -> None:
        age = None if days is None else days * 86_400
        response.set_cookie(self.name(word), value, max_age=age, path="/", secure=self.secure, httponly=True, samesite="strict")

    def get(self, request: Request, word: str) -> str | None:
        return request.cookies.get(self.name(word))

    def drop(self, response: Response, word: str) -> None:
        response.delete_cookie(self.name(word), path="/", secure=self.secure, httponly=True, samesite="strict")


class Web:
    """The application's parts, for its routes."""

    def __init__(self, database: Database, store: Store, *, secure: bool):
        self.database, self.store = database, store
        self.cookies = Cookies(secure)
        self.templates = Environment(
            loader=PackageLoader("quality.review.server"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.templates.filters.update(shown=shown, utc=_utc, figure=_figure)
        folder = files("quality.review.server").joinpath("static")
        self.static = {each.name: each.read_bytes() for each in folder.iterdir() if each.name.partition(".")[2] in _TYPES}

    def person(self, request: Request, *, lead: bool = False) -> Person:
        """Who asks. Raises Stop: 303 for nobody, 403 for an annotator where a lead is needed."""
        found = person_of(self.database, self.cookies.get(request, "session"))
        if found is None:
            raise Stop(303)
        if lead and not found.is_lead:
            raise Stop(403)
        return found

    def poster(self, request: Request, token: str | None, *, lead: bool = False) -> tuple[Person, Actor]:
        """Who asks for a change, with the token of their own pages. Raises Stop."""
        found = self.person(request, lead=lead)
        if not hmac.compare_digest((token or "").encode(), found.csrf.encode()):
            raise Stop(400)
        return found, actor(request, found)

    def texts(self, request: Request) -> Texts:
        return Texts(language_of(self.cookies.get(request, "language"), request.headers.get("accept-language", "")))

    def form_token(self, request: Request, person: Person | None) -> str:
        """The token for a form: of the log-in, else a random one that a cookie holds too."""
        return person.csrf if person is not None else self.cookies.get(request, "form") or secrets.token_urlsafe(32)

    def page(self, request: Request, template: str, person: Person | None, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A template with what all pages need."""
        t = self.texts(request)
        theme = self.cookies.get(request, "theme")
        token = self.form_token(request, person)
        common = {
            "t": t, "person": person, "csrf": token, "theme": theme if theme in THEMES else "auto", "themes": THEMES,
            "languages": LANGUAGES, "path": request.url.path, "page": template,
        }  # fmt: skip
        response = HTMLResponse(self.templates.get_template(f"{template}.html").render(**common, **values), status)
        if person is None and self.cookies.get(request, "form") != token:
            self.cookies.set(response, "form", token)
        return response

    def to(self, path: str) -> RedirectResponse:
        return RedirectResponse(path, 303)

    def asset(self, name: str) -> Response:
        """One of our own files. Raises Stop(404); a name is looked up among those there are, never made a path."""
        data = self.static.get(name)
        if data is None:
            raise Stop(404)
        return Response(data, media_type=_TYPES[name.partition(".")[2]], headers={"cache-control": "no-cache"})


_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def actor(request: Request, person: Person) -> Actor:
    return Actor(person.account, address_of(request))


def address_of(request: Request) -> str:
    return (request.client.host if request.client else "?")[:64]


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted form; of several of one name the values joined by commas. Raises Stop(400)."""
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError as error:
        raise Stop(400) from error
    found = dict[str, str]()
    for name, value in pairs:
        value = storable(value)
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _figure(value: float | None) -> str:
    """A share or coefficient with two digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")
