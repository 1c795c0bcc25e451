"""What annotators use: the page to judge on, its calls, and the images.

An item says neither queue, verdict, measured value nor known answer: what a machine or a colleague thought would sway the answer.
"""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row

from quality.review.server import answers
from quality.review.server.answers import NOTE_LETTERS, WHY_NOT, Answer
from quality.review.server.images import NoImage, rendered
from quality.review.server.queue import next_task
from quality.review.server.texts import Texts, shown, storable
from quality.review.server.web import Stop, Web
from quality.review.server.words import WORDS
from schemas.reviews import KEEP

Csrf = Annotated[str, Header(alias="x-csrf-token")]
_Task = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
PathTask = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
_Key = Annotated[str, Field(pattern=r"^[0-9a-zA-Z-]{8,40}$")]


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Next(_Call):
    shown: Annotated[list[_Task], Field(max_length=50)] = []


class Decide(_Call):
    task: _Task
    key: _Key
    answer: Annotated[str, Field(max_length=6)]
    reasons: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=len(WHY_NOT))] = []
    note: Annotated[str, Field(max_length=NOTE_LETTERS)] = ""
    seconds: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    grey: bool = False


class OfTask(_Call):
    task: _Task
    key: _Key


class Undo(_Call):
    task: _Task | None = None
    key: _Key


class Reveal(_Call):
    task: _Task


def routes(web: Web) -> APIRouter:
    router = APIRouter()

    @router.get("/judge")
    def judge(request: Request) -> Response:
        person = web.person(request)
        t = web.texts(request)
        words = json.dumps({key: t(key) if "{" not in WORDS[key][0] else WORDS[key][t._at] for key in WORDS if key.startswith("js_")})
        why = [(number, reason, t.reason(reason)) for number, reason in enumerate(WHY_NOT, 1)]
        return web.page(request, "judge", person, settings=person.settings, words=words, why=why, note_letters=NOTE_LETTERS)

    @router.post("/api/next")
    def next_(request: Request, call: Next, token: Csrf = "") -> dict[str, Any]:
        person, _ = web.poster(request, token)
        with web.database.write() as connection:
            found = next_task(connection, person.account, call.shown, person.settings)
        if found.task is None:
            return {"item": None, "rest": found.rest, "full": found.full}
        return {"item": item(found.task, web.texts(request))}

    @router.post("/api/decide")
    def decide(request: Request, call: Decide, token: Csrf = "") -> dict[str, Any]:
        person, who = web.poster(request, token)
        given = Answer(call.answer, tuple(call.reasons), storable(call.note.strip()) or None, call.seconds, call.grey)
        with web.database.write() as connection:
            saved = answers.answer(connection, who, call.task, given, key=call.key, settings=person.settings)
        return {"saved": saved}  # after the commit

    @router.post("/api/skip")
    def skip(request: Request, call: OfTask, token: Csrf = "") -> dict[str, Any]:
        _, who = web.poster(request, token)
        with web.database.write() as connection:
            answers.skip(connection, who, call.task, key=call.key)
        return {"skipped": call.task}

    @router.post("/api/undo")
    def undo(request: Request, call: Undo, token: Csrf = "") -> dict[str, Any]:
        person, who = web.poster(request, token)
        with web.database.write() as connection:
            row = answers.undo(connection, who, call.task, key=call.key, settings=person.settings)
        return {"item": item(row, web.texts(request))}

    @router.post("/api/reveal")
    def reveal(request: Request, call: Reveal, token: Csrf = "") -> dict[str, Any]:
        person, who = web.poster(request, token)
        with web.database.write() as connection:
            answers.reveal(connection, who, call.task, lead=person.is_lead)
        return {"revealed": call.task}

    @router.get("/image/{task}")
    def image(request: Request, task: PathTask, sharp: bool = False, grey: bool = False) -> Response:
        """The image of a task that is the annotator's, or of any task for a lead; sharp only once that look is on record."""
        person = web.person(request)
        with web.database.read() as connection:
            row = answers.picture(connection, person.account, task)
        if row is None or not (person.is_lead or row.theirs):
            raise Stop(404)
        blur_side = person.settings.blur_side
        if sharp and blur_side and not row.looked:
            raise Stop(403)
        try:
            data = rendered(web.store, row.tar, row.offset, row.size, blur_side=0 if sharp else blur_side, grey=grey)
        except NoImage:
            raise Stop(404) from None
        return Response(data, media_type="image/jpeg")

    return router


def item(row: Row, t: Texts) -> dict[str, Any]:
    """What the browser is told about a task."""
    subject, ask = t.question(row.question)
    lines = [(t(name), shown(getattr(row, name))) for name in ("license", "license_url", "creator", "title", "source_page")]
    return {
        "task": row.task,
        "subject": subject,
        "ask": ask,
        "keep": row.question == KEEP,
        "caption": shown(row.caption),
        "lines": [(name, text or t("not_stated")) for name, text in lines],
    }
