"""What leads use: progress, conflicts, bulk acts, settings, the audit trail, export."""

import re
from dataclasses import asdict, fields
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection, select

from quality.review.server import answers, bulk, progress
from quality.review.server.answers import NOTE_LETTERS, WHY_NOT, Answer, Refused
from quality.review.server.audit import ACTS, listing, record
from quality.review.server.bulk import Filter
from quality.review.server.judge_pages import PathTask
from quality.review.server.load import overlap
from quality.review.server.login_pages import Form
from quality.review.server.models import accounts, journal, seats, tasks
from quality.review.server.settings import DEALT, Settings, read_settings, write_settings
from quality.review.server.standing import export
from quality.review.server.web import Stop, Web
from schemas.reviews import ANSWER_WORDS, ANSWERS_PATH

_SHOWN = 100  # conflicts on a page


def routes(web: Web) -> APIRouter:
    router = APIRouter()

    def overview_values(connection: Connection) -> dict[str, Any]:
        return {
            "queues": progress.queues(connection), "agreements": progress.agreements(connection), "people": progress.people(connection),
            "missed": progress.missed_gold(connection), "blocked": progress.blocked(connection),
        }  # fmt: skip

    def overview(request: Request, notice: str | None = None) -> Response:
        person = web.person(request, lead=True)
        with web.database.read() as connection:
            return web.page(request, "lead", person, notice=notice, answers_path=ANSWERS_PATH, **overview_values(connection))

    @router.get("/lead")
    def lead(request: Request) -> Response:
        return overview(request)

    @router.get("/lead/live")
    def live(request: Request) -> Response:
        """The part of the overview that changes, as a piece of HTML."""
        person = web.person(request, lead=True)
        with web.database.read() as connection:
            return web.page(request, "live", person, **overview_values(connection))

    @router.post("/lead/export")
    def export_now(request: Request, fields: Form) -> Response:
        _, who = web.poster(request, fields.get("csrf"), lead=True)
        with web.database.write() as connection:
            ours, kept = export(connection, web.store)
            record(connection, who, "export", detail={"answers": ours, "kept": kept})
        t = web.texts(request)
        notice = t("exported", n=f"{ours:,}", path=ANSWERS_PATH) + (f" {t('exported_kept', n=f'{kept:,}')}" if kept else "")
        return overview(request, notice)

    # ---- conflicts

    @router.get("/lead/conflicts")
    def conflicts(request: Request) -> Response:
        person = web.person(request, lead=True)
        with web.database.read() as connection:
            return web.page(request, "conflicts", person, found=_conflicts(connection), limit=_SHOWN)

    def one(request: Request, task: str, problem: str | None = None, status: int = 200) -> Response:
        person = web.person(request, lead=True)
        with web.database.read() as connection:
            row = connection.execute(select(tasks).where(tasks.c.task == task, ~tasks.c.blocked)).first()
            if row is None:
                raise Stop(404)
            settings = read_settings(connection)
            given = _answers_to(connection, task)
            settled = _settled_by(connection, row.adjudication)
        subject, ask = web.texts(request).question(row.question)
        return web.page(
            request, "conflict", person, status=status, task=row, subject=subject, ask=ask, given=given, settled=settled, problem=problem,
            why=WHY_NOT, note_letters=NOTE_LETTERS, settings=settings,
        )  # fmt: skip

    @router.get("/lead/conflicts/{task}")
    def conflict(request: Request, task: PathTask) -> Response:
        return one(request, task)

    @router.post("/lead/conflicts/{task}")
    def settle(request: Request, task: PathTask, fields: Form) -> Response:
        _, who = web.poster(request, fields.get("csrf"), lead=True)
        try:
            with web.database.write() as connection:
                answers.adjudicate(connection, who, task, _answer(fields))
                left = _conflicts(connection, 1)
        except Refused as refused:
            return one(request, task, web.texts(request)(f"refused_{refused.word}"), 409)
        return web.to(f"/lead/conflicts/{left[0].task}" if left else "/lead/conflicts")

    @router.post("/lead/conflicts/{task}/reopen")
    def reopen(request: Request, task: PathTask, fields: Form) -> Response:
        _, who = web.poster(request, fields.get("csrf"), lead=True)
        try:
            with web.database.write() as connection:
                answers.reopen(connection, who, task)
        except Refused as refused:
            return one(request, task, web.texts(request)(f"refused_{refused.word}"), 409)
        return web.to(f"/lead/conflicts/{task}")

    # ---- bulk

    def bulk_page(request: Request, *, status: int = 200, **values: Any) -> Response:
        person = web.person(request, lead=True)
        with web.database.read() as connection:
            questions, reasons, licenses = bulk.choices(connection)
            before = bulk.before(connection)
        values = {"chosen": None, "given": None, "affects": None, "notice": None, "problem": None, **values}
        return web.page(
            request, "bulk", person, status=status, questions=questions, reasons=reasons, licenses=licenses, before=before, why=WHY_NOT,
            states=bulk.OPEN, note_letters=NOTE_LETTERS, **values,
        )  # fmt: skip

    @router.get("/lead/bulk")
    def bulk_start(request: Request) -> Response:
        return bulk_page(request)

    @router.post("/lead/bulk")
    def bulk_act(request: Request, fields: Form) -> Response:
        """Without `expected` the count is told; with it the act is done, if the count is still that."""
        _, who = web.poster(request, fields.get("csrf"), lead=True)
        t = web.texts(request)
        chosen = Filter(fields.get("question", ""), fields.get("state", ""), fields.get("reason") or None, fields.get("license") or None)
        given = _answer(fields)
        try:
            given.checked(chosen.question)
            if not re.fullmatch(r"[0-9]{1,9}", fields.get("expected", "")):
                with web.database.read() as connection:
                    return bulk_page(request, chosen=chosen, given=given, affects=bulk.count(connection, chosen))
            with web.database.write() as connection:
                bulk.act(connection, who, chosen, given, expected=int(fields["expected"][:12]))
        except Refused as refused:
            problem = t(f"refused_{refused.word}", n=refused.detail)
            return bulk_page(request, status=409, chosen=chosen, given=given, problem=problem)
        return bulk_page(request, notice=t("bulk_done", n=f"{int(fields['expected']):,}"))

    @router.post("/lead/bulk/undo")
    def bulk_undo(request: Request, fields: Form) -> Response:
        _, who = web.poster(request, fields.get("csrf"), lead=True)
        t = web.texts(request)
        try:
            with web.database.write() as connection:
                undone = bulk.undo(connection, who, fields.get("bulk", "")[:32])
        except Refused as refused:
            return bulk_page(request, status=409, problem=t(f"refused_{refused.word}"))
        return bulk_page(request, notice=t("bulk_undone", n=f"{undone:,}"))

    # ---- settings and audit

    def settings_page(request: Request, *, status: int = 200, problem: str | None = None, notice: str | None = None) -> Response:
        person = web.person(request, lead=True)
        with web.database.read() as connection:
            current = read_settings(connection)
        values = [(each, getattr(current, each.name)) for each in fields(Settings)]
        return web.page(request, "settings", person, status=status, values=values, dealt=DEALT, problem=problem, notice=notice)

    @router.get("/lead/settings")
    def settings(request: Request) -> Response:
        return settings_page(request)

    @router.post("/lead/settings")
    def change(request: Request, fields_: Form) -> Response:
        _, who = web.poster(request, fields_.get("csrf"), lead=True)
        given = {each.name: fields_.get(each.name, "") for each in fields(Settings)}
        try:
            with web.database.write() as connection:
                old = read_settings(connection)
                new = old.changed({**given, "grey": given["grey"] or "0"})
                write_settings(connection, new)
                if new.overlap_share != old.overlap_share:
                    overlap(connection, new.overlap_share)
                changed = {name: value for name, value in asdict(new).items() if value != asdict(old)[name]}
                if changed:
                    record(connection, who, "settings", detail=changed)
        except ValueError as error:
            return settings_page(request, status=400, problem=str(error))
        return settings_page(request, notice=web.texts(request)("saved"))

    @router.get("/lead/audit")
    def audit(request: Request, before: Annotated[int | None, Query(ge=0, lt=2**63)] = None, act: str = "") -> Response:
        person = web.person(request, lead=True)
        with web.database.read() as connection:
            found = listing(connection, before=before, act=act if act in ACTS else None)
        return web.page(request, "audit", person, found=found, act=act if act in ACTS else "", acts=ACTS, before=before)

    return router


def _answer(fields: dict[str, str]) -> Answer:
    """What a form says; `no` to keep carries its reasons, any other answer none."""
    answer = fields.get("answer", "")
    reasons = tuple(reason for reason in fields.get("reasons", "").split(",") if reason) if answer == "no" else ()
    return Answer(answer if answer in ANSWER_WORDS else "", reasons, fields.get("note", "").strip() or None)


def _conflicts(connection: Connection, limit: int = _SHOWN) -> list:
    query = select(tasks).where(tasks.c.state == "conflict", ~tasks.c.blocked).order_by(tasks.c.queue, tasks.c.order, tasks.c.task)
    return list(connection.execute(query.limit(limit)))


def _answers_to(connection: Connection, task: str) -> list:
    query = select(accounts.c.name, journal).join(seats, seats.c.record == journal.c.id).join(accounts, accounts.c.id == seats.c.account)
    return list(connection.execute(query.where(seats.c.task == task).order_by(accounts.c.name)))


def _settled_by(connection: Connection, adjudication: int | None) -> Any:
    query = select(accounts.c.name, journal.c.answer).join(accounts, accounts.c.id == journal.c.account)
    return None if adjudication is None else connection.execute(query.where(journal.c.id == adjudication)).first()
